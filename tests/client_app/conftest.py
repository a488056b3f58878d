"""A toy task, studies of it, and hospitals that hold it."""

import asyncio
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI

from client_app.custodian.custodian import Custodian
from client_app.custodian.keys import SiteKeys
from client_app.custodian.server import serve_until
from client_app.custodian.service import relay_app
from client_app.custodian.web import Limits
from client_app.site import SiteConfig
from client_app.training.batches import Patients
from client_app.training.local_round import LocalTraining
from federation.messages import Parameters, Reply, Request
from federation.models import build_network, get_parameters
from federation.probe import answers
from federation.schema import validated
from federation.secure_sum.roster import Roster, SiteKey
from federation.study import Study
from federation.tasks import load_task

SECRET = bytes(range(32))
STUDY: dict[str, Any] = {
    "name": "squares",
    "title": "Squares",
    "purpose": "test",
    "task": {
        "name": "squares",
        "package": "toy_task",
        "classes": ["plain", "square"],
        "channels": 1,
        "image_size": [12, 12],
    },
    "model": {
        "name": "tiny",
        "network": "monai.Classifier",
        "arguments": {
            "channels": [4, 4],
            "strides": [2, 2],
            "num_res_units": 1,
            "act": "relu",
            "norm": ["group", {"num_groups": 2}],
        },
    },
    "pretraining": {},
    "privacy": {
        "mode": "local",
        "epsilon": 8.0,
        "delta": 1e-5,
        "clipping_norm": 1.0,
        "sampling_rate": 1.0,
    },
    "strategy": {"name": "fedavg"},
    "training": {"steps": 2, "learning_rate": 0.1},
    "rounds": 4,
    "quorum": 1,
    "participants": ["alder", "birch"],
}
SITE: dict[str, Any] = {
    "name": "alder",
    "data": {"parts": [0], "of": 2},
    "policy": {
        "purposes": ["test"],
        "tasks": ["toy_task"],
        "networks": ["monai.*"],
        "privacy_modes": ["local", "none"],
        "aggregation": ["plain"],
        "metrics": ["score_histograms"],
        "task_options": "any",
        "maximum_epsilon": 10.0,
        "maximum_delta": 1e-4,
        "lifetime": {"epsilon": 30.0, "delta": 1e-5, "against": "everybody"},
        "minimum_patients": 20,
        "minimum_hospitals": 1,
    },
    "approval": "configuration",
}


