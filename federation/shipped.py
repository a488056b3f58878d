"""A release as it travels to a machine without a network: one tar, whole and signed.

manifest.json   which files follow, with their SHA-256, and which images they hold
manifest.sig    Ed25519 over it, by whoever makes releases
...             the files, in that order, and nothing else

Nothing that came is used before all of it was compared: what is in it runs with an engine's rights.
"""

import hashlib
import io
import shutil
import tarfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Annotated, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field, StringConstraints, ValidationError

from federation.errors import ConfigError, DataError, StorageError
from federation.files import sync_below, sync_folder, write_whole
from federation.schema import Frozen
from federation.secure_sum.fingerprint import words_of

Kind = Literal["site", "coordinator"]
_DOMAIN = b"wardround release 1\n"
_MANIFEST, _SIGNATURE = "manifest.json", "manifest.sig"
_MOST_MANIFEST, _SIGNATURE_BYTES = 256 * 1024, 64
_PIECE = 1 << 20

# No name leads out of the folder, and none is hidden but the engine's own.
_Name = Annotated[
    str, StringConstraints(max_length=200, pattern=r"^[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*$")
]
_Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class ShippedFile(Frozen):
    """One file.

    Attributes:
        name: its path in the release's folder.
        bytes: how many.
        sha256: of them, as hex digits.
        runs: whether it may be executed.
    """

    name: _Name
    bytes: Annotated[int, Field(ge=0)]
    sha256: _Digest
    runs: bool = False


class ShippedImage(Frozen):
    """One image in ``images.tar.gz``.

    Attributes:
        name: with its tag.
        id: SHA-256 of its configuration, as the engine tells it.
        bytes: unpacked.
    """

    name: Annotated[str, StringConstraints(pattern=r"^wardround/[a-z]+:[a-z0-9._-]+$")]
    id: Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]


class Manifest(Frozen):
    """What is in a release.

    Attributes:
        release: its version.
        kind: who loads it.
        key: the public key of whoever makes releases, as hex digits.
        files: all of them.
        images: in the file of images.
    """

    release: Annotated[str, StringConstraints(pattern=r"^[0-9][a-z0-9.]{0,30}$")]
    kind: Kind
    key: _Digest
    files: Annotated[tuple[ShippedFile, ...], Field(min_length=1, max_length=200)]
    images: tuple[ShippedImage, ...]

    @property
    def folder(self) -> str:
        """Where it is unpacked."""
        return f"wardround-{self.release}-{self.kind}"

    @property
    def words(self) -> str:
        """The key, as people compare it."""
        return words_of(hashlib.sha256(bytes.fromhex(self.key)).hexdigest())


