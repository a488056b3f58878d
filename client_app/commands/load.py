"""``wardround-site load``: a release that came on a disk, compared and handed to the engine."""

from pathlib import Path

import click

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("file", metavar="RELEASE", type=_FILE)
@click.option(
    "--pinned", type=_FILE, required=True, help="Whose releases are loaded; written the first time."
)
@click.option("--yes", is_flag=True, help="Do not ask; the words were compared before.")
def load(file: Path, pinned: Path, yes: bool) -> None:
    """Compare a release with its signature, unpack it here, and tell the engine of its images.

    The first time, compare the words with those that whoever makes releases reads out on the telephone. After
    that, releases of another key are refused.
    """
    import shutil  # noqa: PLC0415
    import subprocess  # noqa: PLC0415

    from federation.errors import RunError  # noqa: PLC0415
    from federation.shipped import pin, pinned_key, read_manifest, unpack  # noqa: PLC0415

    manifest = read_manifest(file)
    click.echo(f"release {manifest.release} for a {manifest.kind}, key: {manifest.words}")
    if pinned_key(pinned, manifest.key) is None:
        if not yes:
            click.confirm("Has whoever makes releases read out these words?", abort=True)
        pin(pinned, manifest.key)
    to = Path(manifest.folder)
    unpack(file, manifest, to)
    click.echo(to)
    engine = shutil.which("docker")
    command = [engine or "docker", "load", "--input", str(to / "images.tar.gz")]
    if engine is None:
        click.echo(f"no docker is here; where it is, run: {' '.join(command)}", err=True)
    elif subprocess.run(command, check=False).returncode:  # noqa: S603
        raise RunError(f"{' '.join(command)} failed; see to the engine, and run that again")
