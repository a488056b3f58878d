import hashlib
import json
import resource
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save, save_file

from federation.errors import DataError, StorageError
from federation.models import Layout, build_network, get_parameters, set_parameters
from federation.stored_models import read_model
from server_app.registry import Registry

EPSILON = {"alder": 1.5, "birch": None}


@pytest.fixture
def registry(tmp_path, study, layout):
    return Registry(tmp_path, study, layout)


@pytest.fixture
def parameters(layout):
    return np.random.default_rng(0).normal(size=layout.size).astype(np.float32)


def keep(registry, parameters, round_number=1, parent=None):
    return registry.keep(
        parameters, round_number=round_number, parent=parent, participants=("alder",), epsilon=EPSILON
    )


def test_a_model_comes_back_bit_by_bit(registry, parameters, layout, tmp_path):
    keep(registry, parameters)
    again = registry.read(1)
    assert again.dtype == np.float32
    assert again.tobytes() == parameters.tobytes()


def test_anybody_can_load_it_into_the_network_by_name(registry, parameters, study, tmp_path):
    keep(registry, parameters)
    tensors = load_file(tmp_path / "models" / "round-001.safetensors")
    by_name, by_position = (build_network(study.model, study.task) for _ in range(2))
    by_name.load_state_dict({name: torch.from_numpy(values) for name, values in tensors.items()}, strict=True)
    set_parameters(by_position, parameters)
    assert np.array_equal(get_parameters(by_name), get_parameters(by_position))


def test_the_manifest_says_where_the_model_comes_from(registry, parameters, study, tmp_path):
    keep(registry, parameters, parent="older")
    manifest = json.loads((tmp_path / "models" / "round-001.json").read_text())
    content = (tmp_path / "models" / "round-001.safetensors").read_bytes()
    assert manifest == {
        "version": f"nodule_ct-round-001-{hashlib.sha256(content).hexdigest()[:12]}",
        "parent": "older",
        "study": "nodule_ct",
        "study_id": study.id,
        "round": 1,
        "participants": ["alder"],
        "epsilon": EPSILON,
        "delta": study.privacy.delta,
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def test_the_released_model_has_a_name_of_its_own(registry, parameters, tmp_path):
    assert keep(registry, parameters, round_number=None).version.startswith("nodule_ct-final-")
    assert sorted(file.name for file in (tmp_path / "models").iterdir()) == [
        "final.json",
        "final.safetensors",
    ]


def test_equal_models_are_equal_files_and_other_models_other_versions(registry, parameters, tmp_path):
    first, second = keep(registry, parameters, 1), keep(registry, parameters.copy(), 2)
    other = keep(registry, np.nextafter(parameters, np.float32(9)), 2)
    assert first.sha256 == second.sha256 != other.sha256
    assert second.version != other.version


@pytest.mark.parametrize(
    "tensors",
    [
        lambda tensors: dict(list(tensors.items())[1:]),
        lambda tensors: {**tensors, "extra": np.zeros(1, np.float32)},
        lambda tensors: {name: values.reshape(-1) for name, values in tensors.items()},
        lambda tensors: {name: values.astype(np.float64) for name, values in tensors.items()},
    ],
    ids=["one missing", "one too many", "other shapes", "float64"],
)
def test_a_file_of_another_network_is_refused_by_name(registry, parameters, layout, tmp_path, tensors):
    keep(registry, parameters)
    file = tmp_path / "models" / "round-001.safetensors"
    save_file(tensors(load_file(file)), file)
    with pytest.raises(DataError, match="round-001"):
        read_model(file, layout, hashlib.sha256(file.read_bytes()).hexdigest())


def test_a_file_that_was_changed_is_refused_by_name(registry, parameters, tmp_path):
    keep(registry, parameters)
    file = tmp_path / "models" / "round-001.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"round-001.*the file was changed"):
        registry.read(1)


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"{}" * 100], ids=["empty", "pickle", "rubbish"])
def test_what_is_no_safetensors_file_is_refused(tmp_path, layout, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(DataError, match=r"model\.safetensors"):
        read_model(tmp_path / "model.safetensors", layout, hashlib.sha256(content).hexdigest())


@contextmanager
def full_disk(bytes_a_file):
    """A real fault: the operating system takes no more than so many bytes a file."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_a_file, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


def test_a_full_disk_is_said_and_leaves_the_old_model_whole_and_no_scrap(registry, parameters, tmp_path):
    keep(registry, parameters)
    before = {file.name: file.read_bytes() for file in (tmp_path / "models").iterdir()}
    with (
        full_disk(400),
        pytest.raises(StorageError, match=r"round-001\.safetensors could not be written \(File too large\)"),
    ):
        keep(registry, 2 * parameters)
    assert {file.name: file.read_bytes() for file in (tmp_path / "models").iterdir()} == before


def test_a_disk_that_has_room_for_the_model_but_not_its_manifest_leaves_no_half_manifest(study, tmp_path):
    model = np.zeros(1000, np.float32)
    registry = Registry(tmp_path, study, Layout((("w", (1000,)),), frozenset("w")))
    many = {f"hospital_{number:04d}": 1.0 for number in range(400)}
    with (
        full_disk(len(save({"w": model}))),
        pytest.raises(StorageError, match=r"round-001\.json could not be written"),
    ):
        registry.keep(model, round_number=1, parent=None, participants=tuple(many), epsilon=many)
    assert [file.name for file in (tmp_path / "models").iterdir()] == ["round-001.safetensors"]
