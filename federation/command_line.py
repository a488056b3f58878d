"""What the commands of both sides share: where tables are printed, and how a refusal ends."""

import sys

import click
from rich.console import Console
from rich.table import Table

from federation.errors import WardroundError
from federation.logs import log, logs_json

_WIDTH = 200  # where nobody's terminal says how wide it is


def print_table(table: Table) -> None:
    """Print ``table`` as wide as the terminal, or wide enough for whatever reads it instead."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH)
    console.print(table)


def printable(text: str) -> str:
    """A stranger's ``text`` without what would move a terminal's cursor."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def run(commands: click.Command) -> None:
    """Run a command line; what is refused is a line, or a record of a log in JSON, and exit code 1."""
    try:
        commands()
    except WardroundError as error:
        told = f"{type(error).__name__}: {error}"
        if logs_json():
            log.critical("%s", told)
        else:
            Console(stderr=True, soft_wrap=True).print(told, markup=False)
        sys.exit(1)
