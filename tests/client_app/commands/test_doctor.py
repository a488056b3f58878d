"""``wardround-site doctor``, as somebody at a hospital types it."""

import json
import os
import shutil
import socket
from collections import namedtuple
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from client_app import doctor
from client_app.custodian.approvals import Agreement
from client_app.custodian.keys import SiteKeys
from client_app.doctor import examine
from federation.secure_sum.roster import SiteKey

GIB = 2**30
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def served(alder):
    """The hospital with somebody who answers on both sockets."""
    config = alder.config
    with socket.socket(socket.AF_UNIX) as relay, socket.socket(socket.AF_UNIX) as admin:
        for listener, path in ((relay, config.service.relay), (admin, config.service.admin)):
            path.parent.mkdir()
            path.parent.chmod(0o2750)
            listener.bind(str(path))
            listener.listen()
        yield alder


def of(one, check):
    """What was found of one thing; the worst of it, if it was several."""
    found = [finding for finding in examine(one.file) if finding.check == check]
    return sorted(found, key=lambda finding: ("problem", "warning", "ok").index(finding.state))[0]


def rewrite(one, **changes):
    """Say something else in site.yaml."""
    values = json.loads(one.file.read_text())
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = values
        for parent in parents:
            place = place[parent]
        place[last] = value
    one.file.write_text(json.dumps(values))


def files(one):
    return {path: path.stat().st_mtime_ns for path in one.folder.rglob("*")}


def test_a_sound_hospital_has_no_problem_and_nothing_is_changed(served):
    before = files(served)
    result = served.run("doctor")
    assert result.exit_code == 0, result.output
    assert "PROBLEM" not in result.output
    for check in (
        "site.yaml",
        "data of named_task",
        "keys",
        "disk",
        "clock",
        "ledger",
        "audit log",
        "roster",
        "budget",
    ):
        assert f" {check} " in result.output
    assert files(served) == before


def test_before_the_first_start_it_says_what_will_be_made_and_makes_nothing(make_hospital, tmp_path):
    fresh = make_hospital(tmp_path / "fresh")
    result = fresh.run("doctor")
    assert result.exit_code == 0, result.output
    assert result.output.count("made when the custodian first starts") == 3
    assert [path.name for path in fresh.folder.iterdir()] == ["site.yaml"]


def test_a_problem_is_exit_code_1(alder):
    (alder.service / "keys" / "noise").chmod(0o644)
    result = alder.run("doctor")
    assert result.exit_code == 1
    assert "PROBLEM" in result.output


class TestSiteFile:
    def test_an_unknown_key_is_the_result(self, alder):
        rewrite(alder, policy__minimum_patient=20)
        assert alder.run("doctor").exit_code == 1
        (finding,) = examine(alder.file)
        assert "policy.minimum_patient is not a setting; did you mean 'minimum_patients'?" in finding.found

    def test_sockets_in_one_folder_are_refused(self, alder):
        rewrite(alder, service__admin=str(alder.folder / "relay" / "admin"))
        (finding,) = examine(alder.file)
        assert "give each a folder" in finding.found

    @pytest.mark.parametrize("content", ["{", "- a\n- b\n", ""])
    def test_what_is_no_configuration_is_the_result(self, alder, content):
        alder.file.write_text(content)
        assert [finding.state for finding in examine(alder.file)] == ["problem"]


class TestData:
    def test_a_missing_folder_is_named(self, alder):
        rewrite(alder, data__folder="/nowhere")
        assert "data.folder=/nowhere" in of(alder, "data").found

    def test_too_few_patients_are_told_without_their_number(self, alder):
        alder.change(minimum_patients=25)
        finding = of(alder, "data of named_task")
        assert (finding.state, "fewer than the 25" in finding.found) == ("problem", True)
        assert "24" not in finding.found

    @pytest.mark.parametrize(("declared", "fits"), [(11, False), (12, True), (48, True), (49, False)])
    def test_a_declared_size_is_right_by_a_factor_of_two(self, alder, declared, fits):
        rewrite(alder, declared_patients=declared)
        assert (of(alder, "data of named_task").state != "problem") == fits

    def test_before_the_first_study_they_are_read_as_the_policy_asks(self, make_hospital, tmp_path):
        fresh = make_hospital(tmp_path / "fresh")
        fresh.change(task_options={"patients": [30], "held_out": [30, 6]}, minimum_patients=30)
        assert of(fresh, "data of named_task").state == "ok", "24 and 6 by default"

    def test_too_few_to_evaluate_is_told_before_a_study_has_cost_anything(self, make_hospital, tmp_path):
        fresh = make_hospital(tmp_path / "fresh")
        finding = of(fresh, "data of named_task")
        assert finding.state == "warning"
        assert "fewer than 20 are held out" in finding.found
        fresh.change(metrics=[])
        assert of(fresh, "data of named_task").state == "ok", "nobody may ask of them"

    def test_of_what_fails_only_the_kind_is_told(self, alder, make_study):
        custodian = alder.custodian()
        study = make_study(task={"package": "named_task", "options": {"fails": True}}, title="Fails")
        custodian.ledger.studies.ask(study)
        agreement = Agreement(by="Dr. Frei", until=datetime.now(UTC).date() + timedelta(days=1))
        custodian.approvals.approve(study.id, agreement)
        custodian.ledger.close()
        result = alder.run("doctor")
        assert result.exit_code == 1
        assert "cannot be read: RuntimeError" in result.output
        assert "Müller" not in result.output


