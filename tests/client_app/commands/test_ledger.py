"""``wardround-site ledger``, as somebody at a hospital types it."""

import csv
import hashlib
import json
import re
import shutil
import sqlite3
from pathlib import Path

import pytest

from client_app.books.statement import BANDS
from client_app.custodian.keys import SiteKeys
from federation.promise import epsilon_after

OLD_COPY = "the ledger put back to yesterday's copy, while no custodian runs"


def fingerprints(folder):
    """Every file of a folder; the index of the write-ahead log is shared memory, not content."""
    return {
        path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith("-shm")
    }


def found(result, check):
    """The state and the rest of a check's row."""
    row = next(line.split() for line in result.output.splitlines() if line.split()[: len(check)] == check)
    return row[len(check)], " ".join(row[len(check) + 1 :])


def alter(alder, *statements):
    """What somebody does who may write to the file."""
    with sqlite3.connect(alder.service / "ledger.sqlite") as rows:
        for statement in statements:
            rows.execute(statement)
    rows.close()


class TestShow:
    def test_tells_what_each_study_has_cost(self, alder, study_id):
        result = alder.run("ledger", "show")
        assert result.exit_code == 0, result.output
        row = next(line for line in result.output.splitlines() if study_id[:12] in line)
        assert re.search(r"running +Dr\. Frei .* 2 of 4 +2 +4 of 8 +4 steps, to ε 8 ", row)

    def test_its_epsilon_is_that_of_the_steps_charged(self, alder, study_id, make_study):
        study = next(p.study for p in alder.custodian().ledger.studies.all() if p.study.id == study_id)
        row = next(line for line in alder.run("ledger", "show").output.splitlines() if study_id[:12] in line)
        told = float(re.search(r"([\d.]+) at δ 1e-05", row)[1])
        assert epsilon_after(study, 4) <= told < epsilon_after(study, 4) + 0.02

    def test_patients_are_counted_in_bands_of_the_cap(self, alder):
        output = alder.run("ledger", "show").output
        assert "about 20" in output, "24 in all"
        assert all(band in output for band in BANDS)

    def test_no_number_of_patients_below_the_minimum_is_told(self, alder):
        alder.change(minimum_patients=50)
        output = alder.run("ledger", "show").output
        assert "about" not in output
        assert output.count("fewer than 50") == len(BANDS) + 2

    def test_a_strangers_title_moves_no_cursor_and_colours_nothing(self, alder):
        output = alder.run("ledger", "show").output
        assert "\x1b" not in output
        assert "Squares [red] and\N{REPLACEMENT CHARACTER}[31m blue" in output

    def test_writes_nothing(self, alder):
        before = fingerprints(alder.folder)
        for command in ("show", "verify"):
            assert alder.run("ledger", command).exit_code == 0
        assert fingerprints(alder.folder) == before
        assert not list(alder.service.glob("ledger.sqlite-*")), "not even an empty write-ahead log"

    def test_before_the_first_study_it_says_that_nobody_has_given_anything(self, make_hospital, tmp_path):
        fresh = make_hospital(tmp_path / "fresh")
        fresh.custodian().ledger.close()
        output = fresh.run("ledger", "show").output
        assert "nobody has given anything yet" in output
        assert not any(band in output for band in BANDS)

    def test_where_no_custodian_has_run_it_says_so_and_makes_nothing(self, make_hospital, tmp_path):
        fresh = make_hospital(tmp_path / "fresh")
        result = fresh.run("ledger", "show")
        assert "when it first starts" in str(result.exception)
        assert not fresh.service.exists()


class TestBesideACustodian:
    def test_reads_what_was_committed_while_something_else_is_written(self, alder, make_study):
        custodian = alder.custodian()
        custodian.ledger.studies.ask(make_study(title="Late"))
        before = fingerprints(alder.service)

        def write():
            with custodian.ledger._database.writing() as rows:
                rows.execute("UPDATE studies SET until = '2001-01-01'")
                return alder.run("ledger", "show"), alder.run("ledger", "verify")

        show, verify = write()
        assert "Late" in show.output
        assert "2001-01-01" not in show.output
        assert verify.exit_code == 0, verify.output
        after = fingerprints(alder.service)
        assert {path for path in before if before[path] != after[path]} == {Path("ledger.sqlite-wal")}
        assert "2001-01-01" in alder.run("ledger", "show").output
        custodian.ledger.close()

    def test_a_round_that_is_charged_and_not_told_yet_is_no_fault(self, alder, study_id):
        custodian = alder.custodian()
        plan = custodian.ledger.budget.charges()[-1]
        custodian.ledger.budget.reserve(
            study_id, "train", round_number=3, asked="a" * 64, cost=plan.cost, log=custodian.audit.mark
        )
        result = alder.run("ledger", "verify")
        assert result.exit_code == 0, result.output
        assert found(result, ["audit", "log"])[0] == "WARNING"
        custodian.ledger.close()


