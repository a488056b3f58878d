"""Files that name patients do not outlast the ingest, and a broken study does not keep the others out."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
from ingest_hospital import pulled

from client_app.data.ingest import hospital as wiring
from client_app.data.ingest.hospital import HospitalIngest
from client_app.data.ingest.incoming import Incoming
from client_app.data.pacs.archive import archive
from federation.errors import RunError
from federation.site_store import open_store
from simulation.hospital.ct_series import encoded


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
