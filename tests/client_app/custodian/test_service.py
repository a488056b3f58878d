import asyncio
import io
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import client_app
from client_app.custodian import protocol, server, service, web
from client_app.wire import OPERATIONS, from_bytes, to_bytes
from federation.errors import MessageError, RefusedError
from federation.messages import (
    DescribeReply,
    DescribeRequest,
    RefusalReply,
    TrainReply,
    TrainRequest,
)

PATIENT = "Erika Mustermann"
REPLY = DescribeReply(site="alder", declared_patients=20)
LONG = 5_000_000  # characters, far more than a socket holds
MOST = 100_000  # bytes of a body, where a test wants few
SOON = 0.3  # seconds, where a test wants a limit to be reached
PATIENCE = 20.0  # seconds after which a test says that no answer came
ANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)


@pytest.fixture(scope="module")
def study(make_study):
    return make_study()


@pytest.fixture(scope="module")
def describe(study):
    """The body of a good question."""
    return to_bytes(DescribeRequest(study=study))


@pytest.fixture(scope="module")
def train(study):
    return to_bytes(TrainRequest(study=study, round=1, parameters=np.zeros(10, np.float32)))


@contextmanager
def connected(path):
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(PATIENCE)
        link.connect(str(path))
        yield link


def send(link, *pieces):
    """As much as the other side takes."""
    try:
        for piece in pieces:
            link.sendall(piece)
    except (BrokenPipeError, ConnectionResetError):
        pass


def answer_on(link):
    """Status and body of the one answer, read to its end; None where the connection closed without one."""
    received = b""
    try:
        while piece := link.recv(2**16):
            received += piece
    except ConnectionResetError:
        pass
    if not received:
        return None
    head, _, body = received.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        size, _, rest = body.partition(b"\r\n")
        body = rest[: int(size, 16)]
    return int(head.split()[1]), body


