"""A store's data card for a terminal."""

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from client_app.data.store.card import Card, shifts


def card_table(card: Card, beside: Card | None = None) -> Table:
    """A row for each fact and feature; with another's card beside it also how far the two are apart."""
    table = Table(box=SIMPLE_HEAD)
    for name in ("what", "patients", *(["shift"] if beside else [])):
        table.add_column(name, overflow="fold")
    apart = shifts(card, beside) if beside else {}
    table.add_row("all", f"about {card.patients}" if card.patients else "too few to say")
    for what, counts in card.tables.items():
        told = ", ".join(f"{value}: {count}" for value, count in counts.items())
        table.add_row(escape(what), escape(told), f"{apart[what]:g}" if what in apart else "")
    for what, numbers in card.numbers.items():
        told = f"{numbers.lower:g} – {numbers.median:g} – {numbers.upper:g} (quartiles)"
        table.add_row(escape(what), told)
    table.add_row("version", card.version)
    return table
