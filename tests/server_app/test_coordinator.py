import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from federation.overrides import quoted
from server_app.commands.model import FORMATS
from server_app.coordinator import main
from server_app.export import Format
from server_app.library import find_model
from simulation.simulate import main as simulate

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _tiny_task(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tests/simulation"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory, noise):
    """A folder of runs with one tiny run over noise."""
    folder = tmp_path_factory.mktemp("coordinator") / "runs"
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()):
        patch.syspath_prepend(str(ROOT / "tests/simulation"))
        assert simulate(["-q", *noise, f"run_dir={quoted(folder / 'one')}"]) == 0
    (folder / "latest").unlink(missing_ok=True)
    (folder / "latest").symlink_to("one", target_is_directory=True)
    return folder


@pytest.fixture
def command(monkeypatch, capsys, runs):
    """``command("model", "list")``: exit code, output and errors, over ``runs``."""

    def run(*arguments, runs=runs):
        monkeypatch.setattr(sys, "argv", ["wardround-coordinator", *map(str, arguments), "--runs", str(runs)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return ended.value.code or 0, told.out, told.err

    return run


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(2):
        values = np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(values).save(folder / f"{number}.png")
    return folder


def test_list_shows_every_version_whole(command, runs):
    code, out, _ = command("model", "list")
    final = find_model(runs, "latest").manifest.version
    assert code == 0
    assert final in out
    assert len([line for line in out.splitlines() if "nodule_ct-" in line]) == 3
    assert "released" in out
    assert "alder, birch, cedar, dogwood" in out


def test_show_says_where_a_model_comes_from(command, runs):
    code, out, _ = command("model", "show", "latest")
    model = find_model(runs, "latest")
    assert code == 0
    for fact in (
        model.manifest.version,
        model.manifest.parent,
        model.manifest.sha256,
        model.manifest.study_id,
    ):
        assert fact in out.replace("\n", "")
    assert "benign, malignant" in out
    words = " ".join(out.split())
    assert "at δ = 1e-05, against everybody together" in words
    assert "travelled each by itself" in words


def test_export_writes_the_folder_and_says_which(command, tmp_path, runs):
    version = find_model(runs, "latest").manifest.version
    code, out, _ = command(
        "model", "export", version[:-6], "--format", "safetensors", "--to", tmp_path / "out"
    )
    assert (code, out) == (0, f"{tmp_path / 'out'}\n")
    card = (tmp_path / "out/model_card.md").read_text()
    assert card.startswith(f"# {version}\n")


def test_predict_writes_the_csv_and_says_where(command, tmp_path, images):
    code, out, err = command("predict", "latest", images, "--to", tmp_path / "out.csv")
    assert (code, out, err) == (0, f"{tmp_path / 'out.csv'}\n", "")
    assert (tmp_path / "out.csv").read_text().startswith("file,class,p_benign,p_malignant\n0.png,")


def test_predict_names_what_it_left_out_and_ends_in_1(command, tmp_path, images):
    (images / "broken.png").write_bytes(b"rubbish")
    code, _, err = command("predict", "latest", images, "--to", tmp_path / "out.csv")
    assert code == 1
    assert err.startswith("left out broken.png: ")
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("model", "show", "nodule_ct-fimal"), "ConfigError: model 'nodule_ct-fimal'"),
        (("predict", "latest", "no/folder", "--to", "x.csv"), "DataError: no/folder is no folder"),
    ],
    ids=["no model", "no folder"],
)
def test_what_is_refused_is_one_line(command, arguments, error):
    code, out, err = command(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith(error)
    assert len(err.splitlines()) == 1


def test_runs_without_a_model_list_nothing(command, tmp_path):
    code, out, _ = command("model", "list", runs=tmp_path)
    assert code == 0
    assert "nodule_ct" not in out


def test_a_format_that_is_none_is_refused_with_those_there_are(command, tmp_path):
    code, _, err = command("model", "export", "latest", "--format", "onnx", "--to", tmp_path / "out")
    assert code == 2
    assert "'safetensors', 'torchscript', 'torch_export', 'monai_bundle'" in err


def test_the_command_offers_every_format():
    assert get_args(Format) == FORMATS


def test_help_does_not_wait_for_torch():
    loaded = (
        "import sys; import server_app.coordinator; print('torch' in sys.modules, 'monai' in sys.modules)"
    )
    told = subprocess.run(
        [sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert told.stdout == "False False\n"
