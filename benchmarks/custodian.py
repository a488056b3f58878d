"""What a hospital's own process costs: a round through the socket against calling the training function.

Both do the default task's ten steps on the patients of one of its smallest hospitals, one thread each, in
turns; at 30 million parameters only two of them, since ten take minutes, so that what is not training weighs
five times as much there. The custodian is a real process behind its Unix socket, and does in each round all
that it does in a hospital: policy, approval, audit heads, charge, training, release, audit log, every write
forced to the disk. Target: at most 1.1 times the direct call at 7 million parameters.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psutil

from benchmarks.processes import FailedError
from benchmarks.table import Row
from client_app.audit.rehearsal import require_rehearsal
from client_app.custodian.keys import SiteKeys
from client_app.data.cohort import load_cohort
from client_app.desk.client import AdminClient
from client_app.desk.questions import Approve
from client_app.site import HospitalConfig, hospital
from client_app.socket_client import SocketClient
from client_app.training.batches import Patients
from client_app.training.local_round import LocalTraining
from federation.config import CONF, compose_run
from federation.messages import DescribeReply, DescribeRequest, Parameters, TrainReply, TrainRequest
from federation.models import build_network, get_parameters
from federation.study import Study

# Channels of MONAI's Classifier, for about as many parameters, and steps a round.
NETWORKS = {"60k": ("16,40,64", 10), "7M": ("64,512,704", 10), "30M": ("128,1024,1472", 2)}
ROUNDS = 3
DECLARED = 60


def run() -> list[Row]:
    """Medians over rounds, and their ratios."""
    return [row for name, (channels, steps) in NETWORKS.items() for row in _compared(name, channels, steps)]


def _compared(name: str, channels: str, steps: int) -> list[Row]:
    study = compose_run(
        [
            f"model.arguments.channels=[{channels}]",
            "model.arguments.strides=[2,2,2]",
            "model.trainable=all",
            f"training.steps={steps}",
            f"rounds={ROUNDS + 1}",
            "evaluation=null",
            "aggregation=plain",
        ]
    ).study
    with TemporaryDirectory() as scratch, _custodian(Path(scratch)) as (config, process):
        start = get_parameters(build_network(study.model, study.task))
        ask, call = _through_the_socket(config, study, start), _directly(config, study, start)
        taken: dict[str, list[tuple[float, float]]] = {"custodian": [], "direct": []}
        for number in range(1, ROUNDS + 2):
            taken["custodian"].append(_timed(ask, number, process))
            taken["direct"].append(_timed(call, number, process))
    case = f"{name} ({len(start):,}), {steps} steps"
    rows = []
    for position, (metric, unit) in enumerate([("a round", "s"), ("a round, CPU of both sides", "s")]):
        # The first round of each is to warm up.
        direct, through = (median(one[position] for one in taken[who][1:]) for who in ("direct", "custodian"))
        rows.append(Row(f"{case}, direct", metric, direct, unit))
        rows.append(Row(f"{case}, custodian", metric, through, unit, "direct", through / direct))
    return rows


@contextmanager
def _custodian(scratch: Path) -> Iterator[tuple[HospitalConfig, psutil.Process]]:
    """A hospital's real process, with all of its state below ``scratch``."""
    file = scratch / "site.yaml"
    file.write_text(json.dumps(_settings(scratch)))
    config = hospital(file)
    with (scratch / "log").open("w") as log:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "client_app.cli", "custodian", "--config", str(file)],
            cwd=CONF.parent,
            stderr=log,
        )
    try:
        while not config.service.relay.is_socket():
            if process.poll() is not None:
                raise FailedError((scratch / "log").read_text())
            time.sleep(0.1)
        yield config, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def _settings(scratch: Path) -> dict[str, object]:
    return {
        "name": "cedar",
        "description": "the smallest hospital of the default task",
        "declared_patients": DECLARED,
        "data": {"parts": [2], "of": 4},
        "policy": {
            "purposes": ["*"],
            "tasks": ["tasks.nodule_ct"],
            "task_options": "any",
            "networks": ["*"],
            "privacy_modes": ["local"],
            "aggregation": ["plain"],
            "maximum_epsilon": 8.0,
            "maximum_delta": 1e-5,
            "lifetime": {"epsilon": 20.0, "delta": 1e-5, "against": "everybody"},
            "minimum_patients": 20,
            "minimum_hospitals": 1,
        },
        "resources": {"engine": "book_keeping"},
        "service": {
            "folder": str(scratch / "state"),
            "relay": str(scratch / "relay" / "relay.sock"),
            "admin": str(scratch / "admin" / "admin.sock"),
        },
    }


def _through_the_socket(config: HospitalConfig, study: Study, start: Parameters) -> Callable[[int], None]:
    """One round as a relay asks for it; the study is approved and open before."""
    relay = SocketClient(config.service.relay, seconds=3600)
    relay.handle(DescribeRequest(study=study))
    until = date.max
    AdminClient(config.service.admin).approve(Approve(study=study.id, by="bench", until=until))
    willing = relay.handle(DescribeRequest(study=study))
    if not isinstance(willing, DescribeReply):
        raise FailedError(f"the custodian will not take part: {willing}")

    def ask(round_number: int) -> None:
        request = TrainRequest(study=study, round=round_number, parameters=start, heads=willing.heads)
        reply = relay.handle(request)
        if not isinstance(reply, TrainReply):
            raise FailedError(f"round {round_number}: {reply}")

    return ask


def _directly(config: HospitalConfig, study: Study, start: Parameters) -> Callable[[int], None]:
    network = build_network(study.model, study.task)
    secret = SiteKeys.found_in(config.service.folder).noise
    require_rehearsal(study, network, secret, "book_keeping")
    training = LocalTraining(
        study,
        network,
        Patients(load_cohort(config.data, study.task).train),
        expected_patients=DECLARED,
        secret=secret,
        resources=config.resources,
    )
    state: list[bytes | None] = [None]

    def call(round_number: int) -> None:
        state[0] = training.run(round_number, start, state[0]).optimizer_state

    return call


def _timed(do: Callable[[int], None], number: int, custodian: psutil.Process) -> tuple[float, float]:
    """Seconds on the clock, and of processor time here and in the custodian, of round ``number``."""
    processes = (psutil.Process(), custodian)
    before, begun = _cpu(*processes), time.monotonic()
    do(number)
    return time.monotonic() - begun, _cpu(*processes) - before


def _cpu(*processes: psutil.Process) -> float:
    taken = [process.cpu_times() for process in processes]
    return float(sum(times.user + times.system for times in taken))
