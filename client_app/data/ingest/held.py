"""What an ingest has changed in the store, in counts: for the hospital's own eyes, since they are exact."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from federation.site_store import StoredSeries


@dataclass(frozen=True)
class Held:
    """See the module.

    Attributes:
        entries: studies of the cohort, or images of the table, that have series in the store.
        patients: whose they are.
        new: how many of them had none there before.
        left: how many series of before are not there any more, or with another image.
    """

    entries: int = 0
    patients: int = 0
    new: int = 0
    left: int = 0

    @classmethod
    def of(
        cls,
        entries: Sequence[tuple[str, Sequence[str]]],
        before: Sequence[StoredSeries],
        after: Sequence[StoredSeries],
    ) -> Self:
        """Compare.

        Args:
            entries: of the journal, each with its series that may be in the store.
            before: the store's series, when the ingest began.
            after: and now.
        """
        was, whose = {each.series for each in before}, {each.series: each.patient for each in after}
        there = [found for _, series in entries if (found := whose.keys() & series)]
        images = {(each.series, each.digest) for each in before}
        return cls(
            entries=len(there),
            patients=len({whose[each] for found in there for each in found}),
            new=sum(was.isdisjoint(found) for found in there),
            left=len(images.difference((each.series, each.digest) for each in after)),
        )
