"""``wardround-site deidentify``: files without who they are of, or what would be done with one."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from client_app.data.refusal import Refused
from federation.command_line import print_table

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("files", metavar="FILE...", type=_FILE, nargs=-1, required=True)
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), help="The folder for what is done.")
@click.option(
    "--key",
    type=_FILE,
    help="The site's key of pseudonyms; made the first time. It stays at the site.",
)
@click.option("--explain", is_flag=True, help="Write nothing; say of each attribute what is done, and why.")
@click.option("--allow-heads", is_flag=True, help="Also take CT, MR and PET that say they are of a head.")
@click.option(
    "--trust-annotation",
    is_flag=True,
    help="Also take ultrasound, screenshots and their like where BurnedInAnnotation says NO.",
)
def deidentify(
    *,
    files: tuple[Path, ...],
    to: Path | None,
    key: Path | None,
    explain: bool,
    allow_heads: bool,
    trust_annotation: bool,
) -> None:
    """De-identify DICOM files to PS3.15 Annex E, each into a file of its own; exit code 1 if one is refused.

    Files are told by their number, since their names may be patients'. docs/deidentification.md says what is
    kept, and what is refused.
    """
    # pydicom and scipy take a second to load, so help is there at once.
    from client_app.data.deidentify.explanation import explained  # noqa: PLC0415
    from client_app.data.deidentify.files import deidentify_file  # noqa: PLC0415
    from client_app.data.deidentify.options import Options  # noqa: PLC0415
    from client_app.data.keys import Pseudonyms  # noqa: PLC0415

    options = Options(allow_heads=allow_heads, trust_annotation=trust_annotation)
    if explain:
        refused = _refused(files, lambda file: print_table(explained(file, options)))
    elif to is None or key is None:
        raise click.UsageError("give --to and --key, or --explain")
    else:
        pseudonyms = Pseudonyms.kept_at(key)
        refused = _refused(files, lambda file: click.echo(deidentify_file(file, to, pseudonyms, options)))
        click.echo(f"{len(files) - refused} de-identified, {refused} refused", err=True)
    if refused:
        sys.exit(1)


def _refused(files: Sequence[Path], treat: Callable[[Path], None]) -> int:
    """Have each file treated; how many were refused."""
    refused = 0
    for number, file in enumerate(files, start=1):
        try:
            treat(file)
        except Refused as error:
            refused += 1
            click.echo(f"file {number} refused ({error.rule}): {error}", err=True)
    return refused