def changed(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``values`` with ``changes``; a mapping changes only the keys it names."""
    merged = dict(values)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = changed(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


@pytest.fixture(autouse=True, scope="session")
def _toy_task_is_installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """With one cache for the session, so that a study is rehearsed once; a chosen one is left as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        if "WARDROUND_CACHE" not in os.environ:
            patch.setenv("WARDROUND_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def make_study() -> Callable[..., Study]:
    """A study of squares with changes, e.g. ``make_study(privacy={"epsilon": 3})``."""
    return lambda **changes: validated(Study, changed(STUDY, changes), "study")


@pytest.fixture(scope="session")
def make_site() -> Callable[..., SiteConfig]:
    """Hospital alder with changes, e.g. ``make_site(policy={"minimum_patients": 30})``."""
    return lambda **changes: validated(SiteConfig, changed(SITE, changes), "site")


@pytest.fixture(scope="session")
def no_privacy() -> dict[str, Any]:
    """What ``make_study(privacy=...)`` takes for a study without a promise."""
    return {"mode": "none", "epsilon": None, "delta": None, "clipping_norm": None}


@pytest.fixture(scope="session")
def squares() -> Patients:
    """24 patients with one to three images."""
    return Patients(load_task("toy_task", {}).cohort(0, 2).train)


@pytest.fixture(scope="session")
def start_of() -> Callable[[Study], Parameters]:
    """The study's seeded random model."""
    return lambda study: get_parameters(build_network(study.model, study.task))


@pytest.fixture(scope="session")
def make_training(squares: Patients) -> Callable[..., LocalTraining]:
    """A hospital's training, of ``kind``, which is the real one or a mutant of it."""

    def make(
        study: Study,
        kind: type[LocalTraining] = LocalTraining,
        secret: bytes = SECRET,
        patients: Patients = squares,
    ) -> LocalTraining:
        network = build_network(study.model, study.task)
        return kind(study, network, patients, expected_patients=20, secret=secret)

    return make


@pytest.fixture
def make_custodian(tmp_path: Path, make_site: Callable[..., SiteConfig]) -> Callable[..., Custodian]:
    """The custodian of hospital alder in the test's folder; a second one is the first after a restart."""

    def make(secret: bytes = SECRET, folder: Path = tmp_path, **changes: Any) -> Custodian:
        return Custodian(make_site(**changes), folder, SiteKeys.of(secret))

    return make


@pytest.fixture
def another_model(start_of: Callable[[Study], Parameters]) -> Callable[[Study, int], Parameters]:
    """A model near the study's first one, for each seed another."""

    def make(study: Study, seed: int) -> Parameters:
        start = start_of(study)
        return start + np.random.default_rng(seed).normal(scale=0.1, size=start.shape).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def make_roster() -> Callable[..., Roster]:
    """``make_roster(own, version, **others)``: a site, beech, cedar and ``others``, with their keys."""

    def make(own: SiteKey, version: int = 1, coordinator: bytes = SECRET, **others: str) -> Roster:
        keys = {own.site: own.key, "beech": "be" * 32, "cedar": "ce" * 32} | others
        return Roster.signed(Ed25519PrivateKey.from_private_bytes(coordinator), version, keys)

    return make


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[object, timedelta], None]:
    """``set_clock(module, by)``: what the module takes for now is off by so much."""

    def shifted(module: object, by: timedelta) -> None:
        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return datetime.now(tz) + by

        monkeypatch.setattr(module, "datetime", Clock)

    return shifted


@contextmanager
def served(path: Path, app: FastAPI) -> Iterator[None]:
    """uvicorn on a real socket, in a thread of its own."""
    loop, stopping = asyncio.new_event_loop(), asyncio.Event()
    serving = serve_until(stopping, {path: app})
    thread = threading.Thread(target=loop.run_until_complete, args=(serving,))
    thread.start()
    try:
        while thread.is_alive() and not answers(str(path)):
            threading.Event().wait(0.01)
        yield
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def serve_for_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Path]]:
    """As ``serve_relay``, until the module's tests are done."""
    with ExitStack() as stack:

        def start(handle: Callable[[Request], Reply], **limits: Any) -> Path:
            path = tmp_path_factory.mktemp("socket") / "relay.sock"
            stack.enter_context(served(path, relay_app(handle, Limits(**limits))))
            return path

        yield start


@pytest.fixture
def serve_relay(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Serve ``relay_app`` of a handle, with some ``Limits``, on a socket whose path comes back."""
    with ExitStack() as stack:

        def start(handle: Callable[[Request], Reply], **limits: Any) -> Path:
            path = tmp_path / f"{len(list(tmp_path.glob('*.sock')))}.sock"
            stack.enter_context(served(path, relay_app(handle, Limits(**limits))))
            return path

        yield start


@pytest.fixture
def serve_app(tmp_path: Path) -> Iterator[Callable[[Path, FastAPI], None]]:
    """Serve an app on a socket until the test ends."""
    with ExitStack() as stack:
        yield lambda path, app: stack.enter_context(served(path, app))


@pytest.fixture(scope="session")
def write_hospital() -> Callable[..., Path]:
    """Write alder's ``site.yaml``, with changes: its people decide, and its state is in ``folder``."""

    def write(folder: Path, **changes: Any) -> Path:
        values = SITE | {
            "approval": "operator",
            "declared_patients": 20,
            "description": "Squares from one machine",
            "service": {
                "folder": str(folder / "state"),
                "relay": str(folder / "relay" / "relay.sock"),
                "admin": str(folder / "admin" / "admin.sock"),
            },
        }
        file = folder / "site.yaml"
        file.write_text(json.dumps(changed(values, changes)))
        return file

    return write