class TestKeys:
    @pytest.mark.parametrize("name", ["noise", "pseudonyms", "identity"])
    def test_a_key_that_others_may_read_is_found(self, alder, name):
        (alder.service / "keys" / name).chmod(0o644)
        finding = of(alder, "keys")
        assert (finding.state, finding.remedy) == ("problem", "chmod 600 it")
        assert f"{name} may be read by others (mode 0644)" in finding.found

    def test_a_folder_that_others_may_enter_is_found(self, alder):
        (alder.service / "keys").chmod(0o755)
        assert of(alder, "keys").remedy == f"chmod 700 {alder.service / 'keys'}"

    def test_a_missing_key_is_found_and_not_made(self, alder):
        (alder.service / "keys" / "pseudonyms").unlink()
        assert "pseudonyms missing" in of(alder, "keys").found
        assert not (alder.service / "keys" / "pseudonyms").exists()

    def test_no_keys_beside_a_ledger_is_not_a_first_start(self, alder):
        shutil.rmtree(alder.service / "keys")
        assert of(alder, "keys").state == "problem"


@pytest.mark.parametrize(
    ("free", "state"), [(1.9, "problem"), (2.1, "warning"), (9.9, "warning"), (10.1, "ok")]
)
def test_a_full_disk_is_found(alder, monkeypatch, free, state):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(100 * GIB, 0, int(free * GIB)))
    assert of(alder, "disk").state == state


class TestClock:
    @pytest.fixture
    def at(self, set_clock):
        """Set the clock that is looked at."""
        return partial(set_clock, doctor)

    @pytest.mark.parametrize(
        ("by", "state"), [(timedelta(minutes=-4), "ok"), (timedelta(minutes=-6), "problem")]
    )
    def test_a_clock_behind_the_log_is_found(self, alder, at, by, state):
        custodian = alder.custodian()
        custodian.audit.append("started", "custodian")
        custodian.ledger.close()
        at(by)
        assert of(alder, "clock").state == state

    @pytest.mark.parametrize("years", [-56, 80])
    def test_a_year_that_cannot_be_is_found(self, make_hospital, tmp_path, at, years):
        at(timedelta(days=365.25 * years))
        assert of(make_hospital(tmp_path / "fresh"), "clock").state == "problem"


class TestBooks:
    def test_a_ledger_that_lacks_what_the_log_tells_is_found(self, alder):
        for path in alder.service.glob("ledger.sqlite*"):
            path.unlink()
        assert of(alder, "ledger").state == "problem"

    def test_a_damaged_ledger_hides_nothing_else(self, alder):
        (alder.service / "ledger.sqlite").write_bytes(b"no database" * 500)
        findings = examine(alder.file)
        assert {each.check for each in findings if each.state == "problem"} == {"ledger", "budget"}
        assert {"data of named_task", "keys", "resources"} <= {each.check for each in findings}

    def test_an_edited_entry_is_found_by_its_number(self, alder):
        path = alder.service / "audit" / "000001.jsonl"
        path.write_bytes(path.read_bytes().replace(b'"actor":"Dr. Frei"', b'"actor":"Dr. Frey"', 1))
        assert "line 4 follows" in of(alder, "audit log").found

    def test_patients_without_room_for_a_large_study_are_a_warning_without_their_number(self, alder):
        alder.change(lifetime={"epsilon": 9.0, "delta": 1e-5, "against": "everybody"})
        finding = of(alder, "budget")
        assert finding.state == "warning"
        assert finding.found.startswith("fewer than 20")


