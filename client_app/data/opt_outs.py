"""The hospital's list of who is out whatever else is said, and which of its entries have met nobody.

By a typing error in the list somebody who has said no stays in, and nothing else would show it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from client_app.books.findings import Finding
from client_app.data.keys import comparable
from client_app.desk.patient_list import in_lines, patient_lines

REMEDY = (
    "normal for whoever never was one of them; else compare with the record how the number is written, and "
    "who issued it"
)


@dataclass(frozen=True)
class Unmet:
    """Entries of a list that are nobody's who was looked at; they may be somebody's who was not.

    Attributes:
        lines: where each of them stands in the file; what stands there is not told.
        of: how many entries the list has.
        among: who was looked at.
    """

    lines: tuple[int, ...] = ()
    of: int = 0
    among: str = ""

    def findings(self) -> tuple[Finding, ...]:
        """For ``findings_table``; none where the list has no entries."""
        if not self.of:
            return ()
        if not self.lines:
            return (Finding("opt-outs", "ok", str(self)),)
        return (Finding("opt-outs", "warning", str(self), REMEDY),)

    def __str__(self) -> str:
        """In counts and lines."""
        said = (
            f"entries of the list of opt-outs that match nobody {self.among}: {len(self.lines)} of {self.of}"
        )
        return f"{said}, in {in_lines(self.lines)}" if self.lines else said


class OptOuts:
    """See the module; numbers are compared as ``comparable`` has them.

    Args:
        path: a CSV file with the column ``patient``; None is a list of nobody.

    Raises:
        DataError: it cannot be read.
    """

    def __init__(self, path: Path | None) -> None:
        listed = () if path is None else patient_lines(path)
        self._lines = tuple((line, comparable(number)) for line, number in listed)
        self._listed = frozenset(number for _, number in self._lines)
        self._met: set[str] = set()

    def __len__(self) -> int:
        """How many entries it has."""
        return len(self._lines)

    def has(self, numbers: Iterable[str]) -> bool:
        """Whether one of a person's ``numbers`` is on the list; the entry has met somebody then."""
        met = self._listed.intersection(map(comparable, numbers))
        self._met |= met
        return bool(met)

    def unmet(self, among: str, known: Callable[[str], bool] = lambda _: False) -> Unmet:
        """The entries that have met nobody.

        Args:
            among: who was looked at, for ``Unmet``.
            known: whether a number is of somebody whom ``has`` was not asked for.
        """
        left = {number for number in self._listed - self._met if not known(number)}
        return Unmet(tuple(line for line, number in self._lines if number in left), len(self._lines), among)
