"""An archive that is gone or busy: waited for once, in plain words, and not for each thing that is wanted."""

import pytest
from proxy import Proxy
from web_archive import WebArchive

from client_app.data.deidentify.options import Options
from client_app.data.fhir.judge import Case
from client_app.data.ingest.incoming import Incoming
from client_app.data.ingest.journal import Journal
from client_app.data.ingest.run import CohortIngest
from client_app.data.keys import Pseudonyms
from client_app.data.pacs import dicomweb
from client_app.data.pacs.archive import archive
from client_app.data.pacs.settings import DicomwebSettings, DimseSettings
from client_app.data.pacs.source import StudyRef, Wanted
from client_app.data.store.writer import StoreWriter
from federation.errors import RunError
from simulation.hospital.ct_series import encoded, planted, studies
from simulation.programs import free_ports

TIMES = "tries within tries, each waited for"


def dicomweb_at(port, **changes):
    return DicomwebSettings.model_validate(
        {"url": f"http://127.0.0.1:{port}", "retries": 1, "timeout": 5} | changes
    )


def dimse_at(port):
    return DimseSettings(
        host="127.0.0.1", port=port, title="NORTHPACS", own_title="WARDROUND", retries=1, timeout=5
    )


@pytest.fixture
def study():
    return studies(1, slices=3)[0]


@pytest.mark.deployment  # for its time
@pytest.mark.parametrize("settings_at", [dicomweb_at, dimse_at])
def test_whoever_waits_reads_for_whom_why_how_long_and_how_often_still(settings_at, study, tmp_path):
    told = []
    with archive(settings_at(*free_ports(1)), waits=told.append) as source:
        with pytest.raises(RunError, match="cannot be asked"):
            list(source.find(Wanted(accessions=(study.accession,))))
        with pytest.raises(RunError, match="cannot be asked"):
            list(source.fetch(StudyRef(study.uid), tmp_path / "in"))
    lines = [str(wait) for wait in told]
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("waiting for the archive (")
        assert line.endswith("): next try in 1 s, the last try")
        assert not [text for text in planted(study) if text in line]


def gone_in_the_midst(study, folder):
    """How often an archive is asked that is busy from the listing of a study's files on."""
    told = []
    with (
        WebArchive([study]) as web_archive,
        archive(dicomweb_at(web_archive.port), waits=told.append) as source,
    ):
        (ref,) = source.find(Wanted(accessions=(study.accession,)))
        web_archive.asked.clear()
        web_archive.busy = [(503, {"Retry-After": "0"})] * 99
        with pytest.raises(RunError, match=r"cannot be asked .HTTP status 503"):
            list(source.fetch(ref, folder))
        return len(web_archive.asked), len(told)


@pytest.mark.attack(TIMES, held_by="one place that asks again, and an error that nobody asks again after")
def test_retries_are_not_multiplied(study, tmp_path):
    assert gone_in_the_midst(study, tmp_path / "in") == (2, 1)


@pytest.mark.mutant(TIMES, how="the HTTP session asks again, too")
def test_a_session_that_asks_again_itself_multiplies_them(study, tmp_path, monkeypatch):
    made_by = dicomweb.session

    def twice(settings):
        session = made_by(settings)
        get = session.get

        def again(*arguments, **named):
            first = get(*arguments, **named)
            return first if first.ok else get(*arguments, **named)

        session.get = again
        return session

    monkeypatch.setattr(dicomweb, "session", twice)
    assert gone_in_the_midst(study, tmp_path / "in") == (4, 1)


@pytest.mark.deployment  # for its time
def test_a_busy_archive_is_waited_for_as_it_says_also_after_some_has_come(study, tmp_path):
    told = []

    def busy_after_two(progress):
        if progress.instances == 2:
            web_archive.busy = [(429, {"Retry-After": "2"})]

    one_and_a_half = 3 * len(encoded(study.instance(0))) // 2
    with (
        WebArchive([study], cut=[one_and_a_half]) as web_archive,
        archive(dicomweb_at(web_archive.port), busy_after_two, told.append) as source,
    ):
        (ref,) = source.find(Wanted(accessions=(study.accession,)))
        assert len(list(source.fetch(ref, tmp_path / "in"))) == 3
    assert [(wait.why, wait.seconds) for wait in told] == [("HTTP status 429", 2)]


def test_one_that_falls_silent_does_not_answer_and_may_do_so_the_next_time(study):
    with (
        WebArchive([study]) as web_archive,
        Proxy(web_archive.port, breaks=[0], holds=True) as proxy,
        archive(dicomweb_at(proxy.port, timeout=0.5)) as source,
    ):
        with pytest.raises(RunError, match="cannot be asked"):
            source.greet()
        assert source.greet() == "QIDO-RS"


@pytest.fixture
def ingest(tmp_path):
    """``ingest(settings, studies, told)``: a cohort of these, pulled; what came of it."""

    def pulled(settings, made, told=lambda _: None):
        keys, cases = Pseudonyms(bytes(32)), [Case(one.patient.id, one.uid, {}, ()) for one in made]
        with (
            Journal(tmp_path / "ingest") as journal,
            StoreWriter(tmp_path / "store") as store,
            archive(settings) as source,
        ):
            incoming = Incoming(tmp_path / "ingest" / "incoming")
            run = CohortIngest(
                source, journal=journal, store=store, pseudonyms=keys, options=Options(), incoming=incoming
            )
            return run.take(cases, told)

    return pulled


def test_an_archive_that_is_gone_ends_the_ingest_at_the_first_study_and_the_next_goes_on(ingest):
    made = studies(4, slices=3)
    with WebArchive(made) as web_archive:
        settings, busy = dicomweb_at(web_archive.port), [(503, {"Retry-After": "0"})]

        def gone(_):
            web_archive.asked.clear()
            web_archive.busy = busy * 99

        with pytest.raises(RunError, match=r"cannot be asked .HTTP status 503"):
            ingest(settings, made, gone)
        assert len(web_archive.asked) == 3  # twice for the second study, once whether it is there at all
        web_archive.busy = []
        filled = ingest(settings, made)
        assert (filled.broken, filled.refused, filled.missing) == ({}, {}, 0)


def test_one_study_that_it_does_not_give_keeps_no_others_out(ingest):
    made = studies(4, slices=3)
    with WebArchive(made) as web_archive:
        settings = dicomweb_at(web_archive.port, retries=0)

        def busy_once(taken):
            web_archive.busy = [(503, {})] if taken.seen == 1 else []

        filled = ingest(settings, made, busy_once)
        assert list(filled.broken.values()) == [1]
        assert ingest(settings, made).broken == {}
