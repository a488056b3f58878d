import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from client_app.custodian.audit_log import AuditLog
from federation.audit_files import audit_lines
from federation.audit_log import BEFORE_THE_FIRST, read_chain, require_heads, sign_head
from federation.errors import AuditError

ROOT = Path(__file__).parents[3]
IDENTITY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "audit"


@pytest.fixture
def opened(folder):
    def make(**settings):
        return AuditLog(folder, "alder", IDENTITY, **settings)

    return make


def filled(log, entries=5):
    for number in range(entries):
        log.append("asked", "coordinator", study="s" * 64, round_number=number, facts={"n": number})
    return log


class TestAppend:
    def test_an_entry_tells_what_it_was_given_and_lies_in_the_log(self, opened):
        log, before = opened(), datetime.now(UTC)
        entry = log.append("refused", "custodian", rule="no", study="a", round_number=3, facts={"ε": 1.5})
        assert (entry.sequence, entry.event, entry.actor, entry.rule) == (1, "refused", "custodian", "no")
        assert (entry.study, entry.round, entry.facts) == ("a", 3, {"ε": 1.5})
        assert before <= entry.time <= datetime.now(UTC)
        assert list(opened().entries()) == [entry]
        assert opened().latest == log.latest == entry.time

    def test_an_empty_log_has_a_head_too(self, opened):
        log = opened()
        assert (log.head.sequence, log.head.hash, log.latest) == (0, BEFORE_THE_FIRST, None)
        assert log.head.genuine
        assert log.holds(log.head)
        assert list(log.entries()) == []

    def test_a_file_that_is_full_is_followed_by_another_and_the_chain_goes_on(self, opened, folder):
        log = filled(opened(most_bytes=700), 9)
        names = [file.name for file in sorted(folder.glob("*.jsonl"))]
        assert names == ["000001.jsonl", "000002.jsonl", "000003.jsonl"]
        assert [entry.sequence for entry in opened().entries()] == list(range(1, 10))
        require_heads([link.hash for link in read_chain(audit_lines(folder))], [log.head])

    def test_what_another_writer_appends_is_taken_in(self, opened):
        one, other = opened(), opened()
        one.append("asked", "one")
        other.append("asked", "other")
        one.append("ended", "one")
        assert [entry.actor for entry in other.entries()] == ["one", "other", "one"]
        assert one.head == other.head

    def test_no_file_is_read_again_for_an_entry(self, opened, monkeypatch):
        log = filled(opened())
        monkeypatch.setattr(log, "_read_file", None)
        filled(log)
        assert log.head.sequence == 10


class TestHead:
    def test_holds_its_own_heads_alone(self, opened):
        log = opened()
        early = log.append("started", "custodian") and log.head
        late = filled(log).head
        assert log.holds(early)
        assert log.holds(late)
        stranger = Ed25519PrivateKey.from_private_bytes(bytes(32))
        assert not log.holds(sign_head(stranger, "alder", late.sequence, late.hash))
        assert not log.holds(sign_head(IDENTITY, "birch", late.sequence, late.hash))
        assert not log.holds(sign_head(IDENTITY, "alder", 7, late.hash))
        assert not log.holds(sign_head(IDENTITY, "alder", 5, late.hash))
        assert not log.holds(late.model_copy(update={"signature": "0" * 128}))

    def test_is_signed_once_until_the_log_grows(self, opened):
        log = filled(opened())
        assert log.head is log.head
        before = log.head
        log.append("ended", "custodian")
        assert log.head.sequence == before.sequence + 1


class Busy(AuditLog):
    """Another thread writes after each look at its head."""

    @property
    def head(self):
        head = super().head
        self.append("asked", "coordinator")
        return head


class TwoLooks(Busy):
    """Mutant: takes the sequence from one head and the hash from the next."""

    @property
    def mark(self):
        return self.head.sequence, self.head.hash


@pytest.mark.parametrize(("kind", "whole"), [(Busy, True), (TwoLooks, False)])
def test_a_mark_is_of_one_entry_while_another_thread_appends(kind, whole, folder):
    log = filled(kind(folder, "alder", IDENTITY))
    assert log.has(*log.mark) == whole


