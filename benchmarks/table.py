"""A benchmark's result: rows for people and for ``runs/bench/NAME.json``."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from federation.files import write_whole


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        case: what was measured.
        metric: which of its properties.
        value: the figure, a median where there were several runs; None where the metric says why not.
        unit: of the value.
        baseline: what it is compared with, measured in the same run.
        ratio: value over the baseline's value.
    """

    case: str
    metric: str
    value: float | None
    unit: str
    baseline: str = ""
    ratio: float | None = None


def publish(name: str, rows: Sequence[Row], folder: Path = Path("runs/bench")) -> None:
    """Print ``rows`` and write ``<folder>/<name>.json``."""
    table = Table(title=f"bench {name}")
    for heading in ("case", "metric", "value", "unit", "ratio", "of"):
        table.add_column(heading, justify="right" if heading in ("value", "ratio") else "left")
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.3f}"
        value = "–" if row.value is None else f"{row.value:.4g}"
        table.add_row(row.case, row.metric, value, row.unit, ratio, row.baseline)
    Console().print(table)
    write_whole(folder / f"{name}.json", json.dumps([asdict(row) for row in rows], indent=2).encode())
