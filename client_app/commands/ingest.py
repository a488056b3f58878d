"""``wardround-site ingest``: from the hospital's archive and record into the site store."""

import sys
from datetime import datetime
from pathlib import Path

import click

from client_app.commands.ingest_settings import ingest_settings
from client_app.commands.ingest_told import consent_told, many, progress, refused_rows, tell, waiting
from client_app.commands.pseudonym import pseudonym
from client_app.commands.site_option import site_option
from federation.command_line import print_table
from federation.files import write_whole


@click.group()
def ingest() -> None:
    """Fill the store of de-identified images, which studies learn from."""


ingest.add_command(pseudonym)


@ingest.command()
@site_option
def check(file: Path) -> None:
    """Say whether archive and record answer, whom the cohort would take, and what is wrong with the data.

    Nothing is written. Exit code 1 where one does not answer, or has not what the cohort requires.
    """
    # pydicom and its like take a second to load, so help is there at once.
    from client_app.books.findings import findings_table, sound  # noqa: PLC0415
    from client_app.data.ingest.hospital import HospitalIngest  # noqa: PLC0415

    findings = HospitalIngest(ingest_settings(file), waiting).check()
    print_table(findings_table(findings))
    if not sound(findings):
        sys.exit(1)


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_DAY = click.DateTime(["%Y-%m-%d"])
_again = click.option(
    "--again", is_flag=True, help="Look again at what was refused, e.g. after this program was renewed."
)


@ingest.command()
@site_option
@click.option(
    "--accessions",
    type=_FILE,
    help="Only these accession numbers: a line each, or the first column of a CSV without a heading.",
)
@click.option("--studies", type=_FILE, help="Only these Study Instance UIDs, likewise.")
@click.option("--modality", help="Only studies of this modality, e.g. CT, with --since and --until.")
@click.option("--since", type=_DAY, metavar="YYYY-MM-DD", help="The first day of those studies.")
@click.option("--until", type=_DAY, metavar="YYYY-MM-DD", help="The last day of those studies.")
@click.option("--description", help="Words that the description of those studies has in it.")
@_again
def pacs(
    file: Path,
    *,
    accessions: Path | None,
    studies: Path | None,
    modality: str | None,
    since: datetime | None,
    until: datetime | None,
    description: str | None,
    again: bool,
) -> None:
    """Take the cohort's studies from the archive into the store; broken off, it goes on where it was.

    Exit code 1 where some were not taken this time, since archive or machine failed; the next run takes them.

    Of a list or of a modality only what is in the cohort is taken: consent and labels are the record's. Then
    nothing leaves the store; else the studies that are no longer in the cohort do.
    """
    from client_app.data.ingest.hospital import HospitalIngest  # noqa: PLC0415
    from client_app.data.ingest.named import query, wanted  # noqa: PLC0415

    named = wanted(accessions, studies, query(modality, since, until, description))
    ingest = HospitalIngest(ingest_settings(file), waiting)
    filled = ingest.pacs(progress("studies"), named=named, again=again)
    if filled.outside:
        click.echo(f"not in the cohort: {many(filled.outside, 'study', 'studies')}")
    if filled.missing:
        click.echo(f"not in the archive: {filled.missing} of those that were wanted")
    tell(filled, "study", "studies")


@ingest.command()
@site_option
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.argument("table", type=_FILE)
@click.option("--modality", required=True, help="What all the images are, as DICOM names it, e.g. DX.")
@click.option("--body-part", default="", help="Of what, likewise, e.g. CHEST; needed for CT, MR and PT.")
@click.option(
    "--spacing", type=float, metavar="MM", help="Between the pixels of a PNG, which does not say it."
)
@click.option(
    "--no-burned-in-text",
    "without_text",
    is_flag=True,
    help="Somebody has looked at the images, and none has text in it; needed where images often do.",
)
@click.option(
    "--shrink",
    is_flag=True,
    help="Let more than half of what is in the store from earlier tables leave; TABLE does not name it.",
)
@_again
def images(
    file: Path,
    *,
    folder: Path,
    table: Path,
    modality: str,
    body_part: str,
    spacing: float | None,
    without_text: bool,
    shrink: bool,
    again: bool,
) -> None:
    """Take images of FOLDER into the store, as TABLE, a CSV, names them: PNG, NIfTI or DICOM.

    Its columns are file, which may be a folder of one series, and patient, the hospital's number; each
    further one is a feature. What of its modality it no longer names leaves the store; where that is more
    than half, nothing does, and it ends with an error. Broken off, it goes on where it was.
    """
    from client_app.data.ingest.hospital import HospitalIngest  # noqa: PLC0415
    from client_app.data.pacs.images import ImageKind  # noqa: PLC0415

    settings = ingest_settings(file)
    kind = ImageKind(modality, body_part, spacing, without_text, settings.deidentify)
    hospital = HospitalIngest(settings, waiting)
    with refused_rows() as refused:
        filled = hospital.images(
            folder, table, kind, progress("images"), again=again, shrink=shrink, refused=refused
        )
    tell(filled, "image", "images")


@ingest.command()
@site_option
def consent(file: Path) -> None:
    """Ask again whose data may be used, and take out of the store whoever's may not."""
    from client_app.data.ingest.hospital import HospitalIngest  # noqa: PLC0415

    consent_told(HospitalIngest(ingest_settings(file), waiting).consent())


@ingest.command()
@site_option
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), help="Also write the card, as JSON.")
@click.option("--beside", type=_FILE, help="Such a card of another store, to see how far the two are apart.")
def card(file: Path, to: Path | None, beside: Path | None) -> None:
    """Describe the store in numbers that are of nobody; and look whether it is whole: exit code 1 if not.

    A shift is 0 where two stores are alike, and 1 where they have nothing in common.
    """
    from client_app.data.store.card import card_in, card_of  # noqa: PLC0415
    from client_app.data.store.tables import card_table  # noqa: PLC0415
    from client_app.data.store.verify import verify  # noqa: PLC0415
    from federation.site_store import open_store  # noqa: PLC0415

    store = ingest_settings(file).store
    own = card_of(open_store(store))
    print_table(card_table(own, None if beside is None else card_in(beside)))
    if to is not None:
        write_whole(to, own.model_dump_json(indent=2).encode())
    problems = verify(store)
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        sys.exit(1)