class TestVerify:
    def test_a_whole_ledger_is_a_line_for_each_check(self, alder):
        result = alder.run("ledger", "verify")
        assert result.exit_code == 0
        for check in ("file", "keys", "audit log", "spends", "approvals"):
            assert found(result, check.split())[0] == "ok"

    @pytest.fixture
    def put_back(self, alder, study_id):
        """The ledger of before another round, beside the log of after it."""
        copy = alder.folder / "yesterday.sqlite"
        shutil.copy(alder.service / "ledger.sqlite", copy)
        custodian = alder.custodian()
        last = custodian.ledger.budget.charges()[-1]
        charge = custodian.ledger.budget.reserve(
            study_id, "train", round_number=3, asked="a" * 64, cost=last.cost, log=custodian.audit.mark
        )
        custodian.audit.append("reserved", "coordinator", facts={"charge": charge.number})
        custodian.ledger.close()
        shutil.copy(copy, alder.service / "ledger.sqlite")
        return alder

    @pytest.mark.attack(OLD_COPY, held_by="ledger verify: the audit log names every charge")
    def test_an_older_copy_is_found(self, put_back):
        result = put_back.run("ledger", "verify")
        assert result.exit_code == 1
        state, said = found(result, ["audit", "log"])
        assert state == "PROBLEM"
        assert "charge 3" in said
        assert "older copy" in said

    @pytest.mark.mutant(OLD_COPY, "nobody holds it against the log")
    def test_the_older_copy_is_whole_by_itself(self, put_back):
        result = put_back.run("ledger", "verify")
        assert {found(result, [check])[0] for check in ("file", "keys", "spends", "approvals")} == {"ok"}

    def test_a_charge_that_was_taken_out_is_found(self, alder):
        alter(alder, "DELETE FROM spends WHERE number = 1")
        result = alder.run("ledger", "verify")
        assert result.exit_code == 1
        assert "charge 1, which is not among" in result.output

    def test_an_audit_log_that_lacks_what_the_ledger_saw_is_found(self, alder):
        path = alder.service / "audit" / "000001.jsonl"
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:9]))
        result = alder.run("ledger", "verify")
        assert result.exit_code == 1
        assert "the audit log lacks entry" in result.output

    def test_a_spend_beyond_what_was_set_aside_is_found(self, alder):
        alter(alder, "UPDATE spends SET steps = 7 WHERE number = 2")
        result = alder.run("ledger", "verify")
        assert result.exit_code == 1
        assert "charge 2, round 2" in result.output
        assert "9 steps were charged, and 8 set aside" in result.output

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE spends SET noise_everybody = noise_everybody / 2 WHERE number = 1",
            "UPDATE spends SET noise_coordinator = NULL WHERE number = 1",
            "UPDATE spends SET sampling_rate = 2 WHERE number = 1",
        ],
    )
    def test_a_spend_with_less_protection_than_was_set_aside_is_found(self, alder, change):
        alter(alder, change)
        result = alder.run("ledger", "verify")
        assert (result.exit_code, found(result, ["spends"])[0]) == (1, "PROBLEM")

    def test_a_study_that_nobody_approved_is_found(self, alder, study_id):
        alter(alder, "UPDATE studies SET approver = NULL")
        result = alder.run("ledger", "verify")
        assert (result.exit_code, found(result, ["approvals"])[0]) == (1, "PROBLEM")

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE studies SET json = '{}'",
            "UPDATE studies SET until = NULL",
            "UPDATE studies SET asked = 'soon'",
        ],
    )
    def test_a_row_that_cannot_be_read_is_found(self, alder, change):
        alter(alder, change)
        result = alder.run("ledger", "verify")
        assert (result.exit_code, found(result, ["file"])[0]) == (1, "PROBLEM")

    def test_damaged_pages_are_found(self, alder):
        path = alder.service / "ledger.sqlite"
        content = bytearray(path.read_bytes())
        for page in range(1, len(content) // 4096):
            content[4096 * page + 8 : 4096 * page + 40] = b"\xff" * 32
        path.write_bytes(content)
        result = alder.run("ledger", "verify")
        assert (result.exit_code, found(result, ["file"])[0]) == (1, "PROBLEM")

    def test_another_hospitals_keys_are_found(self, alder, tmp_path):
        shutil.rmtree(alder.service / "keys")
        SiteKeys.kept_in(alder.service)
        result = alder.run("ledger", "verify")
        assert (result.exit_code, found(result, ["keys"])[0]) == (1, "PROBLEM")

    def test_missing_keys_are_told_and_not_made(self, alder):
        shutil.rmtree(alder.service / "keys")
        assert found(alder.run("ledger", "verify"), ["keys"])[0] == "PROBLEM"
        assert not (alder.service / "keys").exists()


class TestExport:
    def test_json_has_all_studies_approvals_reservations_and_charges(self, alder, tmp_path, study_id):
        path = tmp_path / "books.json"
        assert alder.run("ledger", "export", "--to", path).exit_code == 0
        books = json.loads(path.read_text())
        assert {each["study"] for each in books["studies"]} >= {study_id}
        assert [(each["number"], each["round"], each["steps"]) for each in books["charges"]] == [
            (1, 1, 2),
            (2, 2, 2),
        ]
        assert {each["by"] for each in books["approvals"]} == {"Dr. Frei"}
        (study,) = (each for each in books["studies"] if each["study"] == study_id)
        assert study["epsilon_everybody"] == study["epsilon"] > 0, "it shares no noise"
        (reservation,) = books["reservations"]
        assert (reservation["patients"], reservation["left"]) == ("about 20", "fewer than 20")

    def test_csv_has_the_same_rows(self, alder, tmp_path):
        for ending in ("json", "csv"):
            alder.run("ledger", "export", "--to", tmp_path / f"books.{ending}")
        books = json.loads((tmp_path / "books.json").read_text())
        with (tmp_path / "books.csv").open() as file:
            rows = list(csv.DictReader(file))
        for table in ("studies", "approvals", "reservations", "charges", "patients"):
            assert len([row for row in rows if row["table"] == table]) == len(books[table])

    def test_a_spreadsheet_computes_nothing_of_a_strangers_title(self, alder, tmp_path, make_study):
        custodian = alder.custodian()
        custodian.ledger.studies.ask(make_study(title="=HYPERLINK(1)"))
        custodian.ledger.close()
        alder.run("ledger", "export", "--to", tmp_path / "books.csv")
        assert ",'=HYPERLINK(1)," in (tmp_path / "books.csv").read_text()

    def test_writes_over_nothing(self, alder, tmp_path):
        path = tmp_path / "books.json"
        path.write_text("mine")
        assert "not written over" in str(alder.run("ledger", "export", "--to", path).exception)
        assert path.read_text() == "mine"

    def test_another_ending_is_refused(self, alder, tmp_path):
        result = alder.run("ledger", "export", "--to", tmp_path / "books.xlsx")
        assert "neither .json nor .csv" in str(result.exception)


class TestPage:
    @pytest.fixture
    def page(self, alder, tmp_path):
        result = alder.run("ledger", "show", "--page", tmp_path / "page.html")
        assert result.exit_code == 0, result.output
        return (tmp_path / "page.html").read_text()

    def test_is_one_file_that_asks_the_network_for_nothing(self, page):
        assert not re.findall(r"(?:src|href)=\"(?!data:|#)", page)
        assert "://" not in page
        assert page.count("<svg") == 1

    def test_names_the_studies_and_the_cap(self, page):
        assert "Squares [red] and" in page
        assert "the cap, ε = 30" in page
        assert "No patient has given more than ε" in page
        assert "with what running studies may still take" in page, "2 of 4 rounds are set aside"

    def test_before_the_first_study_there_is_a_page_too(self, make_hospital, tmp_path):
        fresh = make_hospital(tmp_path / "fresh")
        fresh.custodian().ledger.close()
        assert fresh.run("ledger", "show", "--page", tmp_path / "page.html").exit_code == 0
        assert "given anything yet" in (tmp_path / "page.html").read_text()
        assert "<svg" not in (tmp_path / "page.html").read_text()
