"""The ledger for a hospital's board: one page in one file."""

from pathlib import Path

from client_app.books import figures, words
from client_app.books.statement import Statement
from client_app.books.template import PAGE
from client_app.books.told import told
from federation import against
from federation.command_line import printable
from federation.files import write_whole
from federation.page import template_of


def write_page(statement: Statement, path: Path) -> None:
    """Write ``path``, whole or not at all; a page that is there is replaced.

    Raises:
        StorageError: the disk did not take it.
    """
    write_whole(path, render(statement).encode())


def render(statement: Statement) -> str:
    """The page as HTML."""
    minimum = statement.policy.minimum_patients
    return template_of(PAGE).render(
        statement=statement,
        printable=printable,
        against=against.headline,
        everybody=against.ONLOOKERS["everybody"],
        looking=against.ONLOOKERS[statement.policy.lifetime.against],
        headline=words.headline(statement),
        explanation=words.explanation(statement),
        facts=words.facts(statement),
        notes=words.notes(statement),
        picture=figures.spent_over_time(statement),
        caption=words.caption(statement),
        bands=[(band, told(count, minimum)) for band, count in statement.patients.bands.items()],
        room=told(statement.patients.room, minimum),
        limits=words.limits(statement),
    )
