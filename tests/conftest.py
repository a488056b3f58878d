"""What holds for all tests, and the table of attacks at their end.

A test marked ``attack(what, held_by)`` tries something that an attacker would. A test marked
``mutant(what, how)`` passes where a weakened variant lets that very attack through, so that the first is
known to notice. Both travel with their report, since of several workers only reports reach the process that
prints.
"""

import os
import shutil
import signal
from collections import Counter, defaultdict
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

ATTACK, MUTANT = "attack", "mutant"

# Whoever starts the tests in the background has them ignore Ctrl-C, and every process that they start, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class KilledError(BaseException):
    """The process is gone: nothing that catches errors sees it."""


@pytest.fixture
def killed_at(monkeypatch):
    """``with killed_at(3) as died:``: what is done in it ends before its third step on the disk.

    ``died`` is a list that has something in it if it came to that.
    """

    @contextmanager
    def killed(step):
        left, died = [step], []

        def counted(do):
            def stepped(*args, **kwargs):
                left[0] -= 1
                if left[0] <= 0:
                    died.append(step)
                    raise KilledError
                return do(*args, **kwargs)

            return stepped

        with monkeypatch.context() as patch:
            for module, name in ((os, "fsync"), (os, "link"), (shutil, "rmtree")):
                patch.setattr(module, name, counted(getattr(module, name)))
            for name in ("mkdir", "replace", "rename", "symlink_to"):
                patch.setattr(Path, name, counted(getattr(Path, name)))
            with suppress(KilledError):
                yield died

    return killed


class ByStand(LoadFileScheduling):
    """A file to one process, and all files of containers to one: another would wait for the one engine."""

    def _split_scope(self, nodeid):
        file = super()._split_scope(nodeid)
        return "containers" if "containers" in file else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return ByStand(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(items):
    """Deployment last: its federations stand until the session ends, and take most of a core from others."""
    items.sort(key=lambda item: "deployment" in item.path.parts)


def pytest_itemcollected(item):
    for name, detail in ((ATTACK, "held_by"), (MUTANT, "how")):
        for mark in item.iter_markers(name):
            what, said = (*mark.args, *(mark.kwargs[key] for key in (detail,) if key in mark.kwargs))
            item.user_properties.append((name, [what, said]))


def pytest_terminal_summary(terminalreporter):
    """An attack is held if all of its tests passed; a mutant counts once, however many tests it has."""
    outcomes, held_by, mutants = defaultdict(Counter), {}, defaultdict(set)
    for report in (report for reports in terminalreporter.stats.values() for report in reports):
        # Of setup and teardown only a failure says something.
        if getattr(report, "when", None) == "call" or getattr(report, "outcome", "passed") != "passed":
            for name, value in getattr(report, "user_properties", ()):
                if name == ATTACK:
                    held_by[value[0]] = value[1]
                    outcomes[value[0]][report.outcome] += 1
                elif name == MUTANT and report.outcome == "passed":
                    mutants[value[0]].add(value[1])
    if held_by:
        rows = [
            (what, held_by[what], said(outcomes[what]), str(len(mutants[what]))) for what in sorted(held_by)
        ]
        terminalreporter.section("attacks")
        for line in table([("attack", "held by", "result", "mutants let through"), *rows]):
            terminalreporter.write_line(line)


def said(outcomes):
    if outcomes["failed"]:
        return f"BROKEN in {outcomes['failed']} of {outcomes.total()}"
    if outcomes["skipped"]:
        return f"not tried in {outcomes['skipped']} of {outcomes.total()}"
    return f"held ({outcomes.total()})"


def table(rows):
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
