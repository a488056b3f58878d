import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import client_app
from client_app.custodian import server
from client_app.custodian.server import bound, serve_until
from client_app.custodian.service import relay_app
from client_app.socket_client import SocketClient
from client_app.wire import to_bytes
from federation.errors import ConfigError, RunError
from federation.messages import DescribeReply, DescribeRequest
from federation.probe import answers

PATIENCE = 20.0
# Serves sockets A and B; the custodian says when it begins, and takes as many seconds as argument 3 says.
PROGRAM = """
import sys, time
from pathlib import Path
from client_app.custodian.server import serve
from client_app.custodian.service import relay_app
from federation.messages import DescribeReply

def handle(name):
    def answer(request):
        print("asked", flush=True)
        time.sleep(float(sys.argv[3]))
        return DescribeReply(site=name, declared_patients=20)
    return answer

serve({Path(sys.argv[1]): relay_app(handle("alder")), Path(sys.argv[2]): relay_app(handle("birch"))})
print("ended", flush=True)
"""


def until(true):
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "never came true"
        time.sleep(0.01)


@pytest.fixture
def sockets(tmp_path):
    return [tmp_path / "relay" / "relay.sock", tmp_path / "admin" / "admin.sock"]


@pytest.fixture
def start(sockets):
    """Start the program above; killed when the test ends."""
    started = []

    def run(seconds=0.0, wait=True):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *map(str, sockets), str(seconds)],
            cwd=Path(client_app.__file__).parents[1],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        if wait:
            until(lambda: all(answers(str(path)) for path in sockets) or process.poll() is not None)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def question(make_study):
    return DescribeRequest(study=make_study())


def ask(path, question):
    return SocketClient(path, PATIENCE).handle(question)


@pytest.mark.deployment  # for its time
class TestProcess:
    def test_two_apps_answer_on_two_sockets(self, start, sockets, question):
        start()
        assert [ask(path, question).site for path in sockets] == ["alder", "birch"]

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_ends_it_after_the_request_in_progress(self, start, sockets, question, number):
        process = start(seconds=1)
        answers = []
        asking = threading.Thread(target=lambda: answers.append(ask(sockets[0], question)))
        asking.start()
        assert process.stdout.readline() == "asked\n"
        process.send_signal(number)
        asking.join()
        assert answers == [DescribeReply(site="alder", declared_patients=20)]
        assert process.stdout.readline() == "ended\n"
        assert process.wait(PATIENCE) == 0
        assert not any(path.exists() for path in sockets), "it leaves no socket behind"

    def test_whoever_waits_then_is_told_so(self, start, sockets, question):
        process = start(seconds=1)
        answers = []
        asking = [
            threading.Thread(target=lambda: answers.append(ask(sockets[0], question))) for _ in range(3)
        ]
        for thread in asking:
            thread.start()
        assert process.stdout.readline() == "asked\n"
        time.sleep(0.3)
        process.terminate()
        for thread in asking:
            thread.join()
        assert sorted(getattr(answer, "rule", "") for answer in answers) == ["", "stopping", "stopping"]

    def test_a_second_signal_ends_it_at_once(self, start, sockets, question):
        process = start(seconds=60)
        broken_off = []

        def asks():
            with pytest.raises(RunError) as error:
                ask(sockets[0], question)
            broken_off.append(error)

        asking = threading.Thread(target=asks)
        asking.start()
        assert process.stdout.readline() == "asked\n"
        process.terminate()
        until(lambda: not sockets[0].exists())
        process.terminate()
        assert process.wait(PATIENCE) == -signal.SIGTERM
        asking.join()
        assert len(broken_off) == 1

    def test_whoever_asks_nothing_does_not_keep_it(self, start, sockets):
        process = start()
        with socket.socket(socket.AF_UNIX) as silent:
            silent.connect(str(sockets[0]))
            silent.sendall(b"POST /v1/describe HTTP/1.1\r\n")
            process.terminate()
            assert process.wait(PATIENCE) == 0

    def test_after_kill_minus_nine_the_next_takes_its_place(self, start, sockets, question):
        killed = start()
        killed.kill()
        killed.wait()
        assert all(path.exists() for path in sockets)
        start()
        assert ask(sockets[0], question).site == "alder"

    def test_a_live_one_is_left_alone(self, start, sockets, question):
        start()
        second = start(wait=False)
        _, said = second.communicate(timeout=PATIENCE)
        assert f"ConfigError: socket={sockets[0]}: another custodian answers there" in said
        assert ask(sockets[0], question).site == "alder"

    def test_one_socket_that_cannot_be_had_takes_none(self, start, sockets):
        sockets[1].parent.mkdir()
        sockets[1].write_text("notes")
        process = start(wait=False)
        _, said = process.communicate(timeout=PATIENCE)
        assert f"ConfigError: socket={sockets[1]} is there and is no socket" in said
        assert not sockets[0].exists()
        assert sockets[1].read_text() == "notes"


