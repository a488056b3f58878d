"""A kit as people see it before they believe it."""

from rich.box import SIMPLE_HEAD
from rich.table import Table

from federation.admission import Kit


def kit_table(kit: Kit) -> Table:
    """Whose it is, where it leads, until when, and its words."""
    table = Table(box=SIMPLE_HEAD, show_header=False)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    table.add_row("for", f"{kit.kind} {kit.name}")
    table.add_row("federation", kit.federation)
    table.add_row("coordinator", f"{kit.address}, port {kit.port}")
    table.add_row("until", f"{kit.issued.not_valid_after_utc:%Y-%m-%d}")
    table.add_row("words", kit.words)
    return table
