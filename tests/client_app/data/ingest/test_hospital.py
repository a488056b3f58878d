"""From a real PACS and a real record to the store: the right ones, once, without their names."""

import sqlite3
import sys
from contextlib import closing
from shutil import copy

import pytest
from fhir_server import running_fhir_server
from ingest_hospital import given, malignant, pseudonyms, pulled
from omegaconf import OmegaConf
from orthanc import WAYS

from client_app.data.ingest.held import Held
from client_app.data.ingest.hospital import HospitalIngest
from client_app.data.pacs.source import Wanted
from client_app.data.store.writer import StoreWriter
from federation.errors import DataError, RunError
from federation.files import locked
from federation.site_store import open_store, standing
from simulation.hospital.records import MRN
from simulation.programs import ROOT, Programs

PROGRAM = ROOT / "tests/client_app/data/ingest_pacs.py"


def cohort(folder, *changes):
    """The example of conf/cohort, changed."""
    file = folder / "cohort.yaml"
    example = OmegaConf.load(ROOT / "conf/cohort/lung_nodule.yaml")
    OmegaConf.save(OmegaConf.merge(example, OmegaConf.from_dotlist(list(changes))), file)
    return file


def studies_in(settings):
    """How many a journal has."""
    journal = settings.folder / "journal.sqlite"
    if not journal.exists():
        return 0
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as rows:
        try:
            return rows.execute("SELECT count(*) FROM studies").fetchone()[0]
        except sqlite3.OperationalError:  # before its table is made
            return 0


def test_who_agreed_is_in_with_what_is_known_and_nobody_else(hospital, tmp_path):
    settings = hospital.settings(tmp_path)
    store, refused = pulled(settings)
    keys = pseudonyms(settings)
    expected = {
        keys.uid(study.series_uid()): (
            keys.patient(study.patient.id),
            "malignant" if malignant(study) else "benign",
        )
        for study in hospital.allowed
    }
    found = {each.series: (each.patient, each.features["malignancy"]) for each in store.series}
    assert found == expected
    assert len(found) == 140
    assert not refused


def test_what_is_in_the_store_and_who_is_out_is_counted(hospital, tmp_path):
    settings = hospital.settings(tmp_path)
    ingest, studies = HospitalIngest(settings), hospital.allowed
    some = Wanted(studies=tuple(study.uid for study in studies[:5]))
    filled = ingest.pacs(lambda _: None, named=some)
    whose = len({study.patient for study in studies[:5]})
    assert filled.held == Held(entries=5, patients=whose, new=5)
    everybody = len({study.patient for study in studies})
    filled = ingest.pacs(lambda _: None)
    assert filled.held == Held(entries=140, patients=everybody, new=135)
    denied = {study.patient for study in hospital.pacs.studies if given(study) in ("deny", "nested-deny")}
    assert filled.out["denied"] == len(denied)
    with StoreWriter(settings.store) as store:
        store.withdraw(pseudonyms(settings).patient(studies[0].patient.id), "opted-out")
    gone = sum(study.patient == studies[0].patient for study in studies)
    held = ingest.pacs(lambda _: None).held
    assert held == Held(entries=140 - gone, patients=everybody - 1)


@pytest.mark.parametrize("way", WAYS)
def test_a_check_asks_archive_and_record_and_writes_nothing(hospital, tmp_path, way):
    findings = HospitalIngest(hospital.settings(tmp_path, way)).check()
    archive, record, *_ = findings
    assert (archive.check, archive.state) == ("archive", "ok")
    assert archive.found == ("answers QIDO-RS" if way == "dicomweb" else "answers C-ECHO")
    assert (record.check, record.state) == ("record", "ok")
    assert any(each.check == "patients" for each in findings)
    assert not [*tmp_path.iterdir()]


def test_a_check_says_of_each_that_does_not_answer_what_is_wrong_and_what_to_do(hospital, tmp_path):
    stranger = hospital.pacs.settings("get", own_title="NOBODY")
    archive, record, *_ = HospitalIngest(hospital.settings(tmp_path, pacs=stranger)).check()
    assert (archive.state, record.state) == ("problem", "ok")
    assert "AE title 'NOBODY'" in archive.found + archive.remedy
    nowhere = {"url": f"{hospital.fhir.url}/nowhere", "patient_system": MRN}
    archive, record = HospitalIngest(hospital.settings(tmp_path, fhir=nowhere)).check()
    assert (archive.state, record.state) == ("ok", "problem")
    assert "ingest.fhir.url" in record.found + record.remedy


def test_every_way_to_the_archive_ends_in_the_same_store(hospital, tmp_path):
    versions = {}
    key = tmp_path / "one.key"
    for way in ("dicomweb", "get", "move"):
        settings = hospital.settings(tmp_path / way, way)
        (settings.folder).mkdir(parents=True, mode=0o700)
        if key.exists():
            copy(key, settings.folder / "pseudonyms.key")
        versions[way] = pulled(settings)[0].version
        copy(settings.folder / "pseudonyms.key", key)
    assert len(set(versions.values())) == 1


