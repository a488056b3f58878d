"""What a living federation makes of faults, each at each phase of a round: four hospitals, real processes.

In a study under way one process is killed, a line cut, a disk filled or a certificate taken back; then it
comes back as its operator would have it. A cell says what that cost, and how many seconds it took until a
round with everybody was on record again. After each run what must hold whatever happens
(``benchmarks.invariants``) is looked at; where it does not, the benchmark names the cells and fails in the
end.
"""

import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.hospitals import Hospitals
from benchmarks.invariants import Line, broken
from benchmarks.phases import PHASES, ROUND, Phase, until_phase
from benchmarks.strikes import (
    Place,
    Strike,
    back_afterwards,
    clock_ahead,
    compute_for,
    cut_everybody_off,
    cut_off,
    expire,
    fill,
    kill,
    kill_server_app,
    leave,
    lines_told_apart,
    missing,
    revoke,
    small_disk,
)
from benchmarks.table import Row, publish
from federation.errors import RunError, WardroundError
from simulation.programs import Programs

_DEADLINE = 45
_LOOK = 10.0  # seconds between two questions to Flower whether a run is over
# Rounds may be lost as often as it takes: what is looked at is that the study goes on. The same patients pay
# for all of these studies, so each costs little.
_STUDY = {"federation": "faults", "secure_sum.lost_rounds": 99, "privacy.epsilon": 1}


def _always(_: Hospitals) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass(frozen=True)
class Fault:
    """A row.

    Attributes:
        name: what happens.
        strike: does it.
        phases: when it is tried.
        rounds: of the study in which it is.
        changes: of the study.
        ends: it may end the run at Flower; then another one goes on with it.
        leaves: the hospital that it is done to does not come back into the study.
        site: which hospital's phase it is; empty for one after another.
        place: what has to be there meanwhile.
        needs: programs without which it cannot be tried; with any, it takes root.
    """

    name: str
    strike: Strike
    phases: Sequence[Phase] = ROUND
    rounds: int = 9
    changes: Mapping[str, object] = field(default_factory=dict)
    ends: bool = False
    leaves: bool = False
    site: str = ""
    place: Place = _always
    needs: tuple[str, ...] = ()


_AT_SITE, _AT_COORDINATOR = "birch/custodian", "coordinator/runs"

FAULTS = (
    Fault("a hospital's custodian killed", kill("{site}-custodian"), PHASES),
    Fault("a hospital's launcher killed", kill("{site}-launcher"), PHASES),
    Fault("a hospital's SuperNode killed", kill("{site}-supernode"), PHASES, rounds=18),
    Fault("a hospital's gateway killed", kill("{site}-gateway"), PHASES),
    Fault("the coordinator's gateway (nginx) killed", kill("nginx"), PHASES),
    Fault("SuperLink killed", kill("superlink"), PHASES, ends=True),
    Fault("ServerApp killed", kill_server_app, PHASES, ends=True),
    Fault("the coordinator's launcher killed", kill("coordinator"), PHASES, ends=True),
    Fault("a hospital's line cut for 10 s", cut_off(10), place=lines_told_apart, needs=("iptables",)),
    Fault("everybody's line cut for 10 s", cut_everybody_off(10), needs=("iptables",)),
    Fault(
        "a hospital's line cut for 3 minutes",
        cut_off(180),
        ("sending",),
        rounds=14,
        place=lines_told_apart,
        needs=("iptables",),
    ),
    Fault("everybody's line cut for 3 minutes", cut_everybody_off(180), ("sending",), needs=("iptables",)),
    Fault(
        "a hospital's disk full",
        fill(_AT_SITE, "birch-custodian"),
        ("training", "recorded"),
        rounds=6,
        site="birch",
        place=small_disk(_AT_SITE, "birch-custodian"),
        needs=("mount",),
    ),
    Fault(
        "the coordinator's disk full",
        fill(_AT_COORDINATOR, "coordinator"),
        ("training", "recorded"),
        rounds=6,
        ends=True,
        place=small_disk(_AT_COORDINATOR),
        needs=("mount",),
    ),
    Fault(
        "a hospital computes for 3 minutes",
        compute_for(180),
        ("training",),
        rounds=4,
        changes={"federation": "patient"},
    ),
    Fault("a hospital's clock 2 minutes ahead", clock_ahead(120), ("recorded",), 14, needs=("faketime",)),
    Fault("a hospital's clock 10 minutes ahead", clock_ahead(600), ("recorded",), 14, needs=("faketime",)),
    Fault("a hospital's certificate expired", expire, ("recorded",), 14),
    Fault("a hospital leaves for good", leave, ("training",), 5, leaves=True, place=back_afterwards),
    # The last one: who is revoked has to begin anew.
    Fault("a hospital revoked", revoke, ("training",), 5, leaves=True),
)


