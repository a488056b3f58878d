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
    for name in ("study", "held out", "AUC, 95 % interval", "that of a ruler"):
        table.add_column(name)
    for folder in folders:
        summary = Summary.model_validate_json((folder / "summary.json").read_bytes())
        measured = [summary.pooled, *summary.baselines.values()]
        aucs = ["" if each is None else with_interval(each.auc, each.auc_interval) for each in measured]
        held_out = "" if summary.pooled is None else f"{summary.pooled.patients} patients"
        table.add_row(summary.title, held_out, *aucs)
    print_table(table)


if __name__ == "__main__":
    main([Path(each) for each in sys.argv[1:]])
