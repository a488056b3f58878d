"""A store's data card: what is in it, in numbers that are of nobody.

Guarantee: every number stands for `LEAST` patients or more and is rounded to a multiple of it; a value that
fewer have is not named. Counts are of patients, since one may have many series. No dates, no pseudonyms.
It is for the hospital and whom it shows it to; rounding is no differential privacy, so no study reads it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median, quantiles

from pydantic import ValidationError

from federation.errors import DataError
from federation.schema import Frozen
from federation.site_store import SiteStore, StoredSeries

LEAST = 5
OTHERS = "(others)"
_QUARTERS = 4
_EDGES = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)

Table = dict[str, int]


class Numbers(Frozen):
    """How a number lies among patients: a quarter of them is below each, to two digits.

    Attributes:
        lower: the lower quartile.
        median: the middle.
        upper: the upper quartile.
    """

    lower: float
    median: float
    upper: float


class Card(Frozen):
    """See the module.

    Attributes:
        version: of the store.
        patients: about how many; 0 for fewer than `LEAST`.
        tables: for each fact and each feature that is a text, about how many patients have which value.
        numbers: for each feature that is a number, how it lies, where four times `LEAST` patients have it.
    """

    version: str
    patients: int
    tables: dict[str, Table]
    numbers: dict[str, Numbers]


def card_of(store: SiteStore) -> Card:
    """The card of a store."""
    patients = {series.patient for series in store.series}
    shown: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    lying: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for series in store.series:
        for name, value in _described(series):
            shown[name][value].add(series.patient)
        for name, number in _numbers(series):
            lying[name][series.patient].append(number)
    return Card(
        version=store.version,
        patients=rounded(len(patients)),
        tables={name: table for name in sorted(shown) if (table := grouped(shown[name]))},
        numbers={name: _lies(lying[name]) for name in sorted(lying) if len(lying[name]) >= _QUARTERS * LEAST},
    )


def card_in(file: Path) -> Card:
    """A card that was written as JSON.

    Raises:
        DataError: it is none.
    """
    try:
        return Card.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        raise DataError(f"{file} is no data card; wardround-site ingest card --to writes one") from None


def shifts(one: Card, other: Card) -> dict[str, float]:
    """How far two stores are apart in each table that both have: 0 for alike, 1 for nothing in common.

    The total variation distance of the patients' shares, to two digits; what differs most comes first.
    """
    distances = {
        name: _distance(one.tables[name], other.tables[name]) for name in one.tables if name in other.tables
    }
    return dict(sorted(distances.items(), key=lambda pair: (-pair[1], pair[0])))


def grouped(having: Mapping[str, set[str]]) -> Table:
    """About how many patients have each value, the most frequent first; rare values together as `OTHERS`.

    A group of rare values that is itself too small takes in the least frequent of the rest, so that nobody is
    found by taking what is shown from the whole. Empty where too few have any value.
    """
    named = sorted(having.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    others: set[str] = set()
    while named and (len(named[-1][1]) < LEAST or 0 < len(others) < LEAST):
        others |= named.pop()[1]
    table = {value: rounded(len(patients)) for value, patients in named}
    if len(others) >= LEAST:
        table[OTHERS] = rounded(len(others))
    return table


def rounded(count: int) -> int:
    """To the nearest multiple of `LEAST`; 0 for fewer."""
    return 0 if count < LEAST else LEAST * round(count / LEAST)


def band(size: float) -> str:
    """The range that a positive size is in, e.g. ``"3 to 5"``: with its lower end, without its upper one."""
    below = [edge for edge in _EDGES if edge <= size]
    above = [edge for edge in _EDGES if edge > size]
    if not below:
        return f"below {above[0]}"
    return f"{below[-1]} to {above[0]}" if above else f"{below[-1]} and more"


def _described(series: StoredSeries) -> Iterable[tuple[str, str]]:
    """What is told of a series, as names and texts."""
    slices, rows, columns = series.shape
    between, down, across = series.spacing
    yield "modality", series.modality
    yield "rows x columns", f"{rows} x {columns}"
    yield "slices", band(slices)
    yield "mm between slices", band(between)
    yield "mm a pixel", f"{max(down, across):.1f}"
    for name, value in series.facts.items():
        yield name.replace("_", " "), f"{value:g}" if isinstance(value, float) else str(value)
    for name, feature in series.features.items():
        if isinstance(feature, str | bool):
            yield f"feature {name}", str(feature)


def _numbers(series: StoredSeries) -> Iterable[tuple[str, float]]:
    for name, value in series.features.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield name, float(value)


def _lies(values: Mapping[str, list[float]]) -> Numbers:
    """Of each patient the median of their series."""
    lower, middle, upper = quantiles([median(each) for each in values.values()], n=_QUARTERS)
    return Numbers(lower=_two_digits(lower), median=_two_digits(middle), upper=_two_digits(upper))


def _two_digits(value: float) -> float:
    return float(f"{value:.2g}")


def _distance(one: Table, other: Table) -> float:
    apart = [
        abs(one.get(value, 0) / sum(one.values()) - other.get(value, 0) / sum(other.values()))
        for value in {*one, *other}
    ]
    return round(sum(apart) / 2, 2)