def run(faults: Sequence[Fault] = FAULTS) -> list[Row]:
    """A row for each cell.

    Raises:
        RunError: something that must hold does not, after everything was tried and printed.
    """
    with _federation() as hospitals:
        found = [cell for fault in faults for cell in _tried(hospitals, fault)]
    rows = [cell.row for cell in found]
    if wrong := [cell for cell in found if cell.wrong]:
        publish("faults", rows)
        raise RunError("\n".join(f"{cell.fault}, {cell.phase}: {cell.wrong}" for cell in wrong))
    return rows


@contextmanager
def _federation() -> Iterator[Hospitals]:
    with tempfile.TemporaryDirectory(prefix="wardround-") as scratch, Programs(Path(scratch)) as programs:
        hospitals = Hospitals(programs).set_up()
        hospitals.federation("faults", hospitals.sites, deadline=_DEADLINE)
        hospitals.federation("patient", hospitals.sites, deadline=400)
        yield hospitals


@dataclass
class _Cell:
    """One fault at one phase.

    Attributes:
        outcome: what became of the run.
        seconds: until a round with everybody was on record, or the study's end.
        reasons: that the record gives for who was absent and what was lost.
        wrong: what must hold and does not.
    """

    fault: str
    phase: Phase
    outcome: str = ""
    seconds: float | None = None
    reasons: set[str] = field(default_factory=set)
    wrong: str = ""

    @property
    def row(self) -> Row:
        return Row(self.fault, f"{self.phase}: {self.wrong or self.outcome}", self.seconds, "s")


def _tried(hospitals: Hospitals, fault: Fault) -> list[_Cell]:
    if fault.needs and (reason := missing(*fault.needs)):
        return [_Cell(fault.name, phase, f"not tried: {reason}") for phase in fault.phases]
    with fault.place(hospitals):
        return list(_Tried(hospitals, fault).cells())


class _Study:
    """A study under way, whichever of Flower's runs carries it."""

    def __init__(self, hospitals: Hospitals, number: int, fault: Fault) -> None:
        self._hospitals, self.number, self._fault = hospitals, number, fault
        self._carrying, self._resumed = number, time.time()
        self._again: list[int] = []
        self._expected = list(hospitals.sites)
        self._looked = 0.0

    def has_time(self, phase: Phase) -> bool:
        """Whether enough rounds are left for another fault, in a round or after the last one."""
        return not self._is_over() and (phase not in ROUND or len(self._rounds) < self._fault.rounds - 2)

    def struck(self, cell: _Cell, site: str) -> None:
        """Wait for the cell's phase at ``site``, strike, and wait until all is well again."""
        hospitals = self._hospitals
        until_phase(hospitals, self.number, cell.phase, site, over=self._is_over)
        begun, before = time.monotonic(), len(self._rounds)
        self._again = []
        self._fault.strike(hospitals, site)
        if self._fault.leaves:
            self._expected.remove(site)
        back = len(self._rounds)
        hospitals.programs.until(lambda: self._is_whole(cell.phase, back), "a round with everybody", 600)
        cell.seconds = time.monotonic() - begun
        cell.outcome = self._outcome(before, cell.phase)
        cell.reasons = set(self._reasons(before, cell.phase))

    def to_its_end(self) -> None:
        """Wait until the study has completed."""
        self._hospitals.programs.until(self._is_over, f"the end of {self._fault.name}", 600)

    @property
    def _rounds(self) -> list[Line]:
        return self._hospitals.rounds(self.number)

    def _resume(self) -> None:
        self._again.append(len(self._rounds) + 1)
        self._resumed = time.time()
        self._carrying = self._hospitals.resume(self._hospitals.run_folder(self.number))

    def _is_over(self) -> bool:
        """Whether the study has completed; a run that failed is gone on with."""
        summary = self._hospitals.summary(self.number)
        status = summary.get("status")
        if status == "failed" and self._summary_file.stat().st_mtime > self._resumed:
            if len(self._again) > 3:
                raise RunError(f"run {self.number} fails again and again: {summary['reason']}")
            self._resume()
        return status == "completed"

    @property
    def _summary_file(self) -> Path:
        return self._hospitals.run_folder(self.number) / "summary.json"

    def _is_whole(self, phase: Phase, back: int) -> bool:
        if self._is_over():
            return True
        if self._fault.ends and time.monotonic() > self._looked + _LOOK:
            self._looked = time.monotonic()
            if self._hospitals.is_over_at_flower(self._carrying):
                self._resume()
        return phase != "evaluating" and any(
            not line["lost"] and line["participants"] == self._expected for line in self._rounds[back:]
        )

    def _reasons(self, before: int, phase: Phase) -> Iterator[str]:
        absent = [each for line in self._rounds[before:] for each in line["absent"]]
        if phase == "evaluating":
            absent += self._hospitals.summary(self.number)["held_out"]["absent"]
        yield from (f"{each['site']}: {each['reason']}" for each in absent)
        yield from (line["lost"] for line in self._rounds[before:] if line["lost"])

    def _outcome(self, before: int, phase: Phase) -> str:
        """What the record says of the time since ``before`` rounds were on it."""
        place = "the evaluation" if phase == "evaluating" else "round {}"
        said = [f"run ended, resumed at {place.format(number)}" for number in self._again]
        lines = self._rounds[before:]
        if lost := sum(bool(line["lost"]) for line in lines):
            said.append(f"{lost} rounds lost")
        for name in self._hospitals.sites:
            out = sum(not line["lost"] and name not in line["participants"] for line in lines)
            if out:
                said.append(f"{name} out for {out} of {len(lines)}")
        if phase == "evaluating":
            told = self._hospitals.summary(self.number)["held_out"]
            without = [each["site"] for each in told["absent"] if each["site"] not in told["hospitals"]]
            said += [f"evaluation without {name}" for name in without if name in self._hospitals.sites]
            if not told["hospitals"]:
                said.append("no evaluation")
        return "; ".join(said) or "nothing lost"