class TestUnread:
    WHAT = "to keep the custodian from ending by not reading the answer"

    def ends(self, tmp_path, question, seconds):
        """Whether serving ends within ``seconds`` after it is told to, while an answer is not read."""
        path = tmp_path / "relay.sock"
        long = DescribeReply(site="alder", declared_patients=20, description="x" * 5_000_000)

        async def serving():
            stopping, asked = asyncio.Event(), threading.Event()

            def handle(request):
                asked.set()
                return long

            served = asyncio.create_task(serve_until(stopping, {path: relay_app(handle)}))
            while not answers(str(path)):
                await asyncio.sleep(0.01)
            with socket.socket(socket.AF_UNIX) as link:
                link.connect(str(path))
                link.sendall(whole(question))
                await asyncio.to_thread(asked.wait)
                stopping.set()
                done, _ = await asyncio.wait({served}, timeout=seconds)
            await served
            return bool(done)

        return asyncio.run(serving())

    @pytest.mark.attack(WHAT, held_by="a few seconds to take the last answers")
    def test_an_answer_is_not_waited_for_without_end(self, tmp_path, question, monkeypatch):
        monkeypatch.setattr(server, "_LAST_READ", 0.3)
        assert self.ends(tmp_path, question, PATIENCE)

    @pytest.mark.mutant(WHAT, "waits as uvicorn does")
    def test_uvicorn_by_itself_would_wait(self, tmp_path, question, monkeypatch):
        async def not_at_all(servers):
            return None

        monkeypatch.setattr(server, "_drained", not_at_all)
        assert not self.ends(tmp_path, question, 1.5)


def whole(question):
    """A request as it goes over the socket."""
    body = to_bytes(question)
    return b"POST /v1/describe HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body


class TestSocket:
    def test_it_is_for_owner_and_group_in_a_folder_of_the_groups(self, tmp_path):
        path = tmp_path / "run" / "wardround" / "relay.sock"
        before = os.umask(0o077)
        try:
            with bound(path):
                assert stat.S_IMODE(path.stat().st_mode) == 0o660
                assert stat.S_IMODE(path.parent.stat().st_mode) == 0o2750
        finally:
            os.umask(before)
        assert not path.exists()

    def test_a_folder_that_is_there_stays_as_it_is(self, tmp_path):
        tmp_path.chmod(0o700)
        with bound(tmp_path / "relay.sock"):
            assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700

    def test_a_live_socket_is_refused_by_name(self, tmp_path):
        path = tmp_path / "relay.sock"
        with bound(path):
            with (
                pytest.raises(ConfigError, match=r"relay\.sock: another custodian answers there"),
                bound(path),
            ):
                pass
            assert answers(str(path))

    def test_the_socket_of_a_dead_process_is_replaced(self, tmp_path):
        path = tmp_path / "relay.sock"
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
        with bound(path):
            assert answers(str(path))

    @pytest.mark.parametrize("there", ["file", "folder", "link"])
    def test_what_is_no_socket_is_never_replaced(self, tmp_path, there):
        path = tmp_path / "relay.sock"
        if there == "file":
            path.write_text("notes")
        elif there == "folder":
            path.mkdir()
        else:
            path.symlink_to(tmp_path / "elsewhere.sock")
        with pytest.raises(ConfigError, match="is there and is no socket"), bound(path):
            pass
        assert path.is_symlink() or path.exists()

    def test_a_path_that_is_too_long_is_named_with_its_limit(self, tmp_path):
        path = tmp_path / ("x" * 100 + "é.sock")
        with (
            pytest.raises(ConfigError, match=f"{len(os.fsencode(path))} bytes; Linux takes 107"),
            bound(path),
        ):
            pass

    def test_the_longest_path_is_taken(self, tmp_path):
        path = tmp_path / ("x" * (107 - len(os.fsencode(tmp_path)) - 1))
        with bound(path):
            assert answers(str(path))

    def test_a_folder_that_cannot_be_made_is_named(self, tmp_path):
        (tmp_path / "run").write_text("no folder")
        with pytest.raises(ConfigError, match="cannot be had"), bound(tmp_path / "run" / "relay.sock"):
            pass

    def test_the_socket_of_a_successor_is_left_to_it(self, tmp_path):
        path = tmp_path / "relay.sock"
        with bound(path):
            path.unlink()
            with socket.socket(socket.AF_UNIX) as successor:
                successor.bind(str(path))
        assert path.exists()
