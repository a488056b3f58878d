"""``wardround-site``, as somebody at a hospital types it."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from client_app.cli import commands, main
from client_app.training import local_round
from client_app.training.noise import add_noise
from federation.errors import ConfigError
from federation.stored_models import models_of
from simulation.simulate import main as simulate

ROOT = Path(__file__).parents[2]
SQUARES = (
    "task.package=toy_task",
    "task.image_size=[12,12]",
    "task.baseline=null",
    "task.stratum=null",
    "site.policy.tasks=[toy_task]",
    "pretraining.source=random",
    "model.arguments.channels=[4,8]",
    "model.arguments.strides=[2,2]",
    "model.arguments.norm=[group,{num_groups: 2}]",
    "rounds=2",
    "training.steps=2",
    "seed=1",
)


@pytest.fixture
def audit(tmp_path):
    """``audit("study=...")``: the command's result, and what it left in the folder ``out``."""

    def run(*arguments):
        return CliRunner().invoke(commands, ["audit", "privacy", *arguments, "--to", str(tmp_path / "out")])

    return run


@pytest.fixture
def record(tmp_path):
    return lambda: json.loads((tmp_path / "out" / "privacy-audit.json").read_text())


@pytest.fixture
def page(tmp_path):
    return (tmp_path / "out" / "privacy-audit.html").read_text


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert simulate([*SQUARES, "compare=false", "audit=false", "progress=quiet", f"run_dir={folder}"]) == 0
    return folder


def halved(totals, noise_multiplier, clipping_norm, stream):
    return add_noise(totals, noise_multiplier / 2, clipping_norm, stream)


def test_a_study_is_rehearsed_and_an_image_attacked(audit, record, page):
    result = audit(*SQUARES)
    assert result.exit_code == 0, result.output
    assert result.output.count(" passed ") == 5
    assert "privacy-audit.html" in result.output
    found = record()
    assert found["membership"] is None
    assert found["rehearsal"]["game"]["at_least"] < 3 == found["rehearsal"]["game"]["promised"]
    assert found["inversion"]["protected_psnr"] < found["inversion"]["constant_psnr"]
    assert "5 of 5" in page()
    assert "do not train" not in page()


def test_weakened_code_is_exit_code_1_and_a_page_that_says_so(audit, page, monkeypatch):
    monkeypatch.setattr(local_round, "add_noise", halved)
    result = audit(*SQUARES)
    assert result.exit_code == 1
    assert "FAILED" in result.output
    assert "do not train with this program" in page()
    assert "Failed: canaries." in page()


@pytest.mark.deployment  # for its time
def test_a_finished_run_has_its_model_attacked_with_the_patients_of_all_hospitals(
    audit, record, page, finished_run
):
    result = audit("--run", str(finished_run))
    assert result.exit_code == 0, result.output
    found = record()["membership"]
    assert found["version"] == models_of(finished_run)[-1].manifest.version
    assert found["hospitals"] == ["alder", "birch", "cedar", "dogwood"]
    assert set(found["attacks"]) == {"calibrated", "plain"}
    assert (found["attacks"]["plain"]["members"], found["attacks"]["plain"]["others"]) == (4 * 24, 4 * 6)
    assert "Does the model give away who was in it?" in page()


def test_the_page_is_one_file_that_asks_the_network_for_nothing(audit, page, finished_run):
    audit("--run", str(finished_run))
    html = page()
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", html)
    assert "://" not in html
    assert html.count("<svg") == 3
    assert html.count('<img src="data:image/png;base64,') == 1


def test_without_a_promise_there_is_nothing_to_rehearse_and_the_page_says_so(audit, record, page):
    result = audit(*SQUARES, "privacy=none")
    assert result.exit_code == 0, result.output
    assert record()["rehearsal"] is None
    assert "promises its patients no privacy" in page()


def test_tables_have_no_picture_to_rebuild(audit, record, page):
    result = audit("study=heart_disease", "seed=1")
    assert result.exit_code == 0, result.output
    assert record()["inversion"] is None
    assert "rebuilt" not in page()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["study=nodule_cd"], "did you mean 'nodule_ct'"),
        (["--run", "nowhere"], "holds no run"),
    ],
)
def test_what_is_refused_is_a_line_and_exit_code_1(arguments, reason, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["x", "audit", "privacy", *arguments, "--to", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert reason in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_not_audited_as_another_study(audit, finished_run):
    result = audit("--run", str(finished_run), "privacy.epsilon=1")
    assert "leave out what changes the study" in str(result.exception)


def test_a_changed_model_is_not_audited(audit, tmp_path, finished_run):
    copy = tmp_path / "copy"
    shutil.copytree(finished_run, copy)
    final = copy / "models" / "final.safetensors"
    final.write_bytes(final.read_bytes()[:-4] + b"\0\0\0\1")
    assert "the file was changed" in str(audit("--run", str(copy)).exception)


def test_help_is_there_at_once_without_torch():
    code = "import sys; from client_app.cli import commands; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_page_without_a_run_needs_a_place():
    result = CliRunner().invoke(commands, ["audit", "privacy", *SQUARES])
    assert isinstance(result.exception, ConfigError)
    assert "give --to DIR" in str(result.exception)
