import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, Message, MessageType, RecordDict
from flwr.supercore.task_identity import TaskIdentity

import client_app
from client_app.app import app
from client_app.connection import connect
from client_app.socket_client import SocketClient
from client_app.wire import to_bytes
from federation.errors import ConfigError, MessageError, RunError
from federation.messages import (
    DescribeReply,
    DescribeRequest,
    RefusalReply,
    TrainReply,
    TrainRequest,
    from_content,
    to_content,
)
from federation.run_config import hydra_overrides

PATIENCE = 30.0
REPLY = DescribeReply(site="alder", declared_patients=20)


@pytest.fixture
def question(make_study):
    return DescribeRequest(study=make_study())


@contextmanager
def says(path, pieces=(), wait=None):
    """A socket that answers one request with these bytes, and closes; with ``wait`` only after the client."""

    def serve():
        link, _ = listener.accept()
        with link:
            link.recv(2**20)
            try:
                for piece in pieces:
                    link.sendall(piece)
            except (BrokenPipeError, ConnectionResetError):
                return
            if wait is not None:
                wait.wait(PATIENCE)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            if wait is not None:
                wait.set()
            thread.join()


def answer(body, status=b"200 OK", length=None):
    size = len(body) if length is None else length
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (status, size) + body


class TestAnswers:
    def test_the_hospitals_own_custodian_answers_through_it(
        self, serve_relay, make_custodian, make_study, start_of
    ):
        study = make_study()
        client = SocketClient(serve_relay(make_custodian().handle), PATIENCE)
        described = client.handle(DescribeRequest(study=study))
        assert (described.site, described.declared_patients) == ("alder", 20)
        asked = TrainRequest(study=study, round=1, parameters=start_of(study))
        trained = client.handle(asked)
        assert isinstance(trained, TrainReply)
        assert np.isfinite(trained.parameters).all()
        again = client.handle(asked)
        assert again.parameters.tobytes() == trained.parameters.tobytes()

    def test_a_hospitals_refusal_is_an_answer(self, serve_relay, make_custodian, make_study):
        study = make_study(participants=["birch", "cedar"])
        reply = SocketClient(serve_relay(make_custodian().handle), PATIENCE).handle(
            DescribeRequest(study=study)
        )
        assert (reply.kind, reply.rule) == ("refused", "not-a-participant")

    def test_what_the_service_refuses_is_an_answer_too(self, serve_relay, question):
        client = SocketClient(serve_relay(lambda request: REPLY, most_bytes=100), PATIENCE)
        reply = client.handle(question)
        assert (reply.kind, reply.rule) == ("failed", "too-large")

    def test_a_large_model_that_is_refused_is_told_why(self, serve_relay, make_study):
        client = SocketClient(serve_relay(lambda request: REPLY, most_bytes=100), PATIENCE)
        large = TrainRequest(study=make_study(), round=1, parameters=np.zeros(2_000_000, np.float32))
        assert client.handle(large).rule == "too-large"

    def test_a_large_model_comes_back_bit_for_bit(self, serve_relay, make_study):
        def echo(request):
            return TrainReply(site="alder", round=1, steps=1, parameters=request.parameters)

        sent = np.random.default_rng(0).normal(size=2_000_001).astype(np.float32)
        client = SocketClient(serve_relay(echo), PATIENCE)
        reply = client.handle(TrainRequest(study=make_study(), round=1, parameters=sent))
        assert reply.parameters.tobytes() == sent.tobytes()


NO_REPLY = {
    "words": answer(b"Internal Server Error", b"500 Internal Server Error"),
    "nothing": answer(b""),
    "a request": None,
    "a way elsewhere": answer(b"", b"302 Found\r\nLocation: http://elsewhere/"),
}


class TestFailures:
    def test_where_no_socket_is_the_error_names_it_and_the_remedy(self, tmp_path, question):
        with pytest.raises(RunError, match=r"no custodian answers at .*none\.sock .*start it, or correct"):
            SocketClient(tmp_path / "none.sock", PATIENCE).handle(question)

    def test_so_where_a_dead_one_left_its_socket(self, tmp_path, question):
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(tmp_path / "left.sock"))
        with pytest.raises(RunError, match="no custodian answers"):
            SocketClient(tmp_path / "left.sock", PATIENCE).handle(question)

    def test_a_custodian_that_ends_in_the_middle_is_told(self, tmp_path, question):
        path = tmp_path / "a.sock"
        with says(path, [answer(to_bytes(REPLY)[:50], length=500)]), pytest.raises(RunError):
            SocketClient(path, PATIENCE).handle(question)

    def test_silence_ends_in_an_error(self, tmp_path, question):
        path, silence = tmp_path / "a.sock", threading.Event()
        with says(path, wait=silence), pytest.raises(RunError, match=r"no answer within 0\.3 s"):
            SocketClient(path, 0.3).handle(question)

    def test_so_do_drops(self, tmp_path, question):
        path, done = tmp_path / "a.sock", threading.Event()

        def drops():
            yield answer(b"", length=10_000)
            while not done.wait(0.05):
                yield b"x"

        with says(path, drops(), wait=done), pytest.raises(RunError, match=r"no answer within 0\.5 s"):
            SocketClient(path, 0.5).handle(question)

    WHAT = "to fill the relay's memory with an answer"

    @pytest.mark.attack(WHAT, held_by="SocketClient's most_bytes")
    def test_an_answer_that_is_too_long_is_not_taken(self, tmp_path, question):
        path = tmp_path / "a.sock"
        with (
            says(path, [answer(bytes(500_000))]),
            pytest.raises(MessageError, match="more than 100000 bytes"),
        ):
            SocketClient(path, PATIENCE, most_bytes=100_000).handle(question)

    @pytest.mark.mutant(WHAT, "has no most_bytes")
    def test_a_client_without_the_limit_takes_it_all(self, tmp_path, question):
        path = tmp_path / "a.sock"
        with (
            says(path, [answer(bytes(500_000))]),
            pytest.raises(MessageError, match="no JSON"),
        ):
            SocketClient(path, PATIENCE, most_bytes=10**12).handle(question)

    @pytest.mark.parametrize("said", NO_REPLY.values(), ids=NO_REPLY.keys())
    def test_what_is_no_reply_is_an_error(self, tmp_path, question, said):
        path = tmp_path / "a.sock"
        with says(path, [said or answer(to_bytes(question))]), pytest.raises(MessageError):
            SocketClient(path, PATIENCE).handle(question)


