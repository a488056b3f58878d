"""A day of a hospital, recorded; and the same day of weakened hospitals."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hospital_day import live, read_told
from power_cut import Recording, read_trace
from promises import Lived
from strace import NotTraceableError, killed_at, recorded

from client_app.site import SiteConfig
from federation.study import Study


class Recorded(NamedTuple):
    """A day as it went, and all that it did to the disk.

    Attributes:
        lived: the day.
        recording: of its folder.
        folder: as it was in the end.
    """

    lived: Lived
    recording: Recording
    folder: Path


@pytest.fixture(scope="session")
def hospital(
    make_site: Callable[..., SiteConfig], make_study: Callable[..., Study]
) -> tuple[SiteConfig, tuple[Study, ...]]:
    """A hospital whose patients can give 11 rounds, and four studies that want 4 each."""
    privacy = {"epsilon": 3.0}
    studies = tuple(make_study(title=title, privacy=privacy, training={"momentum": 0.9}) for title in "ABCD")
    return make_site(policy={"lifetime": {"epsilon": 6.0}}), studies


@pytest.fixture(scope="session")
def record(
    hospital: tuple[SiteConfig, tuple[Study, ...]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Recorded]:
    """Record a day, with the program as ``patches`` change it."""

    def make(*patches: AbstractContextManager[Any]) -> Recorded:
        base = tmp_path_factory.mktemp("day")
        folder, told = base / "site", base / "told"
        folder.mkdir()

        work = partial(live, *hospital, folder, told)
        recording = read_trace(traced(work, patches, base / "trace"), folder, told)
        _, answers = read_told(told.read_text().splitlines())
        noise = (folder / "keys" / "noise").read_bytes()
        return Recorded(Lived(*hospital, noise, answers), recording, folder)

    return make


@pytest.fixture(scope="session")
def day(record: Callable[..., Recorded]) -> Recorded:
    """The day as it goes without a crash."""
    return record()


def traced(
    work: Callable[[], None], patches: Iterable[AbstractContextManager[Any]], trace: Path
) -> list[str]:
    """What strace wrote down of ``work``, done in another process with ``patches``."""

    def patched() -> None:
        with ExitStack() as stack:
            for patch in patches:
                stack.enter_context(patch)
            work()

    with skipping():
        recorded(patched, trace)
    return trace.read_text().splitlines()


@contextmanager
def skipping() -> Iterator[None]:
    """Skip a test where processes cannot be looked at."""
    try:
        yield
    except NotTraceableError as error:
        pytest.skip(str(error))


class Killed(NamedTuple):
    """What a process left that was killed.

    Attributes:
        folder: the hospital's.
        said: the lines that it had told.
    """

    folder: Path
    said: list[str]


@pytest.fixture
def kill_at(
    hospital: tuple[SiteConfig, tuple[Study, ...]], tmp_path: Path
) -> Callable[[str, int], Killed | None]:
    """Kill a day's process at its system call ``call`` number ``number``; None if it makes fewer."""

    def make(call: str, number: int) -> Killed | None:
        folder, told = tmp_path / f"{call}-{number}", tmp_path / f"{call}-{number}-told"
        folder.mkdir()
        with skipping():
            killed = killed_at(partial(live, *hospital, folder, told), call, number)
        return Killed(folder, told.read_text().splitlines()) if killed else None

    return make


@pytest.fixture
def go_on_after(day: Recorded, tmp_path: Path) -> Callable[..., Recording]:
    """Kill the day's process before an operation, and record the one that goes on; both are one recording."""

    def make(before: int, *patches: AbstractContextManager[Any]) -> Recording:
        first = day.recording.until(before)
        said = first.said(before)
        folder, told = tmp_path / f"site-{before}", tmp_path / f"told-{before}"
        first.leave(folder, before)
        work = partial(live, day.lived.config, day.lived.studies, folder, told, said)
        return read_trace(traced(work, patches, tmp_path / "trace"), folder, told, after=first)

    return make
