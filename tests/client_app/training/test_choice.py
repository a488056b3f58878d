"""The engine is chosen once for a network, and by everybody alike."""

import json
from threading import Barrier, Thread

import pytest
import torch
from torch import nn

from client_app.training import choice
from client_app.training.choice import choose_engine
from client_app.training.engines import ENGINES
from federation.errors import PrivacyError
from federation.models import build_network


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WARDROUND_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def ask(make_study):
    """The choice for a study of squares with changes."""
    study = make_study()
    network = build_network(study.model, study.task)
    images = torch.randn(3, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    return lambda **changes: choose_engine(make_study(**changes), network, images)


@pytest.fixture
def seconds(monkeypatch):
    """What each engine is found to take; None where it cannot."""
    taken = dict.fromkeys(ENGINES, 1.0)
    monkeypatch.setattr(choice, "_seconds", lambda name, *_, **__: taken[name])
    return taken


def test_a_real_measurement_is_remembered(cache, ask):
    chosen = ask()
    (file,) = cache.glob("engine-*.json")
    assert json.loads(file.read_text()) == chosen
    assert chosen in ENGINES


@pytest.mark.parametrize(
    ("other", "chosen"),
    [(0.84, "functional"), (0.86, "book_keeping"), (2.0, "book_keeping"), (None, "book_keeping")],
)
def test_only_a_clear_gain_changes_the_engine(other, chosen, cache, ask, seconds):
    seconds["functional"] = other
    assert ask() == chosen


def test_where_book_keeping_cannot_another_does(cache, ask, seconds):
    seconds["book_keeping"], seconds["hooks"] = None, 0.5
    assert ask() == "hooks"


def test_the_first_choice_stands(cache, ask, seconds):
    assert ask() == "book_keeping"
    seconds["hooks"] = 0.1
    assert ask() == "book_keeping"
    assert ask(model={"arguments": {"channels": [4, 8]}}) == "hooks"


def test_threads_that_ask_at_once_agree(cache, ask, monkeypatch):
    """Measurements that differ from one to the next, as real ones do."""
    start, answers = Barrier(8), []
    draws = iter(range(1000))
    monkeypatch.setattr(choice, "_seconds", lambda *_, **__: (next(draws) * 7 % 13) / 13 + 0.01)

    def together():
        start.wait()
        answers.append(ask())

    threads = [Thread(target=together) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert len(set(answers)) == 1


def test_a_damaged_memory_is_made_again(cache, ask, seconds):
    ask()
    (file,) = cache.glob("engine-*.json")
    file.write_text('"no engine"')
    seconds["hooks"] = 0.1
    assert ask() == "hooks"


def test_without_a_memory_nothing_is_measured(tmp_path, ask, monkeypatch, seconds):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WARDROUND_CACHE", str(tmp_path / "file" / "below"))
    seconds["hooks"] = 0.1
    assert ask() == "book_keeping"


def test_a_head_alone_and_a_study_without_privacy_need_no_measurement(
    cache, ask, make_study, no_privacy, seconds
):
    seconds["hooks"] = 0.1
    assert (
        choose_engine(make_study(model={"trainable": "head"}), nn.Linear(3, 2), torch.randn(3, 3))
        == "book_keeping"
    )
    assert ask(privacy=no_privacy) == "book_keeping"
    assert not list(cache.iterdir())


def test_a_network_that_no_engine_can_do_is_refused(cache, ask, seconds):
    seconds.update(dict.fromkeys(seconds, None))
    with pytest.raises(PrivacyError, match=r"none of the engines .*; choose another model"):
        ask()
