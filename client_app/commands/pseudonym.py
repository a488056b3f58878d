"""``wardround-site ingest pseudonym``: what the store calls a patient, for a withdrawal."""

import sys
from collections import Counter
from pathlib import Path

import click

from client_app.commands.ingest_settings import ingest_settings
from client_app.commands.site_option import site_option
from federation.errors import ConfigError


# A number that begins with a dash would be taken for an option that there is not, and be repeated.
@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("given", metavar="", nargs=-1)
@site_option
def pseudonym(given: tuple[str, ...], file: Path) -> None:
    """Tell what the store calls the patients whose numbers come in by standard input.

    A number a line, or a CSV with the column patient. What goes out is the CSV that consent withdraw --csv -
    takes in, in the same order; whether they are in the store is told beside it. Numbers are not taken from
    the command line, since they would stay in the shell's history.
    """
    from client_app.data.ingest.lookup import known_as  # noqa: PLC0415
    from client_app.desk.patient_list import in_lines, patient_lines  # noqa: PLC0415

    if given:
        raise ConfigError(
            "numbers are read from standard input, a line each, since what is typed after a command stays in "
            "the shell's history and is in the list of processes: take it out of there"
        )
    if sys.stdin and sys.stdin.isatty():
        click.echo("A number a line, then Ctrl-D:", err=True)
    listed = patient_lines(Path("-"), headed=False)
    if not listed:
        raise ConfigError("standard input has no number; give a line for each")
    known = known_as(ingest_settings(file), [number for _, number in listed])
    click.echo("\n".join(["patient", *(each.pseudonym for each in known)]))
    for place, count in sorted(Counter(each.place for each in known).items()):
        click.echo(f"{place}: {count} of {len(known)}", err=True)
    never = [
        line for (line, _), each in zip(listed, known, strict=True) if each.place == "never in the store"
    ]
    if never:
        click.echo(
            f"never in the store: {in_lines(never)}; if you know that they were, the record "
            "writes the number otherwise, or has another one, and a withdrawal by this one does not hold",
            err=True,
        )
