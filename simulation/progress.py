"""How a simulation is going, for whoever waits: a live display in a terminal, plain lines elsewhere."""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from federation.against import travel
from federation.config import RunOptions
from federation.messages import Parameters
from federation.study import Study
from server_app.listeners import Listener
from server_app.membership import Membership
from server_app.record import EvaluationLine, RoundLine


class Display(Listener):
    """Shows rounds, hospitals, ε so far, AUC and the time that is left.

    Args:
        options: ``progress`` says how.
        latest: gives the measurement of the round that has just finished.
    """

    def __init__(self, options: RunOptions, latest: Callable[[], EvaluationLine | None]) -> None:
        self._console = Console(quiet=options.progress == "quiet", highlight=False, soft_wrap=True)
        drawn = options.progress == "auto" and self._console.is_terminal
        self._latest = latest
        self._rounds = 0
        self._told: dict[str, str] = {}
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not drawn,
        )
        self._drawn = drawn
        self._task = self._bar.add_task("rounds", total=None, state="")

    def __enter__(self) -> "Display":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """A line above the bar."""
        self._console.print(text, markup=False)

    def preparing(self, study: Study) -> None:
        """Say what the wait may be for."""
        spec = study.pretraining
        if spec.source != "random":
            self.say(f"initial model: {spec.examples} generated {spec.source} examples, kept for next time")

    def started(self, study: Study, folder: Path, membership: Membership, initial: Parameters) -> None:  # noqa: ARG002
        """Say who takes part in what."""
        self._rounds = study.rounds
        self._bar.update(self._task, total=study.rounds)
        self.say(f"{study.title}: study {study.id[:12]} in {folder}")
        for name, member in membership.members.items():
            self.say(f"  {name:<12} about {member.declared_patients} patients, {member.description}")
        for name, reason in membership.absent.items():
            self.say(f"  {name:<12} stays out: {reason}")
            self._told[name] = reason.split(" (reference")[0]
        self.say(f"  updates travel {travel(study)}")
        self.say("  approved by configuration: in a real hospital people decide")

    def round_finished(self, line: RoundLine, parameters: Parameters) -> None:  # noqa: ARG002
        """One more round, or one that came to nothing."""
        state = self._state(line)
        self._bar.update(self._task, completed=line.round, state=state)
        if line.lost:
            self.say(f"round {line.round}/{self._rounds} came to nothing: {line.lost}")
        elif not self._drawn:
            hospitals = ", ".join(line.participants)
            self.say(f"round {line.round}/{self._rounds}  {state}  {line.seconds:.1f} s  {hospitals}")
        for absence in line.absent:
            # A refusal's reference differs each time; who stays away for the same reason is told once.
            reason = absence.reason.split(" (reference")[0]
            if self._told.get(absence.site) != reason:
                self.say(f"round {line.round} without {absence.site}: {reason}")
                self._told[absence.site] = reason

    def _state(self, line: RoundLine) -> str:
        costs = [epsilon for epsilon in line.epsilon.values() if epsilon is not None]
        spent = f"ε so far {max(costs):.2f}" if costs else "no privacy"
        latest = self._latest()
        area = latest.pooled.auc if latest is not None else None
        return spent if area is None else f"{spent}  AUC {area:.3f}"
