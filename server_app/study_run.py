"""A study from its first model to its released one."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from flwr.serverapp import Grid

from federation.config import ROSTER_FILE, Begun, RunConfig, read_begun
from federation.errors import ConfigError, QuorumError, WardroundError
from federation.files import append_line, locked, write_whole
from federation.messages import Parameters
from federation.models import build_network, layout_of
from federation.promise import epsilon_after
from federation.roster_files import read_roster
from federation.secure_sum.roster import Roster
from federation.sums import plan_of
from server_app.audit_heads import HEADS_FILE, HeadBook
from server_app.averaging import Average, average_of
from server_app.checkpoint import Checkpoint, go_back
from server_app.evaluation import evaluate
from server_app.initial_model import initial_model
from server_app.listeners import Listener
from server_app.membership import Membership, assemble, reasons, wait_for_enough
from server_app.model_card import write_model_card
from server_app.record import HeldOut, RoundLine, SiteSummary, Summary, absences
from server_app.registry import Registry
from server_app.rounds import RoundResult, Rounds
from server_app.statement import privacy_statement
from server_app.sums import SecureSums


class StudyRun:
    """One run of one study; it leaves its whole record in ``folder``.

    Args:
        run: what to do.
        grid: Flower's link to the hospitals.
        folder: where the record goes.
        listeners: who is told how it goes.
    """

    def __init__(self, run: RunConfig, grid: Grid, folder: Path, listeners: Sequence[Listener]) -> None:
        self._run = run
        self._study = run.study
        self._grid = grid
        self._folder = folder
        self._listeners = listeners
        self._started = datetime.now(UTC)
        self._clock = time.monotonic()
        self._seconds_before = 0.0
        self._checkpoint: Checkpoint | None = None
        self._layout = layout_of(build_network(run.study.model, run.study.task))
        self._registry = Registry(folder, run.study, self._layout)
        self._membership = Membership({}, {})
        self._steps: dict[str, int] = {}
        self._rounds_of: dict[str, int] = {}
        self._lost = 0
        self._resumed: tuple[int, ...] = ()
        self._version = run.study.start_from or ""
        self._released: Parameters | None = None
        self._held_out: HeldOut | None = None

    def execute(self) -> Summary:
        """Run the study to its end.

        Raises:
            ConfigError: the folder holds another run, which is left as it is.
            WardroundError: the run failed; the record says so too.
        """
        try:
            with locked(self._folder / "lock", wait=False):
                return self._execute()
        except BlockingIOError:
            raise ConfigError(f"run_dir={self._folder} is being run by another process") from None

    def _execute(self) -> Summary:
        if self._run.options.resume is None:
            self._begin()
        else:
            self._begin_again()
        try:
            self._train()
        except WardroundError as error:
            self._finish("failed", str(error))
            raise
        except (KeyboardInterrupt, SystemExit):  # Flower stops a run by the latter
            self._finish("interrupted", "stopped by hand")
            raise
        return self._finish("completed")

    def _begin(self) -> None:
        refuse_used_folder(self._folder)
        self._note(Begun(overrides=self._run.overrides, started=self._started))
        write_whole(self._folder / "study.json", self._study.canonical_json.encode())

    def _note(self, begun: Begun) -> None:
        write_whole(self._folder / "run.json", begun.model_dump_json(indent=2).encode())

    def _begin_again(self) -> None:
        begun = read_begun(self._folder)
        self._started = begun.started
        path = self._folder / "study.json"
        if path.exists() and path.read_bytes() != self._study.canonical_json.encode():
            raise ConfigError(
                f"resume={self._folder}: conf/ or the program has changed since, and the study with it; "
                "finish the run where it was begun, or begin a new one"
            )
        write_whole(path, self._study.canonical_json.encode())
        self._checkpoint = go_back(self._folder)
        at = 1 if self._checkpoint is None else self._checkpoint.round + 1
        self._resumed = (*begun.resumed, at)
        self._note(begun.model_copy(update={"resumed": self._resumed}))

    def _train(self) -> None:
        federation, study = self._run.federation, self._study
        book = HeadBook(Path(self._run.options.heads or self._folder / HEADS_FILE))
        self._membership = assemble(self._grid, study, federation.patience, federation.deadline, book)
        for listener in self._listeners:
            listener.preparing(study)
        parameters = initial_model(study, Path(self._run.options.models))
        for listener in self._listeners:
            listener.started(study, self._folder, self._membership, parameters)
        sums = self._sums(book)
        rounds = Rounds(
            self._grid, study, self._membership, self._layout, federation.deadline, book=book, sums=sums
        )
        average = average_of(study)
        done = 0
        if self._checkpoint is not None:
            done, parameters = self._go_on(self._checkpoint, rounds, average)
        for round_number in range(done + 1, study.rounds + 1):
            wait_for_enough(self._grid, study, self._membership, federation.patience)
            begun = time.monotonic()
            result = self._ask(rounds, round_number, parameters)
            parameters = result.parameters
            average.add(round_number, parameters)
            self._record_round(round_number, result, time.monotonic() - begun)
            self._remember(round_number, rounds)
            self._require_few_lost(round_number, result)
        released = average.value
        self._keep(released, None)
        self._released = released
        if study.evaluation is not None:
            wait_for_enough(self._grid, study, self._membership, federation.patience)
            self._held_out = evaluate(
                self._grid, study, self._membership, released, federation.deadline, book=book, sums=sums
            )

    def _ask(self, rounds: Rounds, round_number: int, parameters: Parameters) -> RoundResult:
        # Whoever is asked may train, whatever becomes of the answer: count it before, as the site does.
        for name in self._membership.members:
            self._steps[name] = self._steps.get(name, 0) + self._study.training.steps
        result = rounds.run(round_number, parameters)
        self._lost += bool(result.lost)
        return result

    def _sums(self, book: HeadBook) -> SecureSums | None:
        """How the study's updates are summed; None where they travel by themselves."""
        study, deadline = self._study, self._run.federation.deadline
        if study.secure_sum is None:
            return None
        members = self._roster.only(study.participants)
        sums = SecureSums(
            self._grid,
            study,
            self._membership,
            plan=plan_of(study, members, self._layout.trainable_size),
            members=members,
            deadline=deadline,
            book=book,
            folder=self._folder,
        )
        self._membership = sums.join()
        return sums

    @property
    def _roster(self) -> Roster:
        path = Path(self._run.options.roster or self._folder / ROSTER_FILE)
        if not path.exists():
            raise ConfigError(
                f"roster={path} is not there; name the one that wardround-coordinator roster made, or choose "
                "aggregation=plain"
            )
        return read_roster(path)

    def _require_few_lost(self, round_number: int, result: RoundResult) -> None:
        spec = self._study.secure_sum
        if result.lost and spec is not None and self._lost > spec.lost_rounds:
            raise QuorumError(
                f"round {round_number} is lost, as {self._lost - 1} before, and lost_rounds="
                f"{spec.lost_rounds}: {result.lost}. {reasons(result.absent)}"
            )

    def _go_on(self, checkpoint: Checkpoint, rounds: Rounds, average: Average) -> tuple[int, Parameters]:
        """Take up where the run was broken off; returns the last round that is done, and its model."""
        rounds.restore(checkpoint.strategy)
        self._lost = checkpoint.lost
        self._steps, self._rounds_of = dict(checkpoint.steps), dict(checkpoint.rounds_of)
        self._version, self._seconds_before = checkpoint.version, checkpoint.seconds
        for round_number in range(1, checkpoint.round + 1):
            if average.counts(round_number):
                average.add(round_number, self._registry.read(round_number))
        return checkpoint.round, self._registry.read(checkpoint.round)

    def _remember(self, round_number: int, rounds: Rounds) -> None:
        """Write where the run stands, last of all that a round leaves."""
        Checkpoint(
            round=round_number,
            version=self._version,
            steps=self._steps,
            rounds_of=self._rounds_of,
            seconds=self._seconds,
            strategy=rounds.state,
            lost=self._lost,
        ).write(self._folder)

    @property
    def _seconds(self) -> float:
        return round(self._seconds_before + time.monotonic() - self._clock, 3)

    def _record_round(self, round_number: int, result: RoundResult, seconds: float) -> None:
        for name in result.refused:
            self._steps[name] -= self._study.training.steps
        for name, steps in result.steps.items():
            self._steps[name] = max(self._steps[name], steps)
        took_part = () if result.lost else tuple(result.steps)
        for name in took_part:
            self._rounds_of[name] = self._rounds_of.get(name, 0) + 1
        sha256 = self._keep(result.parameters, round_number, took_part)
        line = RoundLine(
            round=round_number,
            seconds=round(seconds, 3),
            participants=took_part,
            absent=absences(result.absent),
            epsilon=self._epsilon(),
            model_sha256=sha256,
            lost=result.lost,
        )
        append_line(self._folder / "metrics.jsonl", line.model_dump_json())
        for listener in self._listeners:
            listener.round_finished(line, result.parameters)

    def _keep(
        self, parameters: Parameters, round_number: int | None, participants: tuple[str, ...] | None = None
    ) -> str:
        manifest = self._registry.keep(
            parameters,
            round_number=round_number,
            parent=self._version or None,
            participants=tuple(self._rounds_of) if participants is None else participants,
            epsilon=self._epsilon(),
        )
        self._version = manifest.version
        return manifest.sha256

    def _epsilon(self) -> dict[str, float | None]:
        return {name: epsilon_after(self._study, steps) for name, steps in self._steps.items()}

    def _finish(self, status: Literal["completed", "failed", "interrupted"], reason: str = "") -> Summary:
        study = self._study
        sites = {
            name: SiteSummary(
                description=member.description,
                patients=member.declared_patients,
                steps=self._steps.get(name, 0),
                rounds=self._rounds_of.get(name, 0),
                epsilon=epsilon_after(study, self._steps.get(name, 0)),
                delta=study.privacy.delta,
            )
            for name, member in self._membership.members.items()
        }
        summary = Summary(
            study=study.name,
            title=study.title,
            study_id=study.id,
            model_version=self._version,
            status=status,
            reason=reason,
            started=self._started.strftime("%Y-%m-%dT%H:%M:%SZ"),
            seconds=self._seconds,
            rounds=study.rounds,
            resumed=self._resumed,
            simulation=False,
            seed=self._run.options.seed,
            classes=study.task.classes,
            rendered=study.task.rendered,
            privacy=privacy_statement(study, self._run.options.seed),
            sites=sites,
            start_from=study.start_from,
            held_out=self._held_out,
        )
        write_whole(self._folder / "summary.json", summary.model_dump_json(indent=2).encode())
        if self._released is not None:
            write_model_card(self._folder, study, summary)
        for listener in self._listeners:
            listener.finished(summary, self._released)
        return summary


def refuse_used_folder(folder: Path) -> None:
    """Never write one run's record over another's.

    Raises:
        ConfigError: ``folder`` already holds a run.
    """
    if (folder / "study.json").exists():
        raise ConfigError(f"run_dir={folder} already holds a run; choose another folder")