def test_killed_at_any_moment_it_goes_on_without_loss_or_duplicate(hospital, tmp_path):
    whole = hospital.settings(tmp_path / "whole")
    expected = pulled(whole)[0]
    broken = hospital.settings(tmp_path / "broken")
    broken.folder.mkdir(parents=True, mode=0o700)
    copy(whole.folder / "pseudonyms.key", broken.folder / "pseudonyms.key")
    file = tmp_path / "settings.json"
    file.write_text(broken.model_dump_json())
    with Programs(tmp_path) as programs:
        for seen in (1, 37, 80, 131):
            programs.start("ingest", sys.executable, PROGRAM, file, PYTHONPATH=str(ROOT))
            programs.until(lambda seen=seen: studies_in(broken) >= seen, f"{seen} studies")
            programs.kill("ingest")
    store, refused = pulled(broken)
    assert store.version == expected.version
    assert not refused
    assert not [*(broken.folder / "incoming").glob("*/*")]


def test_a_record_that_has_lost_its_patients_takes_nobody_out(hospital, tmp_path):
    settings = hospital.settings(tmp_path)
    before, _ = pulled(settings)
    with running_fhir_server() as empty:
        lost = hospital.settings(tmp_path, fhir={"url": empty.url, "patient_system": MRN})
        with pytest.raises(DataError, match="the record knows none"):
            pulled(lost)
    assert open_store(settings.store).version == before.version


def test_what_a_store_has_lost_is_pulled_again(hospital, tmp_path):
    settings = hospital.settings(tmp_path)
    before, _ = pulled(settings)
    with StoreWriter(settings.store) as store:  # as an older copy of it would be
        for each in before.series[::3]:
            store.retract(each.series, "lost")
    assert pulled(settings)[0].version == before.version


def test_a_journal_that_was_lost_is_written_anew_and_nobody_leaves(hospital, tmp_path):
    settings = hospital.settings(tmp_path)
    before, _ = pulled(settings)
    (settings.folder / "journal.sqlite").unlink()
    with pytest.raises(DataError, match="of 0 patients"):
        HospitalIngest(settings).consent()
    assert pulled(settings)[0] == before
    assert HospitalIngest(settings).consent().gone == {}


def test_another_key_of_pseudonyms_takes_nobody_in(hospital, tmp_path):
    settings = hospital.settings(tmp_path)
    before, _ = pulled(settings)
    key = settings.folder / "pseudonyms.key"
    key.unlink()
    with pytest.raises(DataError, match=r"pseudonyms\.key is missing"):
        pulled(settings)
    assert not key.exists(), "none is drawn in its place"
    key.write_bytes(bytes(32))
    key.chmod(0o600)
    with pytest.raises(DataError, match="another key of pseudonyms"):
        pulled(settings)
    assert open_store(settings.store).version == before.version


def test_whoever_takes_their_consent_back_leaves_the_store_for_good(hospital, tmp_path):
    settings = hospital.settings(tmp_path)
    before, _ = pulled(settings)
    gone = hospital.allowed[0].patient
    listed = tmp_path / "opt_outs.csv"
    listed.write_text(f"patient\n{gone.id}\n")
    strict = hospital.settings(tmp_path, consent={"opt_outs": listed})
    asked = standing(settings.store).asked
    said = HospitalIngest(strict).consent()
    assert said.gone == {"opted-out": 1}
    assert said.patients == len({study.patient for study in hospital.allowed})
    assert standing(settings.store).asked > asked
    after = open_store(settings.store)
    whose = pseudonyms(settings).patient(gone.id)
    assert {each.patient for each in before.series} - {each.patient for each in after.series} == {whose}
    assert pulled(settings)[0].version == after.version  # nor back by a pull that has forgotten the list


def test_entries_of_the_list_that_match_nobody_are_told_by_their_line(hospital, tmp_path):
    inside, denied = hospital.allowed[0].patient.id, hospital.denied[0].patient.id
    settings = hospital.settings(tmp_path)
    pulled(settings)
    listed = tmp_path / "opt_outs.csv"
    listed.write_text(f"patient\n{inside}x\n00{denied}\n{inside.lower()}\n")
    strict = hospital.settings(tmp_path, consent={"opt_outs": listed})
    [finding] = [each for each in HospitalIngest(strict).check() if each.check == "opt-outs"]
    assert finding.state == "warning"
    assert (
        "whom the record has for the cohort, or who is or was in the store: 1 of 3, in line 2"
        in finding.found
    )
    filled = HospitalIngest(strict).pacs(lambda _: None)
    assert (filled.unmet.of, filled.unmet.lines) == (3, (2,))
    assert HospitalIngest(strict).consent().unmet.lines == (2, 3), "the record's others are not asked for"
    empty = hospital.settings(tmp_path / "empty", consent={"opt_outs": listed})
    [finding] = [each for each in HospitalIngest(empty).check() if each.check == "opt-outs"]
    assert finding.found.endswith("1 of 3, in line 2")
    assert not empty.folder.exists(), "nothing is written"
    assert not empty.store.exists()


def test_studies_that_are_no_longer_wanted_leave_and_come_back(hospital, tmp_path):
    settings = hospital.settings(tmp_path)
    before, _ = pulled(settings)
    younger = hospital.settings(tmp_path, cohort=cohort(tmp_path, "who.age.maximum=60"))
    fewer, _ = pulled(younger)
    assert {each.series for each in fewer.series} < {each.series for each in before.series}
    assert pulled(settings)[0].version == before.version


def test_two_at_once_are_one_too_many(hospital, tmp_path):
    settings = hospital.settings(tmp_path)
    with locked(settings.folder / "lock", wait=True), pytest.raises(RunError, match="another ingest"):
        pulled(settings)
