import hashlib
import json
import shutil

import numpy as np
import pytest
import torch

from federation.errors import ConfigError, DataError
from federation.models import build_network, set_parameters
from server_app.library import find_model, stored_models
from server_app.registry import Registry


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def make_run(runs, study, layout):
    """``make_run("a", seed=1)``: a run of two rounds with models that follow from the seed."""

    def make(name, seed=0, released=True):
        folder = runs / name
        folder.mkdir(parents=True)
        (folder / "study.json").write_text(study.canonical_json)
        registry, draw = Registry(folder, study, layout), np.random.default_rng(seed)
        return [
            registry.keep(
                draw.normal(size=layout.size).astype(np.float32),
                round_number=number,
                parent=None,
                participants=("alder",),
                epsilon={"alder": 1.0},
            )
            for number in ((1, 10, None) if released else (1, 10))
        ]

    return make


def versions(models):
    return [model.manifest.version for model in models]


def test_the_models_of_all_runs_are_listed_rounds_first(runs, make_run):
    made = make_run("b", seed=1), make_run("sweep/a", seed=2)
    assert versions(stored_models(runs)) == [manifest.version for run in made for manifest in run]
    assert [model.run.name for model in stored_models(runs)] == ["b"] * 3 + ["a"] * 3


def test_what_a_comparison_trained_is_not_listed_and_not_found(runs, make_run):
    make_run("a", seed=1)
    hidden = make_run("a/comparison/alone", seed=2)[-1]
    assert len(stored_models(runs)) == 3
    with pytest.raises(ConfigError, match="is not in"):
        find_model(runs, hidden.version)


def test_the_link_to_the_latest_run_lists_nothing_twice(runs, make_run):
    make_run("a")
    (runs / "latest").symlink_to("a", target_is_directory=True)
    assert len(stored_models(runs)) == 3


def test_a_model_is_found_by_its_version_or_the_beginning_of_it(runs, make_run):
    first, _, final = make_run("a")
    make_run("b", seed=1)
    assert find_model(runs, final.version).path == runs / "a/models/final.safetensors"
    assert find_model(runs, first.version[:-4]).manifest == first


def test_latest_is_what_the_last_run_released(runs, make_run):
    make_run("b", seed=1)
    final = make_run("a", seed=2)[-1]
    (runs / "latest").symlink_to("a", target_is_directory=True)
    assert find_model(runs, "latest").manifest == final


def test_latest_without_a_released_model_says_so(runs, make_run):
    make_run("a", released=False)
    (runs / "latest").symlink_to("a", target_is_directory=True)
    with pytest.raises(ConfigError, match="has released no model"):
        find_model(runs, "latest")
    with pytest.raises(ConfigError, match="has released no model"):
        find_model(runs / "nowhere", "latest")


def test_a_misspelt_version_names_the_nearest_and_an_ambiguous_one_all(runs, make_run):
    first, second, final = make_run("a")
    with pytest.raises(ConfigError, match=f"did you mean '{final.version}'"):
        find_model(runs, final.version.replace("final", "fimal"))
    with pytest.raises(ConfigError, match="beginning of 2: ") as caught:
        find_model(runs, "nodule_ct-round")
    assert first.version in str(caught.value)
    assert second.version in str(caught.value)


def test_equal_models_of_repeated_runs_are_one_model(runs, make_run):
    final = make_run("a")[-1]
    make_run("b")
    assert find_model(runs, final.version).run == runs / "b"


def test_the_network_is_the_models(runs, make_run, study):
    final = make_run("a")[-1]
    model, other = find_model(runs, final.version), build_network(study.model, study.task)
    set_parameters(other, model.parameters())
    images = torch.rand(2, study.task.channels, *study.task.image_size)
    assert torch.equal(model.network()(images), other(images))
    assert not model.network().training


def test_a_changed_model_is_refused_by_name(runs, make_run):
    final = make_run("a")[-1]
    model = find_model(runs, final.version)
    # Another model of the same shapes, which nothing but the sum tells apart.
    shutil.copy(runs / "a/models/round-001.safetensors", model.path)
    for read in (model.parameters, model.network):
        with pytest.raises(DataError, match=r"final\.safetensors has SHA-256"):
            read()
    model.path.unlink()
    with pytest.raises(DataError, match=r"final\.safetensors cannot be read"):
        model.parameters()


def test_a_bad_study_is_said_and_hides_no_other_model(runs, make_run, study):
    final, other = make_run("a")[-1], make_run("b", seed=1)[-1]
    changed = study.model_copy(update={"rounds": 3}).canonical_json
    (runs / "a/study.json").write_text(changed)
    with pytest.raises(DataError, match=r"study\.json is study .* one of the files was changed"):
        find_model(runs, final.version).parameters()
    assert find_model(runs, other.version).study == study


def test_a_study_of_another_version_is_said(runs, make_run, study):
    final = make_run("a")[-1]
    values = {**json.loads(study.canonical_json), "later": 1}
    (runs / "a/study.json").write_text(json.dumps(values))
    study_id = hashlib.sha256((runs / "a/study.json").read_bytes()).hexdigest()
    manifest = final.model_copy(update={"study_id": study_id})
    (runs / "a/models/final.json").write_text(manifest.model_dump_json())
    with pytest.raises(DataError, match=r"study\.json is no study of this version"):
        find_model(runs, final.version).parameters()


def test_a_manifest_that_is_none_is_named(runs, make_run):
    make_run("a")
    (runs / "a/models/final.json").write_text("{}")
    with pytest.raises(DataError, match=r"final\.json cannot be read as a model's manifest"):
        stored_models(runs)