def ship(
    folder: Path,
    to: Path,
    key: Ed25519PrivateKey,
    *,
    release: str,
    kind: Kind,
    images: Sequence[ShippedImage],
) -> Manifest:
    """Write all that is in ``folder`` as a release.

    Raises:
        StorageError: the disk did not take it.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    manifest = Manifest(
        release=release,
        kind=kind,
        key=key.public_key().public_bytes_raw().hex(),
        files=tuple(_described(path, folder) for path in paths),
        images=tuple(images),
    )
    said = manifest.model_dump_json(indent=1).encode()
    scrap = to.with_name(f".{to.name}.{uuid.uuid4().hex}")
    try:
        with tarfile.open(scrap, "w") as tar:
            for name, content in ((_MANIFEST, said), (_SIGNATURE, key.sign(_DOMAIN + said))):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            for path in paths:
                member = tarfile.TarInfo(path.relative_to(folder).as_posix())
                member.size = path.stat().st_size
                with path.open("rb") as file:
                    tar.addfile(member, file)
        scrap.replace(to)
    except OSError as error:
        scrap.unlink(missing_ok=True)
        raise StorageError(f"{to} could not be written ({error.strerror}); free space") from error
    return manifest


def read_manifest(file: Path) -> Manifest:
    """What is in the release ``file``, signed by the key that it names; whose key that is, people compare.

    Raises:
        DataError: it cannot be read, is none, or is not signed.
    """
    with _opened(file) as tar:
        return _manifest(tar, file)


def unpack(file: Path, manifest: Manifest, to: Path) -> None:
    """Unpack ``file`` as ``to``, whole or not at all.

    Args:
        file: the release.
        manifest: what people have agreed to.
        to: a folder that is not there.

    Raises:
        ConfigError: ``to`` is there.
        DataError: the file does not hold exactly what ``manifest`` says.
        StorageError: the disk did not take it.
    """
    if to.exists():
        raise ConfigError(f"{to} is there already; remove it to unpack {file} again")
    scrap = to.with_name(f".{to.name}.{uuid.uuid4().hex}")
    try:
        with _opened(file) as tar:
            if _manifest(tar, file) != manifest:
                raise DataError(f"{file} has changed; look at it again")
            for each in manifest.files:
                _take(tar, file, each, scrap / each.name)
            if tar.next() is not None:
                raise DataError(f"{file} holds more than its manifest says; fetch it again")
        sync_below(scrap, but=scrap.name)  # all of it
        scrap.rename(to)
        sync_folder(to.parent)
    except OSError as error:
        raise StorageError(f"{to} could not be written ({error.strerror}); free space") from error
    finally:
        shutil.rmtree(scrap, ignore_errors=True)


def pinned_key(file: Path, key: str) -> str | None:
    """The key that is pinned in ``file``, which has to be ``key``; None where none is.

    Raises:
        DataError: it is another one, or cannot be read.
    """
    try:
        pinned = file.read_text().strip() if file.exists() else None
    except (OSError, UnicodeError) as error:
        raise DataError(f"{file} cannot be read; restore it") from error
    if pinned not in (None, key):
        raise DataError(
            f"the release is signed by another key than {file} has; take none of it, or, if whoever makes "
            "releases says on the telephone that their key is new, remove this file"
        )
    return pinned


def pin(file: Path, key: str) -> None:
    """Write down ``key``.

    Raises:
        StorageError: the disk did not take it.
    """
    write_whole(file, f"{key}\n".encode())


def _opened(file: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(file, "r:")
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"{file} is no release; fetch it again") from error


def _manifest(tar: tarfile.TarFile, file: Path) -> Manifest:
    said = _small(tar, file, _MANIFEST, _MOST_MANIFEST)
    signature = _small(tar, file, _SIGNATURE, _SIGNATURE_BYTES)
    try:
        manifest = Manifest.model_validate_json(said)
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(manifest.key)).verify(signature, _DOMAIN + said)
    except ValidationError as error:
        raise DataError(f"{file}: {_MANIFEST} is none; fetch it again") from error
    except (InvalidSignature, ValueError) as error:
        raise DataError(f"{file} is not signed by the key that it names; fetch it again") from error
    return manifest


def _small(tar: tarfile.TarFile, file: Path, name: str, most: int) -> bytes:
    content = _next(tar, file, name, most)
    return content.read()


def _take(tar: tarfile.TarFile, file: Path, each: ShippedFile, to: Path) -> None:
    content = _next(tar, file, each.name, each.bytes)
    to.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with to.open("xb") as out:
        while piece := content.read(_PIECE):
            digest.update(piece)
            out.write(piece)
    to.chmod(0o755 if each.runs else 0o644)
    if digest.hexdigest() != each.sha256:
        raise DataError(f"{file}: {each.name} is not what its manifest says; fetch it again")


def _next(tar: tarfile.TarFile, file: Path, name: str, most: int) -> IO[bytes]:
    """The next member, which has to be a plain file of that name and of ``most`` bytes at most."""
    try:
        member = tar.next()
        content = None if member is None or not member.isfile() else tar.extractfile(member)
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"{file} is damaged; fetch it again") from error
    if member is None or content is None or member.name != name or member.size > most:
        raise DataError(f"{file} does not have {name} where it should be; fetch it again")
    return content


def _described(path: Path, folder: Path) -> ShippedFile:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return ShippedFile(
        name=path.relative_to(folder).as_posix(),
        bytes=path.stat().st_size,
        sha256=digest.hexdigest(),
        runs=bool(path.stat().st_mode & 0o100),
    )