def request_head(target, length, method="POST", more=()):
    sized = [] if length is None else [f"Content-Length: {length}"]
    lines = [f"{method} {target} HTTP/1.1", "Host: x", *sized, *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def ask(path, body, target="/v1/describe", method="POST", more=()):
    """The answer to one request, as status and record."""
    with connected(path) as link:
        send(link, request_head(target, len(body), method, more), body)
        status, received = answer_on(link)
    return status, from_bytes(received)


def refused(path, *pieces):
    """The refusal that the raw ``pieces`` are answered with, as status and record."""
    with connected(path) as link:
        send(link, *pieces)
        status, received = answer_on(link)
    record = from_bytes(received)
    assert isinstance(record, RefusalReply)
    assert (record.kind, len(record.reference)) == ("failed", 12)
    return status, record


def lives(path, describe):
    return ask(path, describe) == (200, REPLY)


def reply_to(request):
    return REPLY


@pytest.fixture
def relay(serve_relay):
    """A custodian that answers every question alike, with limits that are soon reached."""
    return serve_relay(reply_to, most_bytes=MOST, body_seconds=SOON)


@pytest.fixture(scope="module")
def seen():
    return []


@pytest.fixture(scope="module")
def open_relay(serve_for_module, seen):
    def handle(request):
        seen.append(request)
        return REPLY

    return serve_for_module(handle)


class TestAnswers:
    def test_what_the_custodian_says_is_the_answer(self, relay, describe):
        assert ask(relay, describe) == (200, REPLY)

    def test_a_refusal_of_the_custodians_is_an_answer_too(self, serve_relay, describe):
        no = RefusalReply(site="alder", kind="refused", rule="x", reason="y", reference="z")
        assert ask(serve_relay(lambda request: no), describe) == (200, no)

    def test_a_model_goes_in_and_an_update_comes_out(self, serve_relay, train):
        def half(request):
            return TrainReply(site="alder", round=1, steps=2, parameters=request.parameters + 0.5)

        status, reply = ask(serve_relay(half), train, "/v1/train")
        assert (status, reply.parameters.tolist()) == (200, [0.5] * 10)

    def test_there_is_one_path_an_operation_and_no_other(self):
        app = service.relay_app(reply_to)
        routes = {(route.path, *sorted(route.methods)) for route in app.routes}
        assert routes == {(f"/v1/{operation}", "POST") for operation in OPERATIONS}
        assert set(OPERATIONS) == {"describe", "keys", "train", "unmask", "evaluate"}


STRANGE = {
    "an unknown operation": ("POST", "/v1/patients"),
    "no operation": ("POST", "/"),
    "another version": ("POST", "/v2/train"),
    "a slash too many": ("POST", "/v1/describe/"),
    "a way out": ("POST", "/v1/../../etc/passwd"),
    "no text": ("POST", "/v1/%ff%fe%00"),
    "the documentation": ("GET", "/docs"),
    "the schema": ("GET", "/openapi.json"),
    "reading": ("GET", "/v1/describe"),
    "deleting": ("DELETE", "/v1/train"),
    "a method of its own": ("MUSTERMANN", "/v1/train"),
    "options": ("OPTIONS", "/v1/train"),
}
STRANGE_PATHS = "to ask for what is not offered"


class TestPaths:
    @pytest.mark.attack(STRANGE_PATHS, held_by="a path for each request, and no other")
    @pytest.mark.parametrize(("method", "target"), STRANGE.values(), ids=STRANGE.keys())
    def test_what_is_not_there_is_refused(self, open_relay, describe, seen, method, target):
        before = len(seen)
        status, record = ask(open_relay, describe, target, method)
        assert (status, type(record), record.rule) == (404, RefusalReply, "not-found")
        assert len(seen) == before

    @pytest.mark.attack(STRANGE_PATHS, held_by="a path for each request, and no other")
    def test_no_connection_becomes_another_protocols(self, open_relay, describe):
        upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
        status, record = refused(open_relay, request_head("/v1/describe", 0, "GET", upgrade))
        assert (status, record.rule) == (404, "not-found")
        assert lives(open_relay, describe)

    @pytest.mark.mutant(STRANGE_PATHS, "is FastAPI as it comes")
    def test_fastapi_by_itself_would_offer_its_documentation(self, serve_relay, monkeypatch):
        def app(limits):
            offered = web.FastAPI()
            offered.state.turns = web.Turns(limits)
            return offered

        monkeypatch.setattr(service, "bare_app", app)
        with connected(serve_relay(reply_to)) as link:
            send(link, request_head("/openapi.json", 0, "GET"))
            assert answer_on(link)[0] == 200

    @pytest.mark.attack("to send a request to another's path", held_by="operation and record must agree")
    @pytest.mark.parametrize("target", ["/v1/describe", "/v1/train"])
    def test_operation_and_record_must_agree(self, open_relay, describe, train, seen, target):
        before = len(seen)
        status, record = ask(open_relay, train if target == "/v1/describe" else describe, target)
        assert (status, record.rule) == (400, "MessageError")
        assert len(seen) == before

    @pytest.mark.mutant("to send a request to another's path", "takes any request on any path")
    def test_a_service_that_does_not_compare_them_trains(self, relay, train, monkeypatch):
        monkeypatch.setattr(service, "_request", lambda kind, body: from_bytes(body))
        assert ask(relay, train) == (200, REPLY)

    def test_a_reply_is_no_request(self, open_relay):
        assert ask(open_relay, to_bytes(REPLY))[1].rule == "MessageError"


NO_HTTP = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "no words": b"\r\n \r\n\r\n",
    "a length that is none": request_head("/v1/describe", "NaN"),
    "a length below nothing": request_head("/v1/describe", "-1"),
    "a length that never ends": request_head("/v1/describe", "9" * 300),
    "two lengths": request_head("/v1/describe", "4", more=["Content-Length: 5"]),
    "a length and pieces": request_head("/v1/describe", "4", more=["Transfer-Encoding: gzip, chunked"]),
    "a path with a null": request_head("/v1/\0describe", 0),
    "a path of other letters": request_head("/v1/d\xe9crire", 0),
    "a header without a name": request_head("/v1/describe", 0, more=[": x"]),
    "a folded header": request_head("/v1/describe", 0, more=["A: b", "\x00 c"]),
    "a head that never ends": b"POST /v1/describe HTTP/1.1\r\n" + b"A: b\r\n" * 30_000,
    "a path that never ends": b"POST /" + b"a" * 200_000,
    "another HTTP": b"POST /v1/describe HTTP/9.9\r\n\r\n",
    "a piece that is no piece": request_head("/v1/describe", None, more=["Transfer-Encoding: chunked"])
    + b"Erika\r\n",
}
HEADS = "to break the reading of HTTP"
BODIES = "to break the reading of a body"


