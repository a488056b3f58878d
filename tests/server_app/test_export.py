import json
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from federation.config import compose_run
from federation.errors import ConfigError, DataError, StorageError
from federation.models import build_network, get_parameters, layout_of
from server_app import programs
from server_app.export import Format, export_model
from server_app.library import find_model
from server_app.programs import exported_program, facts, some_input, torchscript
from server_app.registry import Registry

ROOT = Path(__file__).parents[2]
STUDIES = {
    "cnn": ("model.arguments.channels=[4,8]", "model.arguments.norm=[group,{num_groups: 2}]"),
    "scattering": ("study=chest_xray", "model.arguments.components=8"),
    "table": ("study=heart_disease",),
    "residual": ("model=torchvision_resnet18",),
}
# What MONAI makes of a bundle in a process that has never heard of this project.
ALONE = """
import json, pathlib, sys, warnings
sys.path = [path for path in sys.path if path not in ("", sys.argv[1])]
try:
    import server_app
except ImportError:
    pass
else:
    raise SystemExit("the project is still there")
warnings.simplefilter("ignore")
import torch
from monai.bundle import ConfigParser, load
results = {}
for bundle in pathlib.Path(sys.argv[2]).iterdir():
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs/inference.json"))
    parser.read_meta(str(bundle / "configs/metadata.json"))
    parser["bundle_root"] = str(bundle)
    network = parser.get_parsed_content("network_def")
    scores = parser.get_parsed_content("inferer")(torch.load(bundle / "images.pt"), network)
    weights = torch.load(bundle / "models/model.pt", weights_only=True)
    same = all(torch.equal(weights[name], values) for name, values in network.state_dict().items())
    _, metadata, _ = load(bundle.name, bundle_dir=bundle.parent, load_ts_module=True)
    results[bundle.name] = {"scores": scores.tolist(), "weights": same, "version": metadata["version"]}
print(json.dumps(results))
"""


def stored(folder, overrides=STUDIES["cnn"], round_number=None):
    """A model of random numbers in a run's folder."""
    study = compose_run(overrides).study
    network = build_network(study.model, study.task)
    start = get_parameters(network)
    noise = np.random.default_rng(0).normal(0, 0.1, start.size).astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.json").write_text(study.canonical_json)
    manifest = Registry(folder, study, layout_of(network)).keep(
        start + noise,
        round_number=round_number,
        parent=None,
        participants=("alder", "birch"),
        epsilon={"alder": 1.5, "birch": None},
    )
    return find_model(folder.parent, manifest.version)


@pytest.fixture
def model(tmp_path):
    return stored(tmp_path / "runs" / "a")


@pytest.fixture(params=STUDIES)
def any_model(request, tmp_path):
    return stored(tmp_path / "runs" / "a", STUDIES[request.param])


def scores(model, count):
    with torch.no_grad():
        return model.network()(some_input(model.study.task, count))


def test_safetensors_are_the_very_bytes_and_load_by_name(model, tmp_path):
    export_model(model, "safetensors", tmp_path / "out")
    assert (tmp_path / "out/model.safetensors").read_bytes() == model.path.read_bytes()
    network = build_network(model.study.model, model.study.task)
    network.load_state_dict(load_file(tmp_path / "out/model.safetensors"), strict=True)
    assert torch.equal(network.eval()(some_input(model.study.task, 2)), scores(model, 2))


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
def test_torchscript_gives_the_same_scores_and_carries_its_facts(any_model, tmp_path):
    export_model(any_model, "torchscript", tmp_path / "out")
    carried = {programs.FACTS: ""}
    program = torch.jit.load(tmp_path / "out/model.ts", _extra_files=carried)
    for count in (1, 7):
        program_scores = program(some_input(any_model.study.task, count))
        assert torch.allclose(program_scores, scores(any_model, count), atol=1e-5, rtol=0)
    told = json.loads(carried[programs.FACTS])
    assert told["version"] == any_model.manifest.version
    assert told["sha256"] == any_model.manifest.sha256
    assert told["classes"] == list(any_model.study.task.classes)


def test_an_exported_program_takes_batches_of_any_size(any_model, tmp_path):
    export_model(any_model, "torch_export", tmp_path / "out")
    carried = {programs.FACTS: ""}
    program = torch.export.load(tmp_path / "out/model.pt2", extra_files=carried).module()
    for count in (1, 7):
        program_scores = program(some_input(any_model.study.task, count))
        assert torch.allclose(program_scores, scores(any_model, count), atol=1e-5, rtol=0)
    assert json.loads(carried[programs.FACTS])["study_id"] == any_model.study.id


