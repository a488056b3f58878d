"""A signed release: what it refuses, and that a refused one leaves nothing behind."""

import hashlib
import io
import tarfile

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation import shipped
from federation.errors import ConfigError, DataError
from federation.shipped import Manifest, pin, pinned_key, read_manifest, ship, unpack

KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "made"
    (made / "sbom").mkdir(parents=True)
    (made / "compose.yaml").write_text("services: {}\n")
    (made / "images.tar.gz").write_bytes(bytes(3_000_000))
    (made / "sbom/node.cdx.json").write_text("{}")
    (made / "run").write_text("#!/bin/sh\n")
    (made / "run").chmod(0o755)
    return made


@pytest.fixture
def release(tmp_path, folder):
    file = tmp_path / "release.tar"
    ship(folder, file, KEY, release="0.1.0", kind="site", images=())
    return file


def members(file):
    with tarfile.open(file) as tar:
        return [(member, tar.extractfile(member).read()) for member in tar]


def rewritten(file, change):
    """The release with its list of members changed, as anybody on the way could."""
    changed = change(members(file))
    with tarfile.open(file, "w") as tar:
        for member, content in changed:
            member.size = len(content) if member.isfile() else 0
            tar.addfile(member, io.BytesIO(content))


def replaced(name, content):
    return lambda found: [(m, content if m.name == name else c) for m, c in found]


def with_one_more(name):
    return lambda found: [*found, (tarfile.TarInfo(name), b"more")]


def refused(file, to):
    with pytest.raises(DataError):
        unpack(file, read_manifest(file), to)
    assert [path.name for path in to.parent.iterdir() if "there" in path.name] == []


def test_what_was_shipped_is_unpacked(release, folder, tmp_path):
    unpack(release, read_manifest(release), tmp_path / "there")
    for path in folder.rglob("*"):
        if path.is_file():
            found = tmp_path / "there" / path.relative_to(folder)
            assert found.read_bytes() == path.read_bytes()
            assert (found.stat().st_mode & 0o111 != 0) == (path.name == "run")


def test_nothing_is_unpacked_over_what_is_there(release, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(ConfigError, match="is there already"):
        unpack(release, read_manifest(release), tmp_path / "there")


@pytest.mark.attack("a release is changed on its way", held_by="a signed list of all files")
@pytest.mark.parametrize(
    "change",
    [
        replaced("compose.yaml", b"services: {evil}"),
        replaced("images.tar.gz", bytes(2_999_999) + b"x"),
        replaced("images.tar.gz", b""),
        with_one_more("evil"),
        with_one_more("../evil"),
        lambda found: found[:-1],
        lambda found: [found[1], found[0], *found[2:]],
        lambda found: [*found[:2], found[3], found[2], *found[4:]],
        replaced("manifest.sig", bytes(64)),
        replaced("manifest.sig", b""),
        replaced("manifest.json", b"{}"),
    ],
)
def test_a_changed_release_is_refused(release, tmp_path, change):
    rewritten(release, change)
    refused(release, tmp_path / "there")


@pytest.mark.attack("a release is changed on its way", held_by="a signed list of all files")
def test_a_link_in_a_files_place_is_refused(release, tmp_path):
    def linked(found):
        link = tarfile.TarInfo("compose.yaml")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        return [
            (link, b"") if member.name == "compose.yaml" else (member, content) for member, content in found
        ]

    rewritten(release, linked)
    refused(release, tmp_path / "there")


@pytest.mark.attack("a release is changed on its way", held_by="a signed list of all files")
@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", ".env", "a//b", "a\nb", ""])
def test_a_signed_name_leads_nowhere_else(release, name):
    one = {"name": name, "bytes": 1, "sha256": "0" * 64}
    with pytest.raises(ValueError, match="name"):
        Manifest.model_validate(read_manifest(release).model_dump() | {"files": [one]})


@pytest.mark.attack("a release is changed on its way", held_by="a signed list of all files")
def test_one_that_is_signed_by_another_key_is_refused_where_one_is_pinned(release, folder, tmp_path):
    pinned = tmp_path / "release.pub"
    assert pinned_key(pinned, read_manifest(release).key) is None
    pin(pinned, read_manifest(release).key)
    assert pinned_key(pinned, read_manifest(release).key) == read_manifest(release).key
    ship(folder, release, OTHER, release="0.1.0", kind="site", images=())
    with pytest.raises(DataError, match="another key"):
        pinned_key(pinned, read_manifest(release).key)


@pytest.mark.mutant("a release is changed on its way", how="hashes are not compared")
def test_without_hashes_another_file_of_that_size_is_unpacked(release, tmp_path, monkeypatch):
    class Same:
        def __init__(self):
            self.given = next(each.sha256 for each in manifest.files if each.name == "compose.yaml")

        def update(self, _):
            pass

        def hexdigest(self):
            return self.given

    rewritten(release, replaced("compose.yaml", b"services: []\n"))
    manifest = read_manifest(release)
    monkeypatch.setattr(shipped.hashlib, "sha256", Same)
    only = manifest.files[0]
    assert only.name == "compose.yaml"
    with tarfile.open(release) as tar:
        tar.next()
        tar.next()
        shipped._take(tar, release, only, tmp_path / "taken")
    assert (tmp_path / "taken").read_bytes() == b"services: []\n"


@pytest.mark.parametrize("content", [b"", b"no tar", bytes(10240)])
def test_what_is_no_release_is_refused(tmp_path, content):
    file = tmp_path / "release.tar"
    file.write_bytes(content)
    with pytest.raises(DataError, match="fetch it again"):
        read_manifest(file)


def test_a_release_that_changed_between_the_look_and_the_unpacking_is_refused(release, folder, tmp_path):
    agreed = read_manifest(release)
    (folder / "compose.yaml").write_text("services: {other: {}}\n")
    ship(folder, release, OTHER, release="0.1.0", kind="site", images=())
    with pytest.raises(DataError, match="has changed"):
        unpack(release, agreed, tmp_path / "there")


def test_words_are_those_of_the_key(release):
    raw = KEY.public_key().public_bytes_raw()
    assert read_manifest(release).key == raw.hex()
    assert read_manifest(release).words == shipped.words_of(hashlib.sha256(raw).hexdigest())
    assert len(read_manifest(release).words.split()) == 12
