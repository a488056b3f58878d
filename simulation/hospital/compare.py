"""``python -m simulation.hospital.compare RUN...``: what runs have reached, beside each other."""

import sys
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from federation.command_line import print_table
from federation.page.numbers import with_interval
from server_app.record import Summary


def main(folders: list[Path]) -> None:
    """Print a row for each run."""
    table = Table(box=SIMPLE_HEAD)
    for name in ("study", "hospitals", "AUC, 95 % interval"):
        table.add_column(name)
    for folder in folders:
        summary = Summary.model_validate_json((folder / "summary.json").read_bytes())
        pooled = summary.pooled
        auc = "" if pooled is None else with_interval(pooled.auc, pooled.auc_interval)
        table.add_row(summary.title, ", ".join(summary.sites), auc)
    print_table(table)


if __name__ == "__main__":
    main([Path(each) for each in sys.argv[1:]])