class TestBrokenLogs:
    @pytest.mark.parametrize("broken", [b"{", b'{"sequence":6}', b"\xff\x00", bytes(300) + b'"}\n'])
    def test_a_line_that_a_power_cut_broke_off_gives_way_to_an_entry_that_says_so(
        self, broken, opened, folder
    ):
        head = filled(opened()).head
        with (folder / "000001.jsonl").open("ab") as file:
            file.write(broken)
        log = opened()
        *_, last = log.entries()
        assert (last.sequence, last.event, last.facts) == (6, "recovered", {"bytes": len(broken)})
        assert log.holds(head)

    def test_so_does_one_that_another_process_left_while_this_one_lives(self, opened, folder):
        log = filled(opened())
        with (folder / "000001.jsonl").open("ab") as file:
            file.write(b"half a li")
        assert log.append("asked", "coordinator").sequence == 7
        assert [entry.event for entry in opened().entries()][-2:] == ["recovered", "asked"]

    def test_only_the_last_line_can_have_lost_its_beginning(self, opened, folder):
        filled(opened())
        path = folder / "000001.jsonl"
        for number in range(4):
            lines = path.read_bytes().splitlines(keepends=True)
            lines[number] = bytes(20) + lines[number][20:]
            (folder / "copy").mkdir(exist_ok=True)
            (folder / "copy" / path.name).write_bytes(b"".join(lines))
            with pytest.raises(AuditError, match=f"line {number + 1} is not an entry"):
                AuditLog(folder / "copy", "alder", IDENTITY)

    @given(data=st.data())
    def test_a_log_with_any_byte_changed_is_not_opened_or_no_longer_holds_its_head(
        self, data, tmp_path_factory
    ):
        folder = tmp_path_factory.mktemp("log")
        head = filled(AuditLog(folder, "alder", IDENTITY), 3).head
        path = folder / "000001.jsonl"
        content = bytearray(path.read_bytes())
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[place]))
        path.write_bytes(content)
        with suppress(AuditError):
            assert not AuditLog(folder, "alder", IDENTITY).holds(head)

    @pytest.mark.parametrize("name", ["000001.jsonl", "000002.jsonl"])
    def test_a_missing_file_is_seen(self, name, opened, folder):
        filled(opened(most_bytes=700), 9)
        (folder / name).unlink()
        with pytest.raises(AuditError, match=f"{name} is missing before"):
            opened()

    def test_a_log_that_is_cut_back_while_in_use_is_not_written_to(self, opened, folder):
        log = filled(opened())
        path = folder / "000001.jsonl"
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
        with pytest.raises(AuditError, match="cut back"):
            log.append("asked", "coordinator")

    def test_mutant_that_does_not_read_on_forks_the_chain(self, folder, opened):
        class Blind(AuditLog):
            """Mutant: knows only what it wrote itself."""

            def _read_on(self):
                pass

        one, other = opened(), Blind(folder, "alder", IDENTITY)
        one.append("asked", "one")
        other.append("asked", "other")
        with pytest.raises(AuditError, match="line 2 is entry 1"):
            opened()


_APPENDS = """
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client_app.custodian.audit_log import AuditLog

identity = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
log = AuditLog(Path(sys.argv[1]), "alder", identity, most_bytes=4000)
print("ready", flush=True)
sys.stdin.readline()
for number in range(60):
    log.append("asked", sys.argv[2], facts={"n": number})
"""


def test_two_processes_that_append_at_once_leave_one_chain(folder, opened):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _APPENDS, str(folder), name],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "other")
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    entries = list(opened().entries())
    assert len(entries) == 120
    for name in ("one", "other"):
        assert [entry.facts["n"] for entry in entries if entry.actor == name] == list(range(60))


FULL = "a full disk"
HELD_BY = "what was not taken is taken back, and refused"

# In a process of its own, since a limit on the size of files is one for the whole process.
_ON_A_FULL_DISK = """
import resource, signal, sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client_app.custodian import audit_log
from client_app.custodian.audit_log import AuditLog
from federation.errors import StorageError


def leaves_scraps(path, line):
    try:
        with path.open("ab") as file:
            file.write(f"{line}\\n".encode())
    except OSError as error:
        raise StorageError("free space") from error


folder = Path(sys.argv[1])
if sys.argv[2] == "mutant":
    audit_log.append_line = leaves_scraps
log = AuditLog(folder, "alder", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log.append("asked", "coordinator")
head, size = log.head, (folder / "000001.jsonl").stat().st_size
most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for room in (size, size + 40):
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
    try:
        log.append("released", "custodian")
    except StorageError as error:
        print("not taken:", "free space" in str(error), log.head == head)
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
print(log.append("released", "custodian").sequence, log.holds(head))
"""


@pytest.fixture
def on_a_full_disk(folder):
    """What an audit log says where there is room for nothing, for 40 bytes, and again for all."""

    def run(kind):
        command = [sys.executable, "-c", _ON_A_FULL_DISK, str(folder), kind]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return [*done.stdout.splitlines(), *done.stderr.splitlines()]

    return run


WHOLE = ["not taken: True True"] * 2 + ["2 True"]


@pytest.mark.attack(FULL, held_by=HELD_BY)
def test_a_full_disk_leaves_the_log_whole(on_a_full_disk, opened):
    assert on_a_full_disk("ours") == WHOLE
    assert [entry.event for entry in opened().entries()] == ["asked", "released"]


@pytest.mark.mutant(FULL, "half a line of the audit log stays")
def test_half_a_line_that_stays_would_close_the_log(on_a_full_disk):
    said = on_a_full_disk("mutant")
    assert said[0] == WHOLE[0], "where nothing was taken, nothing stays"
    assert said[-1].startswith("federation.errors.StorageError")
