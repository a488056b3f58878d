"""Make signed releases for machines without a network: ``docker/release --key release.key --to dist``.

Of the images wardround/*:TAG that the engine here has, as docker/build makes them.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: E402

from federation.key_files import kept_key  # noqa: E402
from federation.shipped import Kind, ShippedImage, ship  # noqa: E402

KINDS: dict[Kind, tuple[str, ...]] = {
    "site": ("node", "custodian"),
    "coordinator": ("coordinator", "gateway"),
}
# What Python and Debian say is installed; read inside the image, where nothing else is asked.
_PYTHON = """
import importlib.metadata, json
print(json.dumps(sorted({(d.metadata["Name"], d.version, d.metadata.get("License-Expression") or "")
                         for d in importlib.metadata.distributions()})))
"""
_DEBIAN = r"${Package}\t${Version}\t${Architecture}\n"


def bill_of_materials(image: str, release: str) -> dict[str, object]:
    """What is installed in ``image``, as CycloneDX 1.5."""
    python = _inside(image, "/opt/wardround/bin/python", "-P", "-c", _PYTHON)
    debian = [line.split("\t") for line in _inside(image, "dpkg-query", "-W", "-f", _DEBIAN).splitlines()]
    components: list[dict[str, object]] = [
        {
            "type": "library",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{name.lower().replace('_', '-')}@{version.replace('+', '%2B')}",
            **({"licenses": [{"expression": licence}]} if licence else {}),
        }
        for name, version, licence in (json.loads(python) if python else [])
    ]
    components += [
        {
            "type": "library",
            "name": name,
            "version": version,
            "purl": f"pkg:deb/debian/{name}@{version.replace('+', '%2B').replace(':', '%3A')}?arch={machine}",
        }
        for name, version, machine in debian
    ]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": image.partition(":")[0], "version": release}},
        "components": components,
    }


def main() -> None:
    """Make a release of each kind, and say how large everything is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--key", type=Path, required=True, help="Ed25519; drawn the first time. Keep a copy.")
    parser.add_argument("--to", type=Path, required=True, help="The folder of the releases.")
    parser.add_argument("--tag", default="0.1.0", help="Of the images, and the release's version.")
    parser.add_argument("--kind", choices=KINDS, action="append", help="Left out, both.")
    asked = parser.parse_args()
    key = Ed25519PrivateKey.from_private_bytes(kept_key(asked.key))
    asked.to.mkdir(parents=True, exist_ok=True)
    print(f"{'':40} {'MB':>8}")  # noqa: T201
    kinds: tuple[Kind, ...] = asked.kind or ("site", "coordinator")
    for kind in kinds:
        with tempfile.TemporaryDirectory(dir=asked.to) as folder:
            images = _gather(Path(folder), kind, asked.tag)
            to = asked.to / f"wardround-{asked.tag}-{kind}.tar"
            manifest = ship(Path(folder), to, key, release=asked.tag, kind=kind, images=images)
        for name, size in [*((each.name, each.bytes) for each in images), (to.name, to.stat().st_size)]:
            print(f"{name:40} {size / 1e6:8.0f}")  # noqa: T201
    print(f"key: {manifest.words}")  # noqa: T201


def _gather(folder: Path, kind: Kind, tag: str) -> list[ShippedImage]:
    for name in ("compose.yaml", "compose.gpu.yaml", "compose.ingest.yaml", "example.env", "run"):
        if (source := ROOT / "docker" / kind / name).exists():
            shutil.copy(source, folder)
    names = [f"wardround/{name}:{tag}" for name in KINDS[kind]]
    (folder / "sbom").mkdir()
    for name in names:
        bill = json.dumps(bill_of_materials(name, tag), indent=1)
        (folder / "sbom" / f"{name.partition('/')[2].partition(':')[0]}.cdx.json").write_text(bill)
    _save(names, folder / "images.tar.gz")
    told = json.loads(_said("docker", "image", "inspect", *names))
    return [
        ShippedImage(name=name, id=each["Id"], bytes=each["Size"])
        for name, each in zip(names, told, strict=True)
    ]


def _save(names: list[str], to: Path) -> None:
    """All images as one file, so that layers which they share are there once."""
    saving = subprocess.Popen(["docker", "save", *names], stdout=subprocess.PIPE)  # noqa: S603, S607
    pack = ["pigz"] if shutil.which("pigz") else ["gzip"]  # pigz takes all cores
    with to.open("wb") as out:
        subprocess.run([*pack, "--fast", "--no-name"], stdin=saving.stdout, stdout=out, check=True)  # noqa: S603
    if saving.wait():
        sys.exit(f"docker save {' '.join(names)} failed; build the images first")


def _inside(image: str, program: str, *words: str) -> str:
    """What ``program`` says in ``image``; nothing where it is not there."""
    run = ("docker", "run", "--rm", "--network=none", "--entrypoint", program, image, *words)
    return _said(*run, check=False)


def _said(*command: str, check: bool = True) -> str:
    done = subprocess.run(command, check=check, capture_output=True, text=True)  # noqa: S603
    return done.stdout if done.returncode == 0 else ""


if __name__ == "__main__":
    main()
