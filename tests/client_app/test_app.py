import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MessageType, RecordDict
from flwr.supercore.task_identity import TaskIdentity

import client_app
from client_app.app import app
from federation.config import compose_run
from federation.messages import (
    DescribeReply,
    DescribeRequest,
    RefusalReply,
    TrainReply,
    TrainRequest,
    from_content,
    to_content,
)
from federation.models import build_network, get_parameters
from federation.run_config import flower_run_config

RUN, COORDINATOR, HOSPITAL = 77, 1, 1000
PATIENT = "Erika Mustermann"


@pytest.fixture
def overrides(tmp_path):
    return [
        "study=nodule_ct",
        "task.package=toy_task",
        "site.policy.tasks=[toy_task]",
        "task.image_size=[12,12]",
        "+task.options.patients=24",
        "pretraining.source=random",
        "model.arguments.channels=[8]",
        "model.arguments.strides=[2]",
        f"run_dir={tmp_path}",
        "aggregation=plain",
        "seed=1",
    ]


@pytest.fixture
def ask(overrides):
    """Send content to the first hospital as Flower does; returns the record that comes back."""
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, RUN, COORDINATOR

    def answer(content, kind=MessageType.TRAIN, node=None, run_config=None):
        context = Context(
            run_id=RUN,
            node_id=HOSPITAL,
            node_config={"partition-id": 0, "num-partitions": 4} if node is None else node,
            state=RecordDict(),
            run_config=flower_run_config(overrides) if run_config is None else run_config,
        )
        reply = app(Message(content, HOSPITAL, kind), context)
        assert not reply.has_error()
        return from_content(reply.content)

    return answer


@pytest.fixture
def study(overrides):
    return compose_run(overrides).study


def test_a_question_reaches_the_hospitals_custodian_and_its_answer_comes_back(ask, study):
    reply = ask(to_content(DescribeRequest(study=study)), MessageType.QUERY)
    assert [head.site for head in reply.heads] == ["alder"]
    assert reply == DescribeReply(
        site="alder",
        declared_patients=20,
        description="part 0 of 4 (size taken from the data)",
        heads=reply.heads,
    )


def test_a_model_goes_in_and_an_update_comes_out(ask, study):
    start = get_parameters(build_network(study.model, study.task))
    reply = ask(to_content(TrainRequest(study=study, round=1, parameters=start)))
    assert isinstance(reply, TrainReply)
    assert np.isfinite(reply.parameters).all()


def test_a_refusal_comes_back_as_a_record(ask, study):
    elsewhere = study.model_copy(update={"participants": ("birch", "cedar", "dogwood")})
    reply = ask(to_content(DescribeRequest(study=elsewhere)))
    assert (reply.site, reply.kind, reply.rule) == ("alder", "refused", "not-a-participant")


UNKNOWN = {
    "nothing": RecordDict(),
    "a shell": RecordDict({"record": ConfigRecord({"kind": "Shell", "json": '{"run": "id"}'})}),
    "no JSON": RecordDict({"record": ConfigRecord({"kind": "DescribeRequest", "json": "{"})}),
    "JSON without end": RecordDict(
        {"record": ConfigRecord({"kind": "DescribeRequest", "json": "[" * 200_000})}
    ),
    "arrays alone": RecordDict({"arrays": ArrayRecord([np.zeros(3, np.float32)])}),
}


@pytest.mark.parametrize("content", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_what_is_no_record_is_answered_with_a_refusal(content, ask):
    reply = ask(content)
    assert isinstance(reply, RefusalReply)
    assert (reply.site, reply.kind, reply.rule) == ("", "failed", "MessageError")
    assert reply.reason == "see the site's log"


def test_a_reply_is_no_request(ask):
    reply = ask(to_content(RefusalReply(site="", kind="failed", rule="x", reason="y", reference="z")))
    assert (reply.kind, reply.rule) == ("failed", "MessageError")


def test_a_node_that_is_no_hospital_refuses(ask, study):
    reply = ask(to_content(DescribeRequest(study=study)), node={})
    assert (reply.kind, reply.rule) == ("failed", "ConfigError")


def test_a_run_that_cannot_be_composed_is_refused(ask, study):
    run_config = {"study": "nodule_ct", "overrides": f"patient='{PATIENT}'"}
    reply = ask(to_content(DescribeRequest(study=study)), run_config=run_config)
    assert (reply.kind, reply.rule) == ("failed", "ConfigError")
    assert PATIENT not in reply.model_dump_json()


def test_what_an_unexpected_error_says_stays_in_the_log(ask, study, monkeypatch, caplog):
    def broken(*args):
        raise RuntimeError(f"no chart of {PATIENT}")

    monkeypatch.setattr("client_app.app.connect", broken)
    reply = ask(to_content(DescribeRequest(study=study)))
    assert (reply.kind, reply.rule) == ("failed", "RuntimeError")
    assert PATIENT not in reply.model_dump_json()
    assert PATIENT in caplog.text
    assert reply.reference in caplog.text


def test_importing_the_relay_imports_nothing_that_sees_patients():
    kept = ("torch", "torchvision", "monai", "opacus", "hydra", "federation.models")
    kept += tuple(f"client_app.{room}" for room in ("data", "training", "custodian", "site"))
    program = f"import json, sys, client_app.app; print(json.dumps([m for m in {kept} if m in sys.modules]))"
    said = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(client_app.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(said.stdout) == []
