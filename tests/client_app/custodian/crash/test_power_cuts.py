import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest
from power_cut import Name, Sync
from promises import (
    CHARGED_FIRST,
    CUT,
    HELD_BY,
    KEPT,
    LOGGED,
    OPENS,
    WITHDREW,
    broken_promises,
    crashes,
)
from weakened import (
    ChargesLate,
    NeverForced,
    RemembersLate,
    WithdrawsLater,
    append_only,
    draw_in_place,
    leave_all,
    leave_folder,
)

# Where the crash has happened, nothing needs to be on a disk any more.
IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108


@pytest.fixture
def broken_by():
    """What of its promises a hospital breaks after each of some crashes, one after another."""

    def look(lived, recording, points, go_on_every=None):
        for number, crash in enumerate(points, 1):
            folder = Path(base) / "crashed"
            said = crash.happen(recording, folder)
            go_on = go_on_every is not None and number % go_on_every == 0
            broken = broken_promises(lived, folder, said, go_on=go_on)
            shutil.rmtree(folder)
            yield from (f"{crash}: {promise}" for promise in broken)

    with TemporaryDirectory(dir=IN_MEMORY) as base:
        yield look


def test_the_recording_tells_all_that_was_done(day, tmp_path):
    day.recording.leave(tmp_path / "made", len(day.recording.operations))
    made, real = (
        {path.relative_to(folder): path.is_file() and path.read_bytes() for path in folder.rglob("*")}
        for folder in (tmp_path / "made", day.folder)
    )
    assert made == real
    assert len(day.recording.operations) > 300


@pytest.mark.attack(CUT, held_by=HELD_BY)
@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.deployment)])
def test_no_power_cut_breaks_a_promise(count, day, broken_by):
    points = crashes(day.recording, count)
    assert list(broken_by(day.lived, day.recording, points, go_on_every=40)) == []


@pytest.mark.attack(CUT, held_by=HELD_BY)
@pytest.mark.parametrize(
    "share", [0.3, *(pytest.param(n / 25, marks=pytest.mark.deployment) for n in range(25))]
)
def test_nor_does_one_after_the_process_was_killed(share, day, go_on_after, broken_by):
    """The next process takes for sure what the killed one was about to make sure."""
    syncs = [place for place, op in enumerate(day.recording.operations) if isinstance(op, Sync)]
    killed = syncs[int(share * len(syncs))]
    recording = go_on_after(killed)
    assert list(broken_by(day.lived, recording, crashes(recording, 60, first=killed))) == []


WEAKENED = {
    "synchronous=OFF": (OPENS, "client_app.custodian.ledger.ledger.Database", NeverForced),
    "lines of the audit log are not forced to the disk": (
        LOGGED,
        "client_app.custodian.audit_log.append_line",
        append_only,
    ),
    "an answer is released before it is remembered": (
        KEPT,
        "client_app.custodian.custodian.Answers",
        RemembersLate,
    ),
    "a round is charged when it has been trained": (CHARGED_FIRST, "hospital_day.Custodian", ChargesLate),
    "a withdrawal is acknowledged before it is committed": (
        WITHDREW,
        "client_app.custodian.ledger.ledger.Consent",
        WithdrawsLater,
    ),
    "a key is written where it will lie": (OPENS, "federation.key_files._draw", draw_in_place),
    "folders are not forced to the disk": (OPENS, "federation.files.sync_folder", leave_folder),
}


@pytest.mark.deployment  # for their time: each lives through a day of its own
@pytest.mark.parametrize(
    ("promise", "name", "weakened"),
    [
        pytest.param(*weakened, id=how, marks=pytest.mark.mutant(CUT, how))
        for how, weakened in WEAKENED.items()
    ],
)
def test_a_weakened_custodian_breaks_a_promise(promise, name, weakened, record, broken_by):
    day = record(patch(name, weakened))
    found = broken_by(day.lived, day.recording, crashes(day.recording, 1000))
    assert any(promise in broken for broken in found)


@pytest.mark.deployment
@pytest.mark.mutant(CUT, "what a killed process left is taken for sure")
def test_what_a_killed_process_left_is_not_sure(day, go_on_after, broken_by):
    operations = day.recording.operations
    folder = next(op.node for op in operations if isinstance(op, Name) and op.name == "000001.jsonl")
    killed = operations.index(Sync(folder))
    recording = go_on_after(killed, patch("client_app.custodian.custodian.sync_below", leave_all))
    found = broken_by(day.lived, recording, crashes(recording, 1000, first=killed))
    assert any(OPENS in broken for broken in found)