class _Tried:
    """One fault, tried at each of its phases: as many in one study as there is time for."""

    def __init__(self, hospitals: Hospitals, fault: Fault) -> None:
        self._hospitals, self._fault = hospitals, fault
        self._studies = 0

    def cells(self) -> Iterator[_Cell]:
        """Every cell, looked at after its run."""
        waiting = list(self._fault.phases)
        # Who is not there at the beginning is not in that study; a run that is resumed asks them all again.
        if "joining" in waiting and not self._fault.ends:
            waiting.remove("joining")
            yield from self._looked_at(["joining"], rounds=2, evaluation="null")
        while waiting:
            done = self._looked_at(waiting, rounds=self._fault.rounds)
            yield from done
            waiting = [phase for phase in waiting if phase not in [cell.phase for cell in done]]

    def _looked_at(self, phases: list[Phase], **changes: object) -> list[_Cell]:
        """Those of the phases that one study has time for, the first of them always."""
        cells: list[_Cell] = []
        study = None
        try:
            study = self._begun(changes)
            for phase in phases:
                if not cells or study.has_time(phase):
                    cells.append(_Cell(self._fault.name, phase))
                    self._strike(study, cells)
            study.to_its_end()
            problems = "; ".join(broken(self._hospitals, study.number))
            for cell in cells:
                cell.wrong = problems
        except WardroundError as error:
            cells = cells or [_Cell(self._fault.name, phases[0])]
            cells[-1].wrong = str(error).splitlines()[0]  # the rest of it is logs

            if study is not None:  # what comes after must not meet it
                with suppress(WardroundError):
                    study.to_its_end()
        for cell in cells:
            if cell.wrong:
                _say(cell)
        return cells

    def _begun(self, changes: Mapping[str, object]) -> _Study:
        for name in self._hospitals.sites:
            self._hospitals.until_custodian(name)
        self._studies += 1
        title = f"{self._fault.name} {self._studies}"  # of the same study nothing is computed twice
        settings = {**_STUDY, **self._fault.changes, **changes, "title": repr(title)}
        return _Study(self._hospitals, self._hospitals.approved_run(**settings), self._fault)

    def _strike(self, study: _Study, cells: list[_Cell]) -> None:
        study.struck(cells[-1], self._fault.site or self._hospitals.sites[len(cells) % 4])
        _say(cells[-1])


def _say(cell: _Cell) -> None:
    """For whoever waits, and wants to know why: all of it takes half an hour."""
    seconds = "" if cell.seconds is None else f" ({cell.seconds:.0f} s)"
    lines = [f"{cell.row.case}, {cell.row.metric}{seconds}", *sorted(cell.reasons)]
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} " + "\n    ".join(lines) + "\n")
