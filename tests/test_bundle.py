"""What a researcher ships: exactly the files of ``bundle.txt``, and nothing of a hospital's."""

import io
import shutil
import zipfile
from pathlib import Path

import pytest
from flwr.cli.build import build_fab_from_disk

PROJECT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_name("bundle.txt")


def bundle(folder):
    return zipfile.ZipFile(io.BytesIO(build_fab_from_disk(folder)))


@pytest.fixture
def checkout(tmp_path):
    """The files that a bundle can be made of, free to be added to."""
    for name in ("server_app", "client_app", "federation", "tasks", "simulation", "tests", "docs", "conf"):
        shutil.copytree(
            PROJECT / name, tmp_path / "wardround" / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, tmp_path / "wardround" / name)
    return tmp_path / "wardround"


def test_the_bundle_holds_exactly_the_listed_files(checkout):
    assert sorted(bundle(checkout).namelist()) == LIST.read_text().splitlines()


def test_what_a_hospital_keeps_does_not_slip_in(checkout):
    for secret in (
        "conf/site/our_hospital.yaml",
        "docker/keys.json",
        "scripts/keys.py",
        "runs/a/summary.json",
    ):
        (checkout / secret).parent.mkdir(parents=True, exist_ok=True)
        (checkout / secret).write_text("private: true\n")
    assert sorted(bundle(checkout).namelist()) == LIST.read_text().splitlines()


def test_the_list_would_notice_a_file_too_many(checkout):
    (checkout / "server_app" / "smuggled.py").write_text("")
    assert sorted(bundle(checkout).namelist()) != LIST.read_text().splitlines()


def test_no_file_of_the_bundle_is_a_test_or_of_the_simulation():
    names = LIST.read_text().splitlines()
    assert not [name for name in names if name.startswith(("simulation/", "tests/", "benchmarks/"))]
    assert [name for name in names if name.startswith("conf/site/")] == ["conf/site/simulated.yaml"]
