"""``wardround-site load``: a release is compared, unpacked and handed to the engine."""

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client_app.cli import commands
from federation.errors import DataError
from federation.shipped import ship

ENGINE = '#!/bin/sh\necho "$@" >{said}\n'


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to work in, and an engine that writes down what it is told."""
    (tmp_path / "made").mkdir()
    (tmp_path / "made/images.tar.gz").write_bytes(b"images")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/docker").write_text(ENGINE.format(said=tmp_path / "said"))
    (tmp_path / "bin/docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.chdir(tmp_path)
    ship(tmp_path / "made", tmp_path / "it.tar", KEY, release="0.1.0", kind="site", images=())
    return tmp_path


KEY = Ed25519PrivateKey.generate()


def load(*also, answer=None):
    words = ["load", "it.tar", "--pinned", "release.pub", *also]
    return CliRunner().invoke(commands, words, input=answer)


def test_the_first_time_people_compare_words_and_later_they_need_not(here):
    assert load(answer="y\n").exit_code == 0
    assert (here / "said").read_text() == "load --input wardround-0.1.0-site/images.tar.gz\n"
    for path in ("wardround-0.1.0-site/images.tar.gz", "wardround-0.1.0-site"):
        (here / path).rmdir() if (here / path).is_dir() else (here / path).unlink()
    assert load(answer="").exit_code == 0


def test_who_says_no_has_nothing_pinned_unpacked_or_loaded(here):
    assert load(answer="n\n").exit_code == 1
    assert not any((here / name).exists() for name in ("said", "release.pub", "wardround-0.1.0-site"))


def test_a_release_of_another_key_is_refused_whoever_says_yes(here):
    assert load("--yes").exit_code == 0
    (here / "said").unlink()
    other = Ed25519PrivateKey.generate()
    ship(here / "made", here / "it.tar", other, release="0.2.0", kind="site", images=())
    refused = load("--yes")
    assert isinstance(refused.exception, DataError)
    assert not (here / "said").exists()


def test_where_no_engine_is_it_says_what_to_run(here):
    (here / "bin/docker").unlink()
    told = load("--yes")
    assert told.exit_code == 0
    assert "docker load --input wardround-0.1.0-site/images.tar.gz" in told.output
