"""An archive that is gone or busy: waited for once, in plain words, and not for each thing that is wanted."""

import pytest
from proxy import Proxy
from web_archive import WebArchive

from client_app.data.pacs import dicomweb
from client_app.data.pacs.archive import archive
from client_app.data.pacs.settings import DicomwebSettings, DimseSettings
from client_app.data.pacs.source import StudyRef, Wanted
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