@pytest.mark.deployment  # for its time
def test_a_monai_bundle_works_where_this_project_is_not(tmp_path):
    models = {name: stored(tmp_path / "runs" / name, STUDIES[name]) for name in STUDIES}
    for name, model in models.items():
        export_model(model, "monai_bundle", tmp_path / "bundles" / name)
        torch.save(some_input(model.study.task, 3), tmp_path / "bundles" / name / "images.pt")
    told = subprocess.run(
        [sys.executable, "-c", ALONE, str(ROOT), str(tmp_path / "bundles")],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    results = json.loads(told.stdout.splitlines()[-1])
    assert set(results) == set(STUDIES)
    for name, result in results.items():
        assert np.allclose(result["scores"], scores(models[name], 3).numpy(), atol=1e-5, rtol=0)
        assert result["weights"]
        assert result["version"] == models[name].manifest.version


def test_a_bundle_says_what_monai_wants_to_know(model, tmp_path):
    export_model(model, "monai_bundle", tmp_path / "out")
    metadata = json.loads((tmp_path / "out/configs/metadata.json").read_text())
    assert set(metadata) >= {
        "schema",
        "version",
        "changelog",
        "monai_version",
        "pytorch_version",
        "numpy_version",
        "required_packages_version",
        "task",
        "description",
        "authors",
        "copyright",
        "network_data_format",
    }
    image = metadata["network_data_format"]["inputs"]["image"]
    assert (image["num_channels"], image["spatial_shape"]) == (1, [64, 64])
    assert metadata["network_data_format"]["outputs"]["pred"]["channel_def"] == {
        "0": "benign",
        "1": "malignant",
    }
    assert model.manifest.version in (tmp_path / "out/docs/README.md").read_text()


@pytest.mark.parametrize("kind", get_args(Format))
def test_every_format_says_where_the_model_is_from(model, tmp_path, kind):
    export_model(model, kind, tmp_path / "out")
    papers = tmp_path / "out" / ("docs" if kind == "monai_bundle" else "")
    assert json.loads((papers / "manifest.json").read_text()) == model.manifest.model_dump(mode="json")
    assert (papers / "study.json").read_text() == model.study.canonical_json


def test_the_runs_card_goes_with_the_released_model_only(tmp_path):
    released = stored(tmp_path / "runs" / "a")
    earlier = stored(tmp_path / "runs" / "a", round_number=3)
    (released.run / "model_card.md").write_text("# What the run says\n")
    export_model(released, "safetensors", tmp_path / "released")
    export_model(earlier, "safetensors", tmp_path / "earlier")
    assert (tmp_path / "released/model_card.md").read_text().startswith("# What the run says\n")
    own = (tmp_path / "earlier/model_card.md").read_text()
    assert own.startswith(f"# {earlier.manifest.version}\n")
    assert "after round 3" in own
    assert "alder: 1.50; birch: none was promised" in own


def test_nothing_is_written_over_but_an_empty_folder_is_taken(model, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    for taken in ("full", "file"):
        with pytest.raises(ConfigError, match="is not an empty folder"):
            export_model(model, "safetensors", tmp_path / taken)
    assert [file.name for file in (tmp_path / "full").iterdir()] == ["mine.txt"]
    export_model(model, "safetensors", tmp_path / "empty")
    assert (tmp_path / "empty/model.safetensors").exists()


@pytest.mark.parametrize("kind", ["torchscript", "torch_export", "monai_bundle"])
def test_a_program_with_other_scores_is_refused_and_nothing_is_left(model, tmp_path, kind, monkeypatch):
    class Off(torch.nn.Module):
        def forward(self, images):
            return model.network()(images) + 2e-5

        def module(self):
            return self

    monkeypatch.setattr(programs._jit, "load", lambda _: Off())
    monkeypatch.setattr(torch.export, "load", lambda _: Off())
    with pytest.raises(ConfigError, match="scores that are 2e-05 off"):
        export_model(model, kind, tmp_path / "exports" / "out")
    assert list((tmp_path / "exports").iterdir()) == []


def test_a_changed_model_is_not_exported(model, tmp_path):
    model.path.write_bytes(model.path.read_bytes()[:-1] + b"\x01")
    for kind in get_args(Format):
        with pytest.raises(DataError, match="SHA-256"):
            export_model(model, kind, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_disk_that_takes_nothing_is_said(model, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match="could not be written"):
        export_model(model, "safetensors", tmp_path / "file" / "out")


@pytest.mark.parametrize("convert", [torchscript, exported_program])
def test_a_network_that_decides_by_its_images_is_refused(model, convert):
    class Moody(torch.nn.Module):
        def forward(self, images):
            return images.mean((1, 2, 3)) if images.mean() > 0 else images.sum((1, 2, 3))

    with pytest.raises(ConfigError, match="cannot hold this network"):
        convert(Moody(), model.study.task, facts(model))
