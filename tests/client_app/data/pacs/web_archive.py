"""A small real DICOMweb server that can be made to misbehave in each of the ways that archives do."""

import contextlib
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from simulation.hospital.ct_series import CtStudy, encoded

BOUNDARY = b"between-parts"
# RFC 1952, section 2.3, and RFC 1951, section 3.2.4: blocks of no bytes.
GZIP, EMPTY_BLOCKS = b"\x1f\x8b\x08\0\0\0\0\0\0\xff", b"\0\0\0\xff\xff" * 2**16


@dataclass
class WebArchive:
    """``with`` it listens on ``port``.

    Attributes:
        studies: what it holds.
        busy: statuses, with headers, that its next answers have.
        cut: after how many bytes the next multipart bodies end.
        endless: of what there is no end: ``json``, ``part`` or ``parts``, or ``packed``, bytes of gzip that
            unpack to nothing.
        slow: seconds between any two pieces of a body.
        deaf: that it ignores all keys of a search.
        stuck: that it ignores ``offset``.
        bare: that a single file is not in a multipart body.
        uids: SOP Instance UIDs that it lists in place of others.
        files: what it sends instead, by SOP Instance UID.
        moved: where else it sends everybody.
        asked: the paths of all requests.
        sent: bytes of bodies.
    """

    studies: list[CtStudy]
    busy: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    cut: list[int] = field(default_factory=list)
    endless: str = ""
    slow: float = 0.0
    deaf: bool = False
    stuck: bool = False
    bare: bool = False
    uids: dict[str, str] = field(default_factory=dict)
    files: dict[str, list[bytes]] = field(default_factory=dict)
    moved: str = ""
    asked: list[str] = field(default_factory=list)
    sent: int = 0

    def __enter__(self):
        archive = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                with contextlib.suppress(OSError):
                    archive.answer(self)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._stopping = threading.Event()
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self):
        return self._server.server_port

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def answer(self, request):
        parts = urlsplit(request.path)
        self.asked.append(parts.path)
        if self.moved:
            self._status(request, 302, {"Location": self.moved + request.path})
        elif self.busy:
            self._status(request, *self.busy.pop(0))
        else:
            way = parts.path.strip("/").split("/")
            query = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
            if self.endless == "packed":
                self._body(request, "text/plain", self._forever(EMPTY_BLOCKS, GZIP), packed=True)
            elif way == ["studies"] or way[-1] == "instances":
                self._search(request, self._found(way, query), query)
            else:
                self._send(request, self._chosen(way), single="instances" in way)

    def _status(self, request, status, headers):
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", "0")
        request.end_headers()

    def _found(self, way, query):
        if way == ["studies"]:
            keys = {"AccessionNumber": "accession", "StudyInstanceUID": "uid"}
            asked = {keys[key]: value for key, value in query.items() if key in keys}
            return [
                {
                    "0020000D": one(self.uids.get(study.uid, study.uid)),
                    "00080050": one(study.accession),
                    "00100020": one(study.patient.id),
                    "00080061": one("CT"),
                    "00080020": one(study.date),
                    "00201208": one(study.slices),
                }
                for study in self.studies
                if self.deaf or all(getattr(study, name) == value for name, value in asked.items())
            ]
        return [
            {
                "00080018": one(self.uids.get(file.SOPInstanceUID, file.SOPInstanceUID)),
                "0020000E": one(file.SeriesInstanceUID),
                "00080016": one(file.SOPClassUID),
            }
            for study in self.studies
            if study.uid == way[1]
            for file in study.instances()
        ]

    def _search(self, request, found, query):
        if self.endless == "json":
            self._body(request, "application/dicom+json", self._forever(b"[" + b" " * 65535))
            return
        first = 0 if self.stuck else int(query.get("offset", 0))
        page = json.dumps(found[first : first + int(query.get("limit", 100))]).encode()
        self._body(request, "application/dicom+json", [page])

    def _chosen(self, way):
        wanted = [file for study in self.studies for file in study.instances() if study.uid == way[1]]
        if "instances" in way:
            wanted = [file for file in wanted if file.SOPInstanceUID == way[-1]]
        return [
            content for file in wanted for content in self.files.get(file.SOPInstanceUID, [encoded(file)])
        ]

    def _send(self, request, contents, single):
        if self.bare and single:
            self._body(request, "application/dicom", contents)
            return
        head = b"--" + BOUNDARY + b"\r\nContent-Type: application/dicom\r\n\r\n"
        body = [head + content + b"\r\n" for content in contents]
        end = [b"--" + BOUNDARY + b"--\r\n"]
        if self.endless == "part":
            body, end = self._forever(contents[0], head), []
        elif self.endless == "parts":
            body, end = self._forever(body[0]), []
        kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY.decode()}'
        most = self.cut.pop(0) if self.cut else None
        self._body(request, kind, body if self.endless else [*body, *end], most)

    def _forever(self, piece, first=b""):
        yield first
        while not self._stopping.is_set():
            yield piece

    def _body(self, request, kind, pieces, most=None, packed=False):
        request.send_response(200)
        request.send_header("Content-Type", kind)
        if packed:
            request.send_header("Content-Encoding", "gzip")
        request.send_header("Connection", "close")
        request.end_headers()
        request.close_connection = True
        for piece in pieces:
            sent = piece if most is None else piece[:most]
            most = most if most is None else most - len(sent)
            request.wfile.write(sent)
            self.sent += len(sent)
            if self.slow:
                time.sleep(self.slow)


def one(value):
    """An attribute of one value, in DICOM's JSON."""
    return {"Value": [value]}
