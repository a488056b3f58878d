"""``wardround-site audit show`` and ``verify``, as somebody types them; and that nobody is ever named."""

import json
import shutil

import pytest

from client_app.books import audit as reading
from client_app.custodian.audit_log import AuditLog
from client_app.custodian.custodian import Custodian
from client_app.custodian.keys import SiteKeys
from federation.audit_log import sign_head

EDITED = "an entry of the audit log edited, while no custodian runs"
SHORTENED = "the audit log cut back to an entry that nobody else has seen"
NAMED = "a patient's name in the audit log or an export"
FIRST = "000001.jsonl"


def lines_of(alder):
    return (alder.service / "audit" / FIRST).read_bytes().splitlines(keepends=True)


def put(alder, lines):
    (alder.service / "audit" / FIRST).write_bytes(b"".join(lines))


def edit(alder, number):
    """Give entry ``number`` another actor."""
    lines = lines_of(alder)
    entry = json.loads(lines[number - 1])
    entry["actor"] = "Dr. Niemand"
    text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    lines[number - 1] = text.encode() + b"\n"
    put(alder, lines)


def found(alder, *held):
    """What is found, where a table would break lines within paths."""
    return "; ".join(finding.found for finding in reading.log_findings(alder.config, held))


@pytest.fixture
def book(tmp_path, heads):
    """A coordinator's book of heads."""
    path = tmp_path / "audit-heads.jsonl"
    path.write_text("".join(f"{head.model_dump_json()}\n" for head in heads))
    return path


class TestShow:
    def test_lists_what_has_happened(self, alder):
        result = alder.run("audit", "show")
        assert result.exit_code == 0, result.output
        for said in ("not-approved", "Dr. Frei", "withdrawn", "signed by birch", "round-burnt", "charge=2"):
            assert said in result.output

    def test_of_one_study_one_kind_and_the_last(self, alder, study_id):
        output = alder.run("audit", "show", "--study", study_id[:8], "--event", "released").output
        assert output.count("released") == 2
        last = alder.run("audit", "show", "--event", "released", "--last", "1").output
        assert (last.count("released"), last.count("charge=2")) == (1, 1)

    def test_a_broken_log_is_not_shown_as_if_it_were_whole(self, alder):
        edit(alder, 4)
        assert "line 5 follows" in str(alder.run("audit", "show").exception)


class TestVerify:
    def test_a_whole_log_is_a_line_for_each_check(self, alder):
        result = alder.run("audit", "verify")
        assert result.exit_code == 0, result.output
        assert "15 entries" in result.output
        assert "birch up to its entry 3" in result.output
        assert "PROBLEM" not in result.output

    @pytest.mark.attack(EDITED, held_by="audit verify: entries name the one before, others hold the last")
    @pytest.mark.parametrize("number", [1, 4, 13])
    def test_an_edited_entry_is_found_by_its_number(self, alder, number):
        edit(alder, number)
        result = alder.run("audit", "verify")
        assert result.exit_code == 1
        assert f"line {number + 1} follows" in result.output
        assert "one of the two was rewritten" in result.output

    @pytest.mark.attack(EDITED, held_by="audit verify: entries name the one before, others hold the last")
    def test_the_last_entry_is_held_against_what_others_have_signed(self, alder):
        identity = SiteKeys.found_in(alder.service).identity
        head = AuditLog(alder.service / "audit", "alder", identity).head
        (alder.folder / "heads").write_text(f"{head.model_dump_json()}\n")
        edit(alder, 15)
        assert alder.run("audit", "verify").exit_code == 0, "no entry follows that would name it"
        result = alder.run("audit", "verify", "--heads", alder.folder / "heads")
        assert result.exit_code == 1
        assert "rewritten: entry 15" in result.output

    @pytest.mark.mutant(EDITED, "a reader that does not follow the chain")
    def test_a_reader_that_does_not_follow_the_chain_sees_nothing(self, alder, monkeypatch):
        edit(alder, 4)
        whole = [reading.Link(entry, "0" * 64) for entry in _unchained(alder)]
        monkeypatch.setattr(reading, "read_chain", lambda lines: whole)
        assert alder.run("audit", "verify").exit_code == 0

    def test_what_the_coordinator_holds_is_in_the_log(self, alder, book):
        result = alder.run("audit", "verify", "--heads", book)
        assert result.exit_code == 0, result.output
        assert "1 heads of alder, up to entry 14: the log has them all" in result.output

    @pytest.mark.attack(SHORTENED, held_by="audit verify --heads: what others hold")
    def test_a_log_that_was_cut_back_is_found(self, alder, book):
        put(alder, lines_of(alder)[:11])
        result = alder.run("audit", "verify", "--heads", book)
        assert result.exit_code == 1
        assert "alder signed entry 14, and the log ends at entry 11" in result.output

    @pytest.mark.mutant(SHORTENED, "nobody holds a head")
    def test_without_heads_it_is_a_whole_chain(self, alder):
        put(alder, lines_of(alder)[:11])
        assert alder.run("audit", "verify").exit_code == 0

    def test_heads_under_another_key_are_not_this_hospitals(self, alder, tmp_path):
        other = sign_head(SiteKeys.seeded(2, "alder").identity, "alder", 1, "0" * 64)
        (tmp_path / "heads").write_text(f"{other.model_dump_json()}\n")
        result = alder.run("audit", "verify", "--heads", tmp_path / "heads")
        assert result.exit_code == 1
        assert "not this hospital's" in result.output

    def test_a_file_about_others_proves_nothing_and_says_so(self, alder, tmp_path, heads):
        (tmp_path / "heads").write_text(f"{heads[1].model_dump_json()}\n")
        result = alder.run("audit", "verify", "--heads", tmp_path / "heads")
        assert result.exit_code == 0
        assert "WARNING" in result.output

    @pytest.mark.parametrize("content", ["nonsense\n", "{}\n"])
    def test_what_is_no_file_of_heads_is_a_problem(self, alder, tmp_path, content):
        (tmp_path / "heads").write_text(content)
        assert alder.run("audit", "verify", "--heads", tmp_path / "heads").exit_code == 1
        assert "no file of audit heads" in found(alder, tmp_path / "heads")

    def test_a_peers_head_that_nobody_signed_is_found_by_its_entry(self, alder, heads):
        keys = SiteKeys.found_in(alder.service)
        log = AuditLog(alder.service / "audit", "alder", keys.identity)
        forged = heads[1].model_copy(update={"sequence": 4})
        log.append("heads", "coordinator", facts={"birch": forged.model_dump_json()})
        result = alder.run("audit", "verify")
        assert result.exit_code == 1
        assert "entry 16 holds a head that no other hospital has signed" in result.output

    def test_without_a_log_there_is_nothing_to_verify(self, make_hospital, tmp_path):
        fresh = make_hospital(tmp_path / "fresh")
        assert fresh.run("audit", "verify").exit_code == 1
        assert "no folder of an audit log" in found(fresh)

    def test_missing_keys_are_told_and_not_made(self, alder):
        shutil.rmtree(alder.service / "keys")
        assert alder.run("audit", "verify").exit_code == 1
        assert not (alder.service / "keys").exists()


