"""Whether an archive is there and lets us in: what ``ingest check`` says of it, about nobody."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from orthanc import WAYS
from pynetdicom import AE, build_context
from test_waits import dicomweb_at, dimse_at

from client_app.data.pacs import dimse
from client_app.data.pacs.archive import archive
from client_app.data.pacs.settings import FolderSettings
from client_app.data.pacs.syntaxes import ECHO
from federation.errors import RunError
from simulation.programs import free_ports

every_way = pytest.mark.parametrize("way", WAYS)
ALL_TALK = "a PACS that answers C-ECHO to everybody, and lets nobody ask"


def greeted(settings):
    with archive(settings) as source:
        return source.greet()


@every_way
def test_a_pacs_that_knows_us_answers(pacs, way):
    before = pacs.orthanc.statistics()
    assert greeted(pacs.settings(way)) == ("QIDO-RS" if way == "dicomweb" else "C-ECHO")
    assert pacs.orthanc.statistics() == before


@every_way
def test_whom_it_does_not_know_reads_what_to_see_to(pacs, way, tmp_path):
    nobody = tmp_path / "credentials"
    nobody.write_text("Basic nobody:nothing")
    nobody.chmod(0o600)
    changes = {"credentials": nobody} if way == "dicomweb" else {"own_title": "NOBODY"}
    with pytest.raises(RunError, match=r"AE title 'NOBODY'|HTTP status 401.*; see to ingest\.pacs"):
        greeted(pacs.settings(way, **changes))


@pytest.mark.parametrize("way", ["get", "move"])
def test_it_is_called_by_its_own_title(pacs, way):
    with pytest.raises(RunError, match="AE title"):
        greeted(pacs.settings(way, title="SOUTHPACS"))


@pytest.mark.parametrize("settings_at", [dicomweb_at, dimse_at])
def test_nobody_there_is_told_after_one_try(settings_at):
    told = []
    with (
        archive(settings_at(*free_ports(1)), waits=told.append) as source,
        pytest.raises(RunError, match=r"ingest\.pacs cannot be asked (?!.* times).*; see to it"),
    ):
        source.greet()
    assert not told


@contextmanager
def echoing():
    """A station that answers C-ECHO and nothing else; its port."""
    entity = AE("NORTHPACS")
    entity.supported_contexts = [build_context(ECHO)]
    (port,) = free_ports(1)
    server = entity.start_server(("127.0.0.1", port), block=False)
    yield port
    server.shutdown()


@pytest.mark.attack(ALL_TALK, held_by="the services that we need, which it has to offer us as well")
def test_an_echo_is_not_enough():
    with (
        echoing() as port,
        pytest.raises(RunError, match=r"does not offer C-FIND and C-GET to .*'WARDROUND'"),
    ):
        greeted(dimse_at(port))


@pytest.mark.mutant(ALL_TALK, how="C-ECHO alone")
def test_an_echo_alone_would_say_that_all_is_well(monkeypatch):
    monkeypatch.setattr(dimse, "FIND", ECHO)
    monkeypatch.setattr(dimse, "GET", ECHO)
    with echoing() as port:
        assert greeted(dimse_at(port)) == "C-ECHO"


@pytest.mark.parametrize("body", [b"<html>Please log in</html>", b'{"status": "UP"}'])
def test_a_web_server_that_is_no_archive_is_told(body):
    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Page)
    serving = threading.Thread(target=server.serve_forever, args=(0.01,))
    serving.start()
    with pytest.raises(RunError, match=r"not JSON|as DICOMweb does"):
        greeted(dicomweb_at(server.server_port))
    server.shutdown()
    serving.join()
    server.server_close()


def test_a_folder_that_is_there_answers(tmp_path):
    assert greeted(FolderSettings(folder=tmp_path)) == "a folder"
    with pytest.raises(RunError, match="is no folder"):
        greeted(FolderSettings(folder=tmp_path / "nowhere"))
