"""A day of one hospital's custodian, step by step, as another process may cut it off anywhere.

What a step was answered with is told to a file that lies elsewhere, before the next begins: what was told has
left the hospital, and has to be true of it ever after.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from client_app.custodian.custodian import Custodian
from client_app.custodian.keys import SiteKeys
from client_app.site import SiteConfig
from federation.audit_log import AuditHead
from federation.messages import (
    DescribeReply,
    DescribeRequest,
    Parameters,
    RefusalReply,
    Reply,
    TrainReply,
    TrainRequest,
)
from federation.models import build_network, get_parameters
from federation.study import Study

WITHDRAWN = "0-3"


@dataclass(frozen=True)
class Step:
    """One thing that is done in a day.

    Attributes:
        what: of which kind.
        study: by its place among the hospital's studies.
        round: that is asked for.
        model: the seed of the model that it is asked with.
    """

    what: Literal["describe", "train", "withdraw", "revoke", "restart"]
    study: int = 0
    round: int = 0
    model: int = 0


DAY = (
    Step("describe"),
    Step("train", 0, 1),
    Step("train", 0, 1),  # as a relay asks that got no answer
    Step("train", 0, 1, model=1),  # burnt
    Step("train", 0, 2),
    Step("withdraw"),
    Step("train", 0, 3),
    Step("describe", 1),
    Step("train", 1, 1),
    Step("restart"),
    Step("train", 1, 4),  # its last round; two were left out, and their budget comes back
    Step("train", 0, 4),
    Step("train", 2, 1),
    Step("revoke", 2),
    Step("train", 2, 2),  # refused
    Step("train", 3, 1),  # there is only budget for it because of what came back
)


@dataclass(frozen=True)
class Told:
    """What a step was answered with.

    Attributes:
        step: its place in the day.
        answer: of whoever asked: what it got, in a few words and hashes.
        head: the newest of the hospital's audit log that came with it.
    """

    step: int
    answer: dict[str, Any]
    head: AuditHead


class Hospital:
    """A hospital in ``folder``; made again, it is the same after a restart.

    Args:
        config: its settings.
        studies: those that it will be asked for.
        folder: where it keeps everything, its keys too.
    """

    def __init__(self, config: SiteConfig, studies: tuple[Study, ...], folder: Path) -> None:
        self.config = config
        self.studies = studies
        self.folder = folder
        self.keys = SiteKeys.kept_in(folder)
        self.custodian = Custodian(config, folder, self.keys)

    def close(self) -> None:
        """As a service that is stopped."""
        self.custodian.ledger.close()

    def do(self, number: int, heads: tuple[AuditHead, ...]) -> Told:
        """Step ``number`` of the day; whoever asks holds ``heads``."""
        step, custodian = DAY[number], self.custodian
        study = self.studies[step.study]
        answer: dict[str, Any] = {"what": step.what}
        match step.what:
            case "describe":
                answer = _said(custodian.handle(DescribeRequest(study=study, heads=heads)))
            case "train":
                request = TrainRequest(
                    study=study, round=step.round, parameters=model_of(study, step.model), heads=heads
                )
                answer = _said(custodian.handle(request))
            case "withdraw":
                custodian.ledger.consent.withdraw({self.keys.pseudonym(WITHDRAWN)})
            case "revoke":
                custodian.approvals.revoke(study.id, "Dr. Frei")
            case "restart":
                self.close()
                self.custodian = Custodian(self.config, self.folder, self.keys)
        return Told(number, answer, self.custodian.audit.head)


def live(
    config: SiteConfig, studies: tuple[Study, ...], folder: Path, told: Path, before: Sequence[str] = ()
) -> None:
    """Live through the day, and tell it; ``before`` are the lines that were told until the process died.

    Whoever asked asks again for what was asked last, since the answer may not have arrived.
    """
    torch.set_num_threads(1)  # threads of the process that this one was forked from are not here
    descriptor = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    hospital = Hospital(config, studies, folder)
    begun, known = read_told(before)
    heads: tuple[AuditHead, ...] = tuple(one.head for one in known[-1:])
    for number in range(max(0, begun - 1), len(DAY)):
        os.write(descriptor, f"{number}\n".encode())
        outcome = hospital.do(number, heads)
        heads = (outcome.head,)
        words = [outcome.step, outcome.answer, outcome.head.model_dump(mode="json")]
        os.write(descriptor, f"{json.dumps(words)}\n".encode())
    hospital.close()


def read_told(lines: Iterable[str]) -> tuple[int, list[Told]]:
    """How many steps were begun, and what was told of those that ended."""
    begun, told = 0, []
    for line in lines:
        if line.startswith("["):
            step, answer, head = json.loads(line)
            told.append(Told(step, answer, AuditHead.model_validate(head)))
        else:
            begun = int(line) + 1
    return begun, told


def model_of(study: Study, seed: int) -> Parameters:
    """The study's first model, or for another seed one near it."""
    start = get_parameters(build_network(study.model, study.task))
    return start + np.random.default_rng(seed).normal(scale=0.1 * seed, size=start.shape).astype(np.float32)


def _said(reply: Reply) -> dict[str, Any]:
    match reply:
        case DescribeReply():
            return {"what": "described", "patients": reply.declared_patients}
        case TrainReply():
            sha256 = hashlib.sha256(reply.parameters.tobytes()).hexdigest()
            return {"what": "trained", "round": reply.round, "steps": reply.steps, "sha256": sha256}
        case RefusalReply():
            return {"what": reply.kind, "rule": reply.rule}