class TestGarbage:
    @pytest.mark.attack(HEADS, held_by="h11, which takes 16 KiB before a request")
    @pytest.mark.parametrize("sent", NO_HTTP.values(), ids=NO_HTTP.keys())
    def test_what_is_no_request_is_refused(self, open_relay, describe, sent):
        status, record = refused(open_relay, sent)
        assert (status, record.rule) == (400, "MessageError")
        assert lives(open_relay, describe)

    @pytest.mark.mutant(HEADS, "is uvicorn's protocol as it comes")
    def test_uvicorn_by_itself_would_answer_in_words_of_its_own(self, serve_relay, monkeypatch):
        monkeypatch.setattr(server, "GuardedProtocol", protocol.H11Protocol)
        with pytest.raises(MessageError):
            refused(serve_relay(reply_to), NO_HTTP["no HTTP"])

    @pytest.mark.attack(HEADS, held_by="h11, which takes 16 KiB before a request")
    @given(sent=st.binary(max_size=200))
    @ANY
    def test_random_bytes_do_not_stop_the_server(self, open_relay, sent):
        with connected(open_relay) as link:
            send(link, sent, b"\r\n\r\n")
            link.shutdown(socket.SHUT_WR)
            got = answer_on(link)
        assert got is None or isinstance(from_bytes(got[1]), RefusalReply)

    @pytest.mark.attack(BODIES, held_by="a framing of which every byte is accounted for")
    @given(sent=st.binary(max_size=400))
    @ANY
    def test_a_random_body_is_refused(self, open_relay, seen, sent):
        before = len(seen)
        assert ask(open_relay, sent)[1].rule == "MessageError"
        assert len(seen) == before

    @pytest.mark.attack(BODIES, held_by="a framing of which every byte is accounted for")
    @given(data=st.data())
    @ANY
    def test_a_changed_body_is_refused_or_still_a_whole_request(
        self, open_relay, describe, train, seen, data
    ):
        target = data.draw(st.sampled_from(["/v1/describe", "/v1/train"]))
        body = changed(bytearray(describe if target == "/v1/describe" else train), data.draw)
        before = len(seen)
        _, record = ask(open_relay, bytes(body), target)
        if len(seen) == before:
            assert isinstance(record, RefusalReply)
        else:
            assert to_bytes(seen[-1]) == to_bytes(from_bytes(body))

    @pytest.mark.attack(BODIES, held_by="a framing of which every byte is accounted for")
    def test_nothing_may_follow_a_record(self, open_relay, describe):
        assert ask(open_relay, describe + PATIENT.encode())[1].rule == "MessageError"

    @pytest.mark.mutant(BODIES, "looks no further than the record")
    def test_a_service_that_looks_no_further_takes_what_follows(self, relay, describe, monkeypatch):
        monkeypatch.setattr(service, "from_bytes", lambda body: from_bytes(body[: len(describe)]))
        assert ask(relay, describe + PATIENT.encode()) == (200, REPLY)

    @pytest.mark.attack(BODIES, held_by="a framing of which every byte is accounted for")
    def test_deep_json_is_refused(self, open_relay, describe):
        deep = b"[" * 200_000
        assert ask(open_relay, len(deep).to_bytes(4, "big") + deep)[1].rule == "MessageError"
        assert lives(open_relay, describe)


def changed(body, draw):
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(body) - 1))
        match draw(st.sampled_from(["another byte", "cut", "more"])):
            case "another byte":
                body[place] = draw(st.integers(0, 255))
            case "cut":
                del body[place + 1 :]
            case "more":
                body[place:place] = draw(st.binary(max_size=9))
    return body


class Program:
    """Unpickled, it makes a folder."""

    def __init__(self, path):
        self._path = str(path)

    def __reduce__(self):
        return os.mkdir, (self._path,)


def pickled(path):
    """A file of numpy's with a program in it, as an array of objects."""
    file = io.BytesIO()
    np.save(file, np.array([Program(path)], dtype=object), allow_pickle=True)
    return file.getvalue()