class TestRoster:
    @pytest.fixture
    def pin(self, alder, make_roster):
        """Pin a roster with a key of alder's; by default its own."""

        def pinned(version=1, key=None, **changes):
            identity = SiteKeys.found_in(alder.service).identity
            own = SiteKey(site="alder", key=key or identity.public_key().public_bytes_raw().hex())
            custodian = alder.custodian()
            roster = make_roster(own, version, **changes)
            custodian.audit.append("pinned", "Dr. Frei", facts={"version": version, "roster": roster.hash})
            custodian.roster.pin(roster, own)
            custodian.ledger.close()
            return roster

        return pinned

    def test_without_one_it_is_a_note(self, alder):
        finding = of(alder, "roster")
        assert (finding.state, finding.found) == (
            "ok",
            "none is pinned, so studies with secure sums are refused",
        )

    def test_without_one_a_hospital_that_allows_nothing_but_sums_is_warned(self, alder):
        rewrite(alder, policy__aggregation=["secure"])
        finding = of(alder, "roster")
        assert (finding.state, finding.remedy) == ("warning", "wardround-site roster pin ROSTER")
        assert "policy.aggregation allows no others" in finding.found

    def test_it_is_told_by_version_and_words(self, alder, pin):
        words = pin().fingerprint
        finding = of(alder, "roster")
        assert (finding.state, finding.found) == ("ok", f"version 1, 3 hospitals: {words}")

    def test_another_one_than_the_log_s_last_is_found(self, alder, pin):
        pin(1)
        path = alder.service / "roster.json"
        older = path.read_bytes()
        newer = pin(2)
        path.write_bytes(older)
        finding = of(alder, "roster")
        assert finding.state == "problem"
        assert finding.found.startswith("version 1 (")
        assert finding.found.endswith(f"and the audit log's last is version 2 ({newer.hash[:12]})")
        path.unlink()
        assert of(alder, "roster").found.startswith("none lies there, and the audit log's last is version 2")

    def test_one_of_another_coordinator_that_people_pinned_after_all_is_sound(self, alder, pin):
        pin(2)
        (alder.service / "roster.json").unlink()
        pin(1, coordinator=bytes(32))
        assert of(alder, "roster").state == "ok"

    def test_another_key_than_the_hospitals_is_found(self, alder, pin):
        pin(key="a1" * 32)
        assert of(alder, "roster").found == "version 1 does not have this hospital's own key"

    def test_a_damaged_one_is_found(self, alder):
        (alder.service / "roster.json").write_bytes(b"")
        assert of(alder, "roster").state == "problem"


class TestSockets:
    def test_whoever_answers_is_told(self, served):
        assert (of(served, "relay socket").state, of(served, "admin socket").state) == ("ok", "ok")

    def test_that_nobody_answers_is_a_warning(self, alder):
        assert of(alder, "relay socket").state == "warning"

    @pytest.mark.parametrize(("length", "state"), [(107, "warning"), (108, "problem")])
    def test_a_path_that_linux_does_not_take_is_found(self, alder, length, state):
        path = f"/tmp/{'x' * (length - 7)}/s"  # noqa: S108
        rewrite(alder, service__relay=path)
        assert len(os.fsencode(path)) == length
        assert of(alder, "relay socket").state == state

    def test_a_folder_that_everybody_may_enter_is_found(self, served):
        served.config.service.admin.parent.chmod(0o755)
        assert of(served, "admin socket").state == "problem"

    def test_two_names_of_one_folder_are_found(self, served):
        admin = served.config.service.admin
        shutil.rmtree(admin.parent)
        admin.parent.symlink_to(served.config.service.relay.parent)
        assert of(served, "sockets").state == "problem"

    def test_a_dead_processs_socket_answers_nobody(self, alder):
        path = alder.config.service.relay
        path.parent.mkdir(mode=0o750)
        with closing(socket.socket(socket.AF_UNIX)) as dead:
            dead.bind(str(path))
        assert "nobody answers" in of(alder, "relay socket").found


def test_more_threads_than_cores_are_a_warning(alder, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4096")
    assert of(alder, "resources").state == "warning"


def test_memory_that_is_not_there_is_a_warning(alder):
    rewrite(alder, resources__memory_mib=2**40)
    assert of(alder, "resources").state == "warning"


def test_a_look_that_breaks_hides_no_other_and_tells_only_its_kind(alder, monkeypatch):
    def broken(config):
        raise ValueError("Müller, Änne")

    monkeypatch.setitem(doctor.LOOKS, "clock", broken)
    findings = examine(alder.file)
    assert of(alder, "clock").found == "could not be looked at: ValueError"
    assert {finding.check for finding in findings} >= {"disk", "clock", "ledger", "resources"}
