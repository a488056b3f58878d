"""Files that name patients do not outlast the ingest, and a broken study does not keep the others out."""

import os
from contextlib import contextmanager
from dataclasses import replace
from stat import S_IMODE

import pytest
from ingest_hospital import pulled

from client_app.data.ingest import hospital as wiring
from client_app.data.ingest import incoming as module
from client_app.data.ingest.hospital import HospitalIngest
from client_app.data.ingest.incoming import Incoming
from client_app.data.pacs.archive import archive
from federation.errors import RunError, StorageError
from federation.files import make_folder
from federation.site_store import open_store
from simulation.hospital.ct_series import encoded

LISTED = "another account of the machine lists what is on its way"


def left(settings):
    return [*(settings.folder / "incoming").rglob("*")]


@pytest.fixture
def broken_off(monkeypatch):
    """Archives that do not give some studies whole: after the first file of each."""
    uids = set()

    @contextmanager
    def wrapped(settings, **named):
        with archive(settings, **named) as source:
            fetch = source.fetch

            def some(ref, to):
                files = fetch(ref, to)
                if ref.uid in uids:
                    yield next(iter(files))
                    raise RunError("3 of a study's 4 files have not come")
                yield from files

            source.fetch = some
            yield source

    monkeypatch.setattr(wiring, "archive", wrapped)
    return uids


def test_studies_that_break_off_keep_no_others_out_and_are_asked_for_again(hospital, tmp_path, broken_off):
    settings = hospital.settings(tmp_path)
    broken_off |= {study.uid for study in hospital.allowed[:7]}
    filled = HospitalIngest(settings).pacs(lambda _: None)
    assert filled.broken == {"3 of a study's 4 files have not come": 7}
    assert len(open_store(settings.store).series) == 140 - 7
    broken_off.clear()
    assert len(pulled(settings)[0].series) == 140
    assert not left(settings)


def test_what_is_on_its_way_when_consent_is_asked_does_not_stay(hospital, tmp_path, broken_off):
    settings = hospital.settings(tmp_path)
    broken_off.add(hospital.allowed[0].uid)
    HospitalIngest(settings).pacs(lambda _: None)
    assert left(settings)
    HospitalIngest(settings).consent()
    assert not left(settings)


def test_files_of_a_study_that_is_done_go_with_the_next_ingest(hospital, tmp_path, monkeypatch):
    settings = hospital.settings(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Incoming, "remove", lambda self, study: None)  # it dies before
        pulled(settings)
    assert left(settings)
    pulled(settings)
    assert not left(settings)


def test_a_study_that_has_grown_in_the_archive_is_taken_anew(hospital, tmp_path):
    settings = hospital.settings(tmp_path)
    study = hospital.allowed[-1]
    assert {each.shape[0] for each in pulled(settings)[0].series} == {4}
    hospital.pacs.orthanc.store([encoded(replace(study, slices=5).instance(4))])
    after, refused = pulled(settings)
    assert sorted(each.shape[0] for each in after.series) == [4] * 139 + [5]
    assert not refused


@pytest.fixture
def _anybody_may():
    """What is made is for everybody, where nobody says otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


def rights(folder):
    """Of the folder that studies come to."""
    Incoming(folder / "incoming").of("2.25.1").mkdir()
    return S_IMODE((folder / "incoming").stat().st_mode)


@pytest.mark.attack(LISTED, held_by="the folder that studies come to is the ingest's alone")
@pytest.mark.usefixtures("_anybody_may")
def test_nobody_else_on_the_machine_can_look_what_is_on_its_way(tmp_path):
    assert rights(tmp_path) == 0o700


@pytest.mark.mutant(LISTED, how="the folder is made as any other")
@pytest.mark.usefixtures("_anybody_may")
def test_made_as_any_other_folder_everybody_could(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "make_folder", lambda folder, _: make_folder(folder))
    assert rights(tmp_path) == 0o777


def test_where_it_cannot_be_made_it_is_said_what_to_do(tmp_path):
    (tmp_path / "ingest").write_text("a file")
    with pytest.raises(StorageError, match=r"mend the rights of the folder above it, and run again$"):
        Incoming(tmp_path / "ingest/incoming").of("2.25.1")


def test_an_archive_s_studies_come_to_that_folder(hospital, tmp_path, broken_off):
    settings = hospital.settings(tmp_path)
    broken_off.add(hospital.allowed[0].uid)
    HospitalIngest(settings).pacs(lambda _: None)
    [folder] = {path.parent for path in left(settings) if path.is_dir()}
    assert S_IMODE(folder.stat().st_mode) == 0o700
