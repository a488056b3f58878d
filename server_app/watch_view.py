"""What somebody who watches a run sees: a bar of rounds on a terminal, plain lines elsewhere."""

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from federation.command_line import printable
from server_app.control import RunStatus
from server_app.progress import Began, Event
from server_app.record import Absence, RoundLine
from server_app.watch import Outcome


class WatchView:
    """Shows one run.

    Args:
        run: Flower's number.
        console: where to.
    """

    def __init__(self, run: int, console: Console | None = None) -> None:
        self._run = run
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._drawn = self._console.is_terminal
        self._folder = ""
        self._rounds = 0
        self._told: dict[str, str] = {}
        self._state = ""
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}", markup=False),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._drawn,
        )
        self._task = self._bar.add_task("rounds", total=None, state="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def state(self, status: RunStatus) -> None:
        """Say that the run waits for its turn, or has begun."""
        if status.state != self._state and not status.over:
            waits = "waits for the coordinator's launcher" if status.state == "waiting" else "is under way"
            self.note(f"run {self._run} {waits}")
        self._state = status.state

    def event(self, event: Event) -> None:
        """Say who takes part, who does not and why, and what it has cost."""
        if isinstance(event, Began):
            self._folder, self._rounds = event.run, event.rounds
            self._bar.update(self._task, total=event.rounds)
            self.note(f"study {event.study} ({event.study_id[:12]}): {', '.join(event.hospitals)}")
            self._tell("", event.absent)
        elif isinstance(event, RoundLine):
            self._round(event)

    def note(self, text: str) -> None:
        """A line above the bar."""
        self._console.print(printable(text), markup=False)

    def ended(self, outcome: Outcome) -> None:
        """The last line, and what to do next where the run did not complete."""
        reason = f": {outcome.reason}" if outcome.reason else ""
        rounds = f" after round {outcome.rounds}" if outcome.rounds else ""
        if outcome.state == "completed":
            self.note(f"completed: model {outcome.model_version or 'at the coordinator'}")
            return
        self.note(f"{outcome.state}{rounds}{reason}")
        if self._folder and outcome.state != "unknown":
            self.note(f'--run-config overrides="resume={self._folder}" goes on from there')

    def _round(self, line: RoundLine) -> None:
        costs = [epsilon for epsilon in line.epsilon.values() if epsilon is not None]
        spent = f"ε so far {max(costs):.2f}" if costs else "no privacy"
        self._bar.update(self._task, completed=line.round, state=spent)
        number = f"{line.round}/{self._rounds}" if self._rounds else f"{line.round}"
        if line.lost:
            self.note(f"round {number} came to nothing: {line.lost}")
        elif not self._drawn:
            self.note(f"round {number}  {spent}  {line.seconds:.1f} s  {', '.join(line.participants)}")
        for site in line.participants:
            if self._told.pop(site, None):
                self.note(f"round {number} with {site} again")
        self._tell(f"round {number} ", line.absent)

    def _tell(self, when: str, absent: tuple[Absence, ...]) -> None:
        """A refusal's reference differs each time; who stays away for the same reason is told once."""
        for absence in absent:
            reason = absence.reason.split(" (reference")[0]
            if self._told.get(absence.site) != reason:
                self.note(f"{when}without {absence.site}: {reason}")
                self._told[absence.site] = reason
