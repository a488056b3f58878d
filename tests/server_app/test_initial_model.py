import logging
import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from federation import tasks
from federation.errors import ConfigError, DataError
from federation.files import write_whole
from federation.head import head_of
from federation.models import build_network, get_parameters, layout_of, set_parameters
from federation.tasks import Examples
from server_app import initial_model as module
from server_app.initial_model import initial_model
from server_app.registry import Registry


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WARDROUND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def task(monkeypatch):
    """A task whose phantoms are bright for one class and dark for the other; not rendered, so fast."""

    class Task:
        shift = 0.0
        cohort = read_image = None  # nobody asks

        def public_examples(self, count, seed):
            draw = np.random.default_rng(seed)
            targets = np.arange(count) % 2
            images = draw.normal(size=(count, 1, 16, 16)) * 0.1 + (targets * 2 - 1)[:, None, None, None]
            images = (images + self.shift).astype(np.float32)
            return Examples(images, targets, np.arange(count), {})

    task, package = Task(), ModuleType("a_task")
    package.create = lambda options, folder: task
    monkeypatch.setitem(sys.modules, "a_task", package)
    tasks._load_task.cache_clear()
    return task


@pytest.fixture
def study(study, task):
    """Phantoms of the task above, 32 of them, seen once."""
    return study.model_copy(
        update={
            "task": study.task.model_copy(update={"package": "a_task", "image_size": (16, 16)}),
            "pretraining": study.pretraining.model_copy(
                update={"source": "phantom", "examples": 32, "epochs": 1, "batch_size": 8}
            ),
        }
    )


@pytest.fixture
def trainings(monkeypatch):
    """How often a model was pretrained."""
    times = []

    def counted(*arguments):
        times.append(1)
        return pretrain(*arguments)

    pretrain = module.pretrain
    monkeypatch.setattr(module, "pretrain", counted)
    return times


def pretrained(study, **changes):
    return study.model_copy(update={"pretraining": study.pretraining.model_copy(update=changes)})


def random(study):
    return get_parameters(build_network(study.model, study.task))


def head_values(study, values):
    network = build_network(study.model, study.task)
    set_parameters(network, values)
    return np.concatenate([p.detach().numpy().ravel() for p in head_of(network, study.model).parameters()])


def test_random_is_the_network_as_it_is_built_and_touches_no_cache(cache, study):
    assert np.array_equal(initial_model(pretrained(study, source="random")), random(study))
    assert not cache.exists()


def test_phantoms_teach_something_to_every_layer(cache, study):
    learnt = initial_model(pretrained(study, keep="all"))
    start, names = 0, []
    for name, shape in layout_of(build_network(study.model, study.task)).shapes:
        stop = start + int(np.prod(shape, dtype=int))
        if np.array_equal(learnt[start:stop], random(study)[start:stop]):
            names.append(name)
        start = stop
    assert names == []
    assert learnt.dtype == np.float32


def test_features_start_with_a_head_of_zeros_and_all_keeps_the_head(cache, study):
    features, everything = (initial_model(pretrained(study, keep=keep)) for keep in ("features", "all"))
    assert not head_values(study, features).any()
    assert head_values(study, everything).all()
    size = len(head_values(study, features))
    assert np.array_equal(features[:-size], everything[:-size]), "the rest is the same"


def test_it_is_computed_once_whatever_of_it_is_kept(cache, study, trainings):
    first = initial_model(study)
    assert np.array_equal(initial_model(study), first)
    initial_model(pretrained(study, keep="all"))
    assert len(trainings) == 1


def test_a_damaged_cache_is_named_and_trained_again_to_the_same_bits(cache, study, trainings, caplog):
    first = initial_model(study)
    (file,) = cache.glob("initial-*")
    content = file.read_bytes()
    file.write_bytes(content[:-8] + bytes(8))
    with caplog.at_level(logging.WARNING):
        assert initial_model(study).tobytes() == first.tobytes()
    assert str(file) in caplog.text
    assert "damaged" in caplog.text
    assert len(trainings) == 2
    assert file.read_bytes() == content


def test_other_phantoms_are_another_model(cache, study, task, trainings):
    first = initial_model(study)
    task.shift = 1e-3
    assert not np.array_equal(initial_model(study), first)
    assert len(trainings) == 2


@pytest.mark.parametrize(
    "changes", [{"seed": 1}, {"epochs": 2}, {"learning_rate": 0.01}, {"examples": 40}, {"batch_size": 16}]
)
def test_another_recipe_is_another_model(cache, study, trainings, changes):
    assert not np.array_equal(initial_model(study), initial_model(pretrained(study, **changes)))
    assert len(trainings) == 2


def test_what_patients_may_change_later_does_not_change_what_phantoms_teach(cache, study, trainings):
    first = initial_model(study)
    unfrozen = study.model_copy(update={"model": study.model.model_copy(update={"trainable": "all"})})
    assert np.array_equal(initial_model(unfrozen), first)
    assert len(trainings) == 1


def test_a_task_without_a_generator_says_so(study, task):
    def none(count, seed):
        raise DataError("this task has no generator; say pretraining.source=random")

    task.public_examples = none
    with pytest.raises(DataError, match="has no generator"):
        initial_model(study)


def test_a_task_that_does_not_exist_is_named(study):
    missing = study.model_copy(update={"task": study.task.model_copy(update={"package": "tasks.missing"})})
    with pytest.raises(ConfigError, match=r"tasks\.missing"):
        initial_model(missing)


def test_examples_do_not_touch_which_parameters_learn(study, task):
    network = build_network(study.model, study.task)
    before = [p.requires_grad for p in network.parameters()]
    module.pretrain(network, replace(task.public_examples(8, 0)), study.pretraining)
    assert [p.requires_grad for p in network.parameters()] == before
    assert all(p.grad is None for p in network.parameters())


def kept(runs, study, parameters):
    folder = runs / "earlier"
    write_whole(folder / "study.json", study.canonical_json.encode())
    layout = layout_of(build_network(study.model, study.task))
    return Registry(folder, study, layout).keep(
        parameters, round_number=None, parent=None, participants=(), epsilon={}
    )


def test_more_rounds_start_from_the_very_model_that_the_study_names(study, tmp_path):
    parameters = random(study) + np.float32(1)
    version = kept(tmp_path, study, parameters).version
    later = study.model_copy(update={"start_from": version})
    assert np.array_equal(initial_model(later, tmp_path), parameters)
    assert later.id != study.id


def test_a_model_that_is_not_there_is_named(study, tmp_path):
    missing = study.model_copy(update={"start_from": f"{study.name}-final-{'0' * 12}"})
    with pytest.raises(ConfigError, match=r"final-000000000000' is not in"):
        initial_model(missing, tmp_path)


def test_a_model_of_another_network_is_refused(study, tmp_path):
    version = kept(tmp_path, study, random(study)).version
    classes = ("none", "some", "much")
    other = study.model_copy(
        update={"start_from": version, "task": study.task.model_copy(update={"classes": classes})}
    )
    with pytest.raises(ConfigError, match="and this study trains"):
        initial_model(other, tmp_path)