class TestPickle:
    WHAT = "to have a program unpickled"

    @pytest.mark.attack(WHAT, held_by="no pickle is ever read")
    @pytest.mark.parametrize("sent", [pickled, lambda path: pickle.dumps(Program(path))])
    def test_a_pickle_is_refused_and_not_run(self, relay, describe, tmp_path, sent):
        assert ask(relay, sent(tmp_path / "run"))[1].rule == "MessageError"
        assert not (tmp_path / "run").exists()

    @pytest.mark.mutant(WHAT, "reads arrays as numpy does where pickles are allowed")
    def test_a_service_that_unpickles_runs_it(self, relay, tmp_path, monkeypatch):
        monkeypatch.setattr(service, "from_bytes", lambda body: np.load(io.BytesIO(body), allow_pickle=True))
        ask(relay, pickled(tmp_path / "run"))
        assert (tmp_path / "run").exists()


async def reads_all(request, limits):
    """Mutant of ``read_body``: however much there is."""
    return bytearray(await request.body())


class TestSize:
    WHAT = "to fill the memory with one body"
    CHUNK = b"8000\r\n" + bytes(0x8000) + b"\r\n"

    def too_much(self, path):
        """A body twice as large as allowed, without a word on its length; the status that is answered."""
        head = request_head("/v1/describe", None, more=["Transfer-Encoding: chunked"])
        pieces = [self.CHUNK] * (2 * MOST // 0x8000 + 1)
        return refused(path, head, *pieces, b"0\r\n\r\n")

    @pytest.mark.attack(WHAT, held_by="Limits.most_bytes")
    def test_a_length_that_is_too_large_is_refused_before_anything_is_read(self, relay, describe):
        status, record = refused(relay, request_head("/v1/train", 10**15))
        assert (status, record.rule) == (413, "too-large")
        assert str(MOST) in record.reason
        assert lives(relay, describe)

    @pytest.mark.attack(WHAT, held_by="Limits.most_bytes")
    def test_a_body_that_does_not_say_its_length_is_refused_at_the_limit(self, relay, describe):
        status, record = self.too_much(relay)
        assert (status, record.rule) == (413, "too-large")
        assert lives(relay, describe)

    @pytest.mark.attack(WHAT, held_by="Limits.most_bytes")
    def test_pieces_without_end_are_not_read_to_the_end(self, relay):
        with connected(relay) as link:
            link.sendall(request_head("/v1/describe", None, more=["Transfer-Encoding: chunked"]))
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                link.sendall(self.CHUNK * (1000 * MOST // len(self.CHUNK)))

    @pytest.mark.attack(WHAT, held_by="Limits.most_bytes")
    def test_a_body_that_is_longer_than_it_says_ends_where_it_says(self, relay, describe):
        with connected(relay) as link:
            send(link, request_head("/v1/describe", len(describe)), describe, bytes(100 * MOST))
            assert answer_on(link)[0] == 200
        assert lives(relay, describe)

    @pytest.mark.mutant(WHAT, "has no most_bytes")
    def test_a_service_without_the_limit_takes_it_all(self, relay, monkeypatch):
        monkeypatch.setattr(service, "read_body", reads_all)
        assert self.too_much(relay)[1].rule == "MessageError", "all of it was read, and found to be no record"


@pytest.mark.deployment  # for its time
class TestSlowness:
    BODY, HEAD = "to keep a place by a body that never comes", "to keep connections open without asking"
    MANY = "to open connections without end"

    def unfinished(self, path, describe):
        """The rule by which a body is refused of which only half comes; None if none is, for a long time."""
        with connected(path) as link:
            send(link, request_head("/v1/describe", len(describe)), describe[: len(describe) // 2])
            link.settimeout(5 * SOON)
            try:
                return from_bytes(answer_on(link)[1]).rule
            except TimeoutError:
                return None

    @pytest.mark.attack(BODY, held_by="Limits.body_seconds")
    def test_half_a_body_is_refused_in_time(self, relay, describe):
        assert self.unfinished(relay, describe) == "too-slow"
        assert lives(relay, describe)

    @pytest.mark.attack(BODY, held_by="Limits.body_seconds")
    def test_drops_do_not_win_time(self, relay, describe):
        with connected(relay) as link:
            send(link, request_head("/v1/describe", len(describe)))
            for byte in describe[:60]:
                send(link, bytes([byte]))
                time.sleep(SOON / 30)
            status, body = answer_on(link)
        assert (status, from_bytes(body).rule) == (408, "too-slow")

    @pytest.mark.mutant(BODY, "has no body_seconds")
    def test_a_service_without_the_limit_waits(self, relay, describe, monkeypatch):
        monkeypatch.setattr(service, "read_body", reads_all)
        assert self.unfinished(relay, describe) is None

    def half_a_head(self, path):
        """Whether a connection is closed on which half a request's head came."""
        with connected(path) as link:
            send(link, b"POST /v1/desc")
            link.settimeout(5 * SOON)
            try:
                return answer_on(link) is None
            except TimeoutError:
                return False

    @pytest.mark.attack(HEAD, held_by="GuardedProtocol.head_seconds")
    def test_half_a_head_is_not_waited_for(self, relay, monkeypatch):
        monkeypatch.setattr(protocol.GuardedProtocol, "head_seconds", SOON)
        assert self.half_a_head(relay)

    @pytest.mark.mutant(HEAD, "is uvicorn's protocol as it comes")
    def test_uvicorn_by_itself_would_wait(self, serve_relay, monkeypatch):
        monkeypatch.setattr(server, "GuardedProtocol", protocol.H11Protocol)
        assert not self.half_a_head(serve_relay(reply_to))

    def closes_the_fourth(self, path):
        with connected(path), connected(path), connected(path), connected(path) as fourth:
            fourth.settimeout(SOON)
            try:
                return answer_on(fourth) is None
            except TimeoutError:
                return False

    @pytest.mark.attack(MANY, held_by="GuardedProtocol.most_connections")
    def test_too_many_connections_are_closed(self, relay, describe, monkeypatch):
        monkeypatch.setattr(protocol.GuardedProtocol, "most_connections", 3)
        assert self.closes_the_fourth(relay)
        assert lives(relay, describe)

    @pytest.mark.mutant(MANY, "is uvicorn's protocol as it comes")
    def test_uvicorn_by_itself_would_keep_them(self, serve_relay, monkeypatch):
        monkeypatch.setattr(server, "GuardedProtocol", protocol.H11Protocol)
        assert not self.closes_the_fourth(serve_relay(reply_to))

    UNREAD = "to fill the memory with answers that nobody takes"

    def bytes_of_an_answer(self, serve_relay, describe):
        """How much of a long answer there is for a client that leaves it for a while."""
        long = REPLY.model_copy(update={"description": "x" * LONG})
        with connected(serve_relay(lambda request: long)) as link:
            send(link, request_head("/v1/describe", len(describe)), describe)
            time.sleep(4 * SOON)
            received = 0
            try:
                while piece := link.recv(2**16):
                    received += len(piece)
            except ConnectionResetError:
                pass
        return received

    @pytest.mark.attack(UNREAD, held_by="GuardedProtocol.answer_seconds")
    def test_an_answer_that_is_not_taken_is_thrown_away(self, serve_relay, describe, monkeypatch):
        monkeypatch.setattr(protocol.GuardedProtocol, "answer_seconds", SOON)
        assert self.bytes_of_an_answer(serve_relay, describe) < LONG

    @pytest.mark.mutant(UNREAD, "is uvicorn's protocol as it comes")
    def test_uvicorn_by_itself_would_hold_it(self, serve_relay, describe, monkeypatch):
        monkeypatch.setattr(server, "GuardedProtocol", protocol.H11Protocol)
        assert self.bytes_of_an_answer(serve_relay, describe) > LONG


class Counting:
    """A custodian that takes a while, and knows how many requests it was in at once."""

    def __init__(self):
        self.most, self._now, self.rounds, self._lock = 0, 0, [], threading.Lock()

    def __call__(self, request):
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
            self.rounds.append(getattr(request, "round", 0))
        time.sleep(0.1)
        with self._lock:
            self._now -= 1
        return REPLY


class Held:
    """A custodian that answers when it is let go; it is let go when the test ends."""

    def __init__(self):
        self.entered, self.go = threading.Semaphore(0), threading.Event()

    def __call__(self, request):
        self.entered.release()
        self.go.wait(PATIENCE)
        return REPLY


@pytest.fixture
def held():
    custodian = Held()
    yield custodian
    custodian.go.set()


@pytest.fixture
def side_by_side():
    with ThreadPoolExecutor(8) as pool:
        yield pool


async def at_once(self, work):
    """Mutant of ``Turns.run``: nobody waits."""
    return await asyncio.to_thread(work)


@contextmanager
def always_a_place(self):
    """Mutant of ``Turns.place``: everybody may wait."""
    yield


@contextmanager
def never_left(self):
    """Mutant of ``Turns.place``: whoever is cut off keeps the place."""
    if self._present > self._limits.waiting:
        raise RefusedError("busy", "")
    self._present += 1
    yield
    self._present -= 1


@pytest.mark.deployment  # for its time
class TestTurns:
    ONE, QUEUE, TIME = "to be answered twice at once", "to fill the queue", "to have work go on without end"

    @pytest.mark.attack(ONE, held_by="one worker behind a queue")
    def test_two_requests_are_answered_one_after_another(self, serve_relay, describe, side_by_side):
        path = serve_relay(custodian := Counting())
        assert [*side_by_side.map(lambda _: ask(path, describe), range(4))] == [(200, REPLY)] * 4
        assert (custodian.most, len(custodian.rounds)) == (1, 4)

    @pytest.mark.mutant(ONE, "has no queue")
    def test_a_service_without_turns_would_answer_them_at_once(
        self, serve_relay, describe, side_by_side, monkeypatch
    ):
        monkeypatch.setattr(web.Turns, "run", at_once)
        path = serve_relay(custodian := Counting())
        list(side_by_side.map(lambda _: ask(path, describe), range(4)))
        assert custodian.most > 1

    def crowd(self, path, held, describe, side_by_side):
        """The rules of four who ask while one is answered and one may wait; "" for a good answer."""
        answers = [side_by_side.submit(ask, path, describe) for _ in range(4)]
        held.entered.acquire(timeout=PATIENCE)
        deadline = time.monotonic() + 3 * SOON
        while sum(answer.done() for answer in answers) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        held.go.set()
        records = [answer.result()[1] for answer in answers]
        return sorted(getattr(record, "rule", "") for record in records)

    @pytest.mark.attack(QUEUE, held_by="Limits.waiting")
    def test_whoever_finds_the_queue_full_is_told_so(self, serve_relay, held, describe, side_by_side):
        path = serve_relay(held, waiting=1)
        assert self.crowd(path, held, describe, side_by_side) == ["", "", "busy", "busy"]
        assert lives(path, describe)

    @pytest.mark.mutant(QUEUE, "has a queue without end")
    def test_a_service_without_the_limit_lets_all_wait(
        self, serve_relay, held, describe, side_by_side, monkeypatch
    ):
        monkeypatch.setattr(web.Turns, "place", always_a_place)
        assert self.crowd(serve_relay(held, waiting=1), held, describe, side_by_side) == [""] * 4

    @pytest.mark.attack(QUEUE, held_by="Limits.waiting")
    def test_a_place_is_free_again_whatever_came_of_it(self, serve_relay, describe):
        path = serve_relay(reply_to, waiting=0, most_bytes=MOST)
        for sent in (b"", b"x", bytes(2 * MOST), describe):
            ask(path, sent)
        assert lives(path, describe)

    def outlast(self, path, describe):
        """The rule by which a request is refused that takes too long; None if none is, for a long time."""
        with connected(path) as link:
            send(link, request_head("/v1/describe", len(describe)), describe)
            link.settimeout(5 * SOON)
            try:
                return from_bytes(answer_on(link)[1]).rule
            except TimeoutError:
                return None

    @pytest.mark.attack(TIME, held_by="Limits.seconds")
    def test_work_that_takes_too_long_is_answered_for(self, serve_relay, held, describe):
        path = serve_relay(held, seconds=SOON)
        status, record = ask(path, describe)
        assert (status, record.kind, record.rule) == (503, "failed", "time-limit")
        assert len(record.reference) == 12
        held.go.set()
        assert lives(path, describe), "and the next has its turn when it has ended"

    @pytest.mark.mutant(TIME, "has no time limit")
    def test_a_service_without_the_limit_waits(self, serve_relay, held, describe, monkeypatch):
        monkeypatch.setattr(web.Turns, "run", at_once)
        assert self.outlast(serve_relay(held, seconds=SOON), describe) is None
        held.go.set()

    def test_whoever_gave_up_waiting_is_not_worked_for(self, serve_relay, held, describe):
        path = serve_relay(held, seconds=SOON)
        assert [ask(path, describe)[1].rule for _ in range(2)] == ["time-limit"] * 2
        held.go.set()
        assert lives(path, describe)
        assert sum(held.entered.acquire(blocking=False) for _ in range(3)) == 2


class TestSecrecy:
    WHAT = "to read of patients in an error"

    @pytest.fixture
    def broken(self, serve_relay):
        def handle(request):
            raise LookupError(f"no chart of {PATIENT} in /data/{PATIENT}.dcm")

        return serve_relay(handle)

    def everything(self, path, describe):
        with connected(path) as link:
            send(link, request_head("/v1/describe", len(describe)), describe)
            received = b""
            while piece := link.recv(2**16):
                received += piece
        return received

    @pytest.mark.attack(WHAT, held_by="the text of an error stays in the site's log")
    def test_the_text_of_an_error_stays_in_the_log(self, broken, describe, caplog):
        received = self.everything(broken, describe)
        record = from_bytes(received[received.index(b"\r\n\r\n") + 4 :])
        assert (record.kind, record.rule) == ("failed", "unexpected-LookupError")
        for secret in (b"Erika", b"/data", b"Traceback", b"chart", b"uvicorn"):
            assert secret not in received
        assert PATIENT in caplog.text
        assert record.reference in caplog.text

    @pytest.mark.mutant(WHAT, "tells what the error says")
    def test_a_service_that_tells_them_is_noticed(self, broken, describe, monkeypatch):
        monkeypatch.setattr(web, "_rule", lambda error: (type(error).__name__, str(error)))
        assert b"Erika" in self.everything(broken, describe)

    @pytest.mark.attack(WHAT, held_by="the text of an error stays in the site's log")
    def test_nor_is_what_was_sent_told_back(self, open_relay, study):
        body = to_bytes(DescribeRequest(study=study)).replace(b"squares", PATIENT[:7].encode())
        assert ask(open_relay, body)[1].rule == "MessageError"
        assert PATIENT[:5] not in ask(open_relay, body)[1].model_dump_json()


CLIENT = """
import sys
from pathlib import Path
from client_app.socket_client import SocketClient
from client_app.wire import from_bytes
print("asking", flush=True)
SocketClient(Path(sys.argv[1]), 60).handle(from_bytes(bytes.fromhex(sys.argv[2])))
"""
DYING_BODY = """
import socket, sys, time
link = socket.socket(socket.AF_UNIX)
link.connect(sys.argv[1])
link.sendall(b"POST /v1/train HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 90000\\r\\n\\r\\n" + bytes(4000))
print("asking", flush=True)
time.sleep(60)
"""


class TestDeath:
    WHAT = "to die in the middle of a request"

    def kill(self, program, path, describe, until=lambda: None):
        """Kill a client of its own process in the middle of its request."""
        client = subprocess.Popen(
            [sys.executable, "-c", program, str(path), describe.hex()],
            cwd=Path(client_app.__file__).parents[1],
            stdout=subprocess.PIPE,
        )
        with client:
            client.stdout.readline()
            until()
            client.send_signal(signal.SIGKILL)

    @pytest.mark.attack(WHAT, held_by="each request has a connection and a place of its own")
    def test_the_server_outlives_whoever_dies_while_it_works(self, serve_relay, held, describe):
        path = serve_relay(held)
        self.kill(CLIENT, path, describe, lambda: held.entered.acquire(timeout=PATIENCE))
        held.go.set()
        assert lives(path, describe)

    @pytest.mark.attack(WHAT, held_by="each request has a connection and a place of its own")
    def test_the_server_outlives_whoever_dies_in_the_middle_of_a_body(self, serve_relay, describe):
        path = serve_relay(reply_to, waiting=0)
        self.kill(DYING_BODY, path, describe)
        assert self.place_is_free(path, describe)

    @pytest.mark.mutant(WHAT, "keeps the place of the dead")
    def test_a_service_that_keeps_their_places_is_soon_full(self, serve_relay, describe, monkeypatch):
        monkeypatch.setattr(web.Turns, "place", never_left)
        path = serve_relay(reply_to, waiting=0)
        self.kill(DYING_BODY, path, describe)
        assert not self.place_is_free(path, describe)

    def place_is_free(self, path, describe):
        """Whether the only place there is can be had, if not at once."""
        end = time.monotonic() + 3 * SOON
        while time.monotonic() < end:
            if lives(path, describe):
                return True
            time.sleep(0.02)
        return False
