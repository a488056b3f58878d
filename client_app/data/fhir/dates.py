"""Dates as FHIR gives them, which may be a year or a month only (R4, 2.24.0.1)."""

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

from pydantic import PlainValidator

_TIME = r"T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?"
_DATE = re.compile(rf"(\d{{4}})(?:-(\d\d)(?:-(\d\d)(?:{_TIME})?)?)?", re.ASCII)


@dataclass(frozen=True, repr=False)
class When:
    """The days on which something may have been; its repr shows none of them.

    Attributes:
        earliest: the first.
        latest: the last.
    """

    earliest: date
    latest: date

    def days_after(self, other: "When") -> tuple[int, int]:
        """The fewest and the most days from ``other`` to this, negative where this was before."""
        return (self.earliest - other.latest).days, (self.latest - other.earliest).days

    def distance(self, other: "When") -> int:
        """The most days that can lie between the two."""
        return max(abs(days) for days in self.days_after(other))

    def years_after(self, other: "When") -> tuple[int, int]:
        """The fewest and the most whole years from ``other`` to this, as one counts an age."""
        return _years(other.latest, self.earliest), _years(other.earliest, self.latest)


def when(text: Any) -> When:
    """What a FHIR ``date`` or ``dateTime`` says, as the day that is written there whatever its time zone.

    Raises:
        ValueError: it is neither.
    """
    found = _DATE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError("no date of FHIR")
    year, month, day = int(found[1]), int(found[2] or 0), int(found[3] or 0)
    if found[2] is None:
        return When(date(year, 1, 1), date(year, 12, 31))
    first = date(year, month, day if found[3] else 1)
    return When(first, first if found[3] else first.replace(day=monthrange(year, month)[1]))


FhirDate = Annotated[When, PlainValidator(when)]


def _years(start: date, end: date) -> int:
    return end.year - start.year - ((end.month, end.day) < (start.month, start.day))