RUN, COORDINATOR, HOSPITAL = 77, 1, 1000


def context(node_config, run_config=None):
    return Context(
        run_id=RUN,
        node_id=HOSPITAL,
        node_config=node_config,
        state=RecordDict(),
        run_config={} if run_config is None else run_config,
    )


BROKEN = {"study": "x", "overrides": "'"}


def relayed(path, question, run_config=None):
    """What a hospital's relay answers in a run with this config."""
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, RUN, COORDINATOR
    node = {"custodian": str(path), "partition-id": 0}
    message = Message(to_content(question), HOSPITAL, MessageType.QUERY)
    return from_content(app(message, context(node, run_config)).content)


# A relay of a process of its own: what it answers, and what of a simulation it has imported.
RELAY = """
import sys
from flwr.app import Context, RecordDict
from client_app.connection import connect
from client_app.wire import from_bytes, to_bytes
context = Context(
    run_id=1, node_id=2, node_config={"custodian": sys.argv[1], "partition-id": 0}, state=RecordDict(),
    run_config={"study": "nodule_ct", "overrides": "site.policy.maximum_epsilon=1000 run_dir=/tmp/elsewhere"},
)
print(connect(context).handle(from_bytes(bytes.fromhex(sys.argv[2]))).site)
print([name for name in ("torch", "hydra", "client_app.custodian", "fastapi") if name in sys.modules])
"""


class TestConnection:
    def test_a_hospitals_node_asks_its_own_custodian(self, serve_relay, question):
        assert relayed(serve_relay(lambda request: REPLY), question) == REPLY

    def test_where_none_answers_the_coordinator_is_told_no_path(self, tmp_path, question):
        record = relayed(tmp_path / "none.sock", question)
        assert isinstance(record, RefusalReply)
        assert (record.kind, record.rule) == ("failed", "RunError")
        assert "none.sock" not in record.model_dump_json()

    def test_a_connection_is_kept_for_the_process(self, tmp_path):
        node = {"custodian": str(tmp_path / "a.sock")}
        assert connect(context(node)) is connect(context(node))

    def test_a_node_that_says_neither_is_told_both_names(self):
        with pytest.raises(ConfigError, match=r"neither custodian .* nor partition-id"):
            connect(context({}))

    WHAT = "to change a hospital's settings by a run's overrides"

    @pytest.mark.attack(WHAT, held_by="a deployed relay reads nothing of the run's config")
    def test_what_a_run_says_of_itself_reaches_no_hospital(self, serve_relay, question):
        seen = []

        def handle(request):
            seen.append(to_bytes(request))
            return REPLY

        said = subprocess.run(
            [sys.executable, "-c", RELAY, str(serve_relay(handle)), to_bytes(question).hex()],
            cwd=Path(client_app.__file__).parents[1],
            capture_output=True,
            text=True,
            check=True,
        )
        assert said.stdout.splitlines() == ["alder", "[]"]
        assert seen == [to_bytes(question)], "the request, and nothing beside it"

    @pytest.mark.attack(WHAT, held_by="a deployed relay reads nothing of the run's config")
    @pytest.mark.parametrize("run_config", [{}, BROKEN], ids=["none", "broken"])
    def test_it_is_not_even_read(self, serve_relay, question, run_config):
        assert relayed(serve_relay(lambda request: REPLY), question, run_config) == REPLY

    @pytest.mark.mutant(WHAT, "reads them first, as a simulation must")
    def test_a_relay_that_reads_them_is_noticed(self, serve_relay, question, monkeypatch):
        def reads_them(node):
            hydra_overrides(node.run_config)
            return connect(node)

        monkeypatch.setattr("client_app.app.connect", reads_them)
        path = serve_relay(lambda request: REPLY)
        assert relayed(path, question, BROKEN).rule == "ConfigError"
