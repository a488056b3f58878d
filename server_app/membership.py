"""Who takes part: each node is asked which hospital it is, and whether it will."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from flwr.app import MessageType
from flwr.serverapp import Grid

from federation.errors import QuorumError
from federation.messages import DescribeReply, DescribeRequest
from federation.study import Study
from server_app.audit_heads import HeadBook
from server_app.exchange import Answer, ask


@dataclass(frozen=True)
class Member:
    """A hospital that takes part.

    Attributes:
        node: its node in Flower.
        declared_patients: its public cohort size, the weight of its updates.
        description: what sets its data apart.
    """

    node: int
    declared_patients: int
    description: str


@dataclass(frozen=True)
class Membership:
    """The hospitals of a study, by name in the study's order, and why the others are not among them."""

    members: Mapping[str, Member]
    absent: Mapping[str, str]

    def require_enough(self, study: Study) -> None:
        """Refuse to begin with too few.

        Raises:
            QuorumError: each of the others is named with its reason.
        """
        least = _least(study)
        if len(self.members) < least:
            raise QuorumError(
                f"{len(self.members)} of at least {least} hospitals will take part. {reasons(self.absent)}"
            )


def reasons(absent: Mapping[str, str]) -> str:
    """Why each hospital that is not there is not, for an error."""
    return "; ".join(f"{name}: {reason}" for name, reason in absent.items())


def assemble(grid: Grid, study: Study, patience: float, deadline: float, book: HeadBook) -> Membership:
    """Wait until every participant has answered, or ``patience`` seconds have passed.

    Raises:
        QuorumError: fewer hospitals will take part than the study goes on with; each is named with why.
    """
    members: dict[str, Member] = {}
    absent: dict[str, str] = {}
    asked: set[int] = set()
    end = time.monotonic() + patience
    while True:
        nodes = [node for node in sorted(grid.get_node_ids()) if node not in asked]
        if not nodes and time.monotonic() > end:
            break
        asked |= set(nodes)
        questions = {node: DescribeRequest(study=study) for node in nodes}
        for node, answer in ask(grid, questions, MessageType.QUERY, deadline, book).items():
            _enter(node, answer, study, members, absent)
        if set(study.participants) <= {*members, *absent}:
            break
        time.sleep(0.5)
    for name in study.participants:
        if name not in members:
            absent.setdefault(name, f"did not come within {patience:g} s")
    membership = Membership({name: members[name] for name in study.participants if name in members}, absent)
    membership.require_enough(study)
    return membership


def wait_for_enough(grid: Grid, study: Study, membership: Membership, patience: float) -> None:
    """Wait until as many members are connected as a round needs, or ``patience`` seconds have passed.

    While the coordinator's line is down Flower refuses messages at once, and round after round would be lost.
    """
    nodes = {member.node for member in membership.members.values()}
    end = time.monotonic() + patience
    while len(nodes.intersection(grid.get_node_ids())) < _least(study) and time.monotonic() < end:
        time.sleep(1)


def _least(study: Study) -> int:
    """With how many hospitals a study goes on."""
    return max(study.quorum, study.fewest_hospitals)


def _enter(
    node: int, answer: Answer, study: Study, members: dict[str, Member], absent: dict[str, str]
) -> None:
    if not isinstance(answer.record, DescribeReply):
        # A refusal in the name of a member comes from somebody else.
        name = f"node {node}" if answer.site in {"", *members} else answer.site
        absent[name] = answer.problem or "answered something else than asked"
        return
    reply = answer.record
    if reply.site not in study.participants:
        absent[reply.site] = "is not a participant of the study"
    elif reply.site in members:
        absent[f"node {node}"] = f"says that it is {reply.site}, which another node is"
    else:
        members[reply.site] = Member(node, reply.declared_patients, reply.description)
        absent.pop(reply.site, None)