def _unchained(alder):
    return [reading.AuditEntry.model_validate_json(line) for line in lines_of(alder)]


class TestNobodyIsNamed:
    @pytest.fixture
    def swept(self, tmp_path):
        """Everything that the commands print or write, and the audit log; with the names and pseudonyms."""

        def sweep(one):
            from named_task import PLANTED  # noqa: PLC0415

            out = tmp_path / "out"
            printed = [
                one.run(*command)
                for command in (
                    ("ledger", "show", "--page", out / "page.html"),
                    ("ledger", "verify"),
                    ("ledger", "export", "--to", out / "books.json"),
                    ("ledger", "export", "--to", out / "books.csv"),
                    ("audit", "show"),
                    ("audit", "verify"),
                    ("doctor",),
                )
            ]
            files = [path for folder in (out, one.service / "audit") for path in folder.rglob("*")]
            content = {path.name: path.read_bytes() for path in files if path.is_file()}
            for number, result in enumerate(printed):
                content[f"output {number}"] = f"{result.output} {result.exception}".encode()
            keys = SiteKeys.found_in(one.service)
            surnames = ["Müller".encode(), b"M\\u00fcller", "Änne".encode(), b"\\u00c4nne"]
            names = [*surnames, *(name.encode() for name in PLANTED), b"1934-04-02"]
            pseudonyms = [keys.pseudonym(name) for name in PLANTED]
            # Tables show the beginnings of long texts.
            return content, names, [pseudonym[:12].encode() for pseudonym in pseudonyms]

        return sweep

    @pytest.mark.attack(NAMED, held_by="entries tell counts and hashes, exports have no row of a patient")
    def test_neither_a_name_nor_a_pseudonym_is_in_any_byte(self, alder, swept):
        content, names, pseudonyms = swept(alder)
        assert {"books.json", "books.csv", "page.html", FIRST} <= set(content)
        for where, text in content.items():
            assert not [name for name in (*names, *pseudonyms) if name in text], where

    @pytest.mark.attack(NAMED, held_by="entries tell counts and hashes, exports have no row of a patient")
    def test_names_are_not_in_the_ledger_either_which_has_only_pseudonyms(self, alder, swept):
        _, names, pseudonyms = swept(alder)
        ledger = b"".join(path.read_bytes() for path in alder.service.glob("ledger.sqlite*"))
        assert not [name for name in names if name in ledger]
        assert any(pseudonym in ledger for pseudonym in pseudonyms), "the sweep would see them"

    @pytest.mark.mutant(NAMED, "an entry's facts name who took part")
    def test_an_entry_that_names_a_patient_is_seen(self, make_hospital, live, tmp_path, swept, monkeypatch):
        from named_task import PLANTED  # noqa: PLC0415

        honest = Custodian._note

        def telling(self, event, request, facts, rule=""):
            honest(self, event, request, {**facts, "patient": PLANTED[3]}, rule)

        monkeypatch.setattr(Custodian, "_note", telling)
        one = make_hospital(tmp_path / "telling")
        live(one)
        content, names, _ = swept(one)
        seen = {where for where, text in content.items() if any(name in text for name in names)}
        assert {FIRST, "output 4"} <= seen

    @pytest.mark.mutant(NAMED, "an entry's facts tell a pseudonym")
    def test_an_entry_that_tells_a_pseudonym_is_seen(self, alder, swept):
        from named_task import PLANTED  # noqa: PLC0415

        keys = SiteKeys.found_in(alder.service)
        log = AuditLog(alder.service / "audit", "alder", keys.identity)
        log.append("withdrawn", "Dr. Frei", facts={"patient": keys.pseudonym(PLANTED[2])})
        content, _, pseudonyms = swept(alder)
        seen = {where for where, text in content.items() if any(name in text for name in pseudonyms)}
        assert {FIRST, "output 4"} <= seen
