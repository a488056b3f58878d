"""Hospitals that behave as a test says, on real nodes of a real grid."""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from federation.audit_log import BEFORE_THE_FIRST, AuditHead, sign_head
from federation.config import RunConfig, compose_run
from federation.messages import (
    BINS,
    DescribeReply,
    DescribeRequest,
    EvaluateReply,
    EvaluateRequest,
    Record,
    TrainReply,
    from_content,
    to_content,
)
from federation.models import build_network, layout_of
from server_app.audit_heads import HeadBook
from simulation.inline_grid import run_apps

TINY = (
    "pretraining.source=random",
    "model.arguments.channels=[4,8]",
    "model.arguments.strides=[4,4]",
    "model.arguments.norm=[group,{num_groups: 2}]",
    "rounds=2",
    "training.steps=2",
    "compare=false",
    "audit=false",
    "aggregation=plain",
)
# The same over a task of noise that takes no time, and repeatable.
NOISE = (
    *TINY,
    "model.arguments.strides=[2,2]",
    "task.package=tiny_task",
    "site.policy.tasks=[tiny_task]",
    "task.image_size=[8,8]",
    "~task.options.label",
    "seed=1",
)
SITES = ("alder", "birch", "cedar", "dogwood")

Outgoing = Record | RecordDict | Message
OnGrid = Callable[..., Any]


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory):
    """One cache for the session, so that images are rendered once; a chosen one is left as it is."""
    with pytest.MonkeyPatch.context() as patch:
        if "WARDROUND_CACHE" not in os.environ:
            patch.setenv("WARDROUND_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@dataclass(frozen=True)
class Hospital:
    """What a node answers: honestly, unless ``describe``, ``train`` or ``evaluate`` change its reply."""

    site: str
    change: float = 1.0
    patients: int = 100
    trainable: int = 18
    describe: Callable[[DescribeReply], Outgoing] = lambda reply: reply
    train: Callable[[TrainReply], Outgoing] = lambda reply: reply
    healthy: tuple[float, ...] = (90.0, *[0.0] * (BINS - 2), 10.0)
    diseased: tuple[float, ...] = (10.0, *[0.0] * (BINS - 2), 90.0)
    evaluate: Callable[[EvaluateReply], Outgoing] = lambda reply: reply

    def answer(self, message: Message) -> Outgoing:
        request: Any = from_content(message.content)
        if isinstance(request, DescribeRequest):
            return self.describe(DescribeReply(site=self.site, declared_patients=self.patients))
        if isinstance(request, EvaluateRequest):
            reply = EvaluateReply(site=self.site, healthy=self.healthy, diseased=self.diseased)
            return self.evaluate(reply)
        parameters = np.full(self.trainable, self.change, dtype=np.float32)
        steps = request.round * request.study.training.steps
        return self.train(TrainReply(site=self.site, round=request.round, steps=steps, parameters=parameters))


def head_of(site: str, sequence: int = 0, digest: str = BEFORE_THE_FIRST) -> AuditHead:
    """A head of a hospital whose key follows from its name."""
    identity = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(site.encode()).digest())
    return sign_head(identity, site, sequence, digest)


def with_head(reply: Record) -> Record:
    """``reply`` with the head of an empty audit log, if it names a hospital and has no heads of its own."""
    site = getattr(reply, "site", "")
    return reply.model_copy(update={"heads": (head_of(site),)}) if site and not reply.heads else reply


def client_app(answers: Mapping[str, Callable[[Message], Outgoing]]) -> ClientApp:
    """One app for all nodes; node number i answers as the i-th of ``answers``."""
    app, each = ClientApp(), list(answers.values())

    @app.query()
    @app.train()
    @app.evaluate()
    def node(message: Message, context: Any) -> Message:
        answer = each[context.node_config["partition-id"]](message)
        if isinstance(answer, Record):
            answer = to_content(with_head(answer))
        return Message(answer, reply_to=message) if isinstance(answer, RecordDict) else answer

    return app


@pytest.fixture
def on_grid() -> OnGrid:
    """``on_grid(do, hospitals)``: what ``do(grid)`` returns inside a ServerApp over these hospitals."""

    def run(do: Callable[[Grid], Any], *hospitals: Hospital | Callable[[Message], Outgoing]) -> Any:
        app, results = ServerApp(), []

        @app.main()
        def main(grid: Grid, _: Any) -> None:
            results.append(do(grid))

        answers = {
            str(number): one.answer if isinstance(one, Hospital) else one
            for number, one in enumerate(hospitals)
        }
        run_apps(app, client_app(answers), {}, nodes=len(answers), run_id=1, at_once=len(answers))
        return results[0]

    return run


@pytest.fixture(scope="session")
def head() -> Callable[..., AuditHead]:
    """``head("alder", 3, digest)``: signed with a key that follows from the name."""
    return head_of


@pytest.fixture
def book(tmp_path: Path) -> HeadBook:
    """A book of audit heads in which nothing stands yet."""
    return HeadBook(tmp_path / "heads" / "audit-heads.jsonl")


@pytest.fixture(scope="session")
def noise() -> tuple[str, ...]:
    """The overrides of a tiny run over noise."""
    return NOISE


@pytest.fixture(scope="session")
def tiny_run() -> RunConfig:
    """The default study with a network of a few hundred numbers, two rounds of two steps."""
    return compose_run(TINY)


@pytest.fixture
def study(tiny_run: RunConfig) -> Any:
    return tiny_run.study


@pytest.fixture
def layout(study: Any) -> Any:
    return layout_of(build_network(study.model, study.task))


@pytest.fixture
def hospital(layout: Any) -> Callable[..., Hospital]:
    """``hospital("alder", train=...)``: one with updates as long as the study's."""

    def make(site: str, **behaviour: Any) -> Hospital:
        return Hospital(site, **{"trainable": int(layout.mask.sum()), **behaviour})

    return make


@pytest.fixture
def four(hospital: Callable[..., Hospital]) -> Callable[..., list[Hospital]]:
    """``four(birch={...})``: the study's hospitals, the named ones with a behaviour of their own."""

    def make(**behaviours: Any) -> list[Hospital]:
        return [
            hospital(site, change=number + 1.0, patients=100 * (number + 1), **behaviours.get(site, {}))
            for number, site in enumerate(SITES)
        ]

    return make
