"""What the way out of an ingest carries; it is the real program."""

import os
import signal
import socket
import sys
import threading
from contextlib import contextmanager, suppress

import pytest

from federation.tunnel.ends import cut
from simulation.programs import ROOT, Programs, free_ports

MANY = os.urandom(5_000_000)


@contextmanager
def server(handle):
    """Gives the first connection to ``handle``; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept():
            accepted, _ = listening.accept()
            with accepted:
                handle(accepted)

        thread = threading.Thread(target=accept)
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


@pytest.fixture
def programs(tmp_path):
    with Programs(tmp_path) as programs:
        yield programs


def forward(programs, *ports):
    """Start it at 127.0.0.2, where the same ports are free, towards 127.0.0.1."""
    command = (sys.executable, "-P", "-m", "client_app.forward", "127.0.0.2", "localhost")
    programs.start("forward", *command, ",".join(str(port) for port in ports), PYTHONPATH=str(ROOT))


def connected(programs, port):
    """A connection to a port of it, once it listens."""
    programs.until_said("forward", f"127.0.0.2:{port} leads to localhost:{port}")
    return socket.create_connection(("127.0.0.2", port))


def whole(connection):
    """All that comes until the other side ends."""
    return b"".join(iter(lambda: connection.recv(2**16), b""))


def test_what_is_said_arrives_and_so_does_the_answer_to_its_end(programs):
    came = []

    def answer(accepted):
        came.append(whole(accepted))  # whoever asks ends first, and still hears the answer
        accepted.sendall(MANY[::-1])

    with server(answer) as port:
        forward(programs, port)
        with connected(programs, port) as asking:
            asking.sendall(MANY)
            asking.shutdown(socket.SHUT_WR)
            assert whole(asking) == MANY[::-1]
        assert came == [MANY]


def test_where_one_side_breaks_off_the_other_is_let_go(programs):
    ended = threading.Event()

    def listen(accepted):
        whole(accepted)
        ended.set()

    with server(listen) as port:
        forward(programs, port)
        with connected(programs, port) as asking:
            asking.sendall(b"a question")
        assert ended.wait(60)


def test_an_answer_that_breaks_off_does_not_look_like_its_end(programs):
    def break_off(accepted):
        accepted.sendall(b"half an answer")
        accepted.recv(1)
        cut(accepted)

    with server(break_off) as port:
        forward(programs, port)
        with connected(programs, port) as asking:
            assert asking.recv(14) == b"half an answer"
            asking.sendall(b"?")
            with pytest.raises(ConnectionResetError):
                asking.recv(1)


def test_it_ends_when_it_is_told_to_with_what_is_open(programs):
    def answer(accepted):
        accepted.sendall(b"half an answer")
        whole(accepted)

    with server(answer) as port:
        forward(programs, port, *free_ports(1))
        with connected(programs, port) as asking:
            assert asking.recv(14) == b"half an answer"
            programs.kill("forward", signal.SIGTERM, wait=False)
            assert programs.exit_code("forward") == 0
            with suppress(ConnectionError):
                assert asking.recv(1) == b""


def test_where_nobody_answers_it_says_so_and_goes_on(programs):
    (port,) = free_ports(1)
    forward(programs, port)
    with connected(programs, port) as asking:
        assert asking.recv(1) == b""
    programs.until_said("forward", f"localhost:{port} cannot be reached (Connection refused)")
    with socket.create_server(("127.0.0.1", port)) as there, connected(programs, port) as asking:
        accepted, _ = there.accept()
        with accepted:
            accepted.sendall(b"answer")
            assert asking.recv(6) == b"answer"


def test_each_port_leads_to_the_same_one_there(programs):
    with (
        server(lambda accepted: accepted.sendall(b"one")) as one,
        server(lambda accepted: accepted.sendall(b"two")) as two,
    ):
        forward(programs, one, two)
        with connected(programs, two) as second, connected(programs, one) as first:
            assert (whole(first), whole(second)) == (b"one", b"two")


def test_an_address_that_is_not_free_is_named(programs):
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]
        forward(programs, *free_ports(1), port)
        assert programs.exit_code("forward") == 1
    assert f"127.0.0.2:{port} cannot be had (Address already in use)" in programs.log("forward")
