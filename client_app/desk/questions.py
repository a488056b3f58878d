"""What a hospital's people can ask of their custodian, and what it answers: JSON over the admin socket."""

from datetime import date
from typing import Annotated, TypeVar

from pydantic import ConfigDict, Field, StringConstraints, ValidationError

from client_app.custodian.ledger.studies import Proposal
from client_app.custodian.policy import Decision, Lifetime
from federation.errors import ConfigError
from federation.schema import Frozen
from federation.secure_sum.roster import Roster, SiteKey
from federation.study import Positive

Person = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
StudyName = Annotated[str, StringConstraints(max_length=64)]


class Question(Frozen):
    """Base of all questions; a value of another type is refused, not read as if it were of the right one."""

    model_config = ConfigDict(strict=True)


Asked = TypeVar("Asked", bound=Question)


def question(kind: type[Asked], **values: object) -> Asked:
    """A question of what somebody typed.

    Raises:
        ConfigError: a value is not what belongs there; it is not told, since it may name a patient.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        said = what_is_wrong(error)
    raise ConfigError(said)


def what_is_wrong(error: ValidationError) -> str:
    """The first few places that are wrong, and how, without what stood there."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)[:5]
    return "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems)


class AskStudies(Question):
    """Which studies were asked for here?"""


class AskStudy(Question):
    """What does this study ask, and what does the hospital's policy say of it?

    Attributes:
        study: its id, or the beginning of it.
    """

    study: StudyName


class AskRoom(Question):
    """What would this study leave of the patients' budgets?

    Attributes:
        study: its id, or the beginning of it.
        noise_multiplier: that it asks for (``federation.promise``), None without privacy. Whoever asks
            computes it: what nobody has approved yet may take more memory than the custodian has.
    """

    study: StudyName
    noise_multiplier: Positive | None


class Approve(Question):
    """Agree to a study.

    Attributes:
        study: its id, or the beginning of it.
        by: who agrees.
        until: the last day; None for the study's own.
        epsilon_cap: the most that it may cost a patient; None for what the study says.
    """

    study: StudyName
    by: Person
    until: date | None = None
    epsilon_cap: Positive | None = None


class Revoke(Question):
    """Take a study back, for good.

    Attributes:
        study: its id, or the beginning of it.
        by: who says so.
    """

    study: StudyName
    by: Person


class Withdraw(Question):
    """Leave patients out of every later round.

    Attributes:
        by: who says so.
        patients: as the hospital's data name them.
    """

    by: Person
    patients: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=1000)], ...],
        Field(min_length=1, repr=False),
    ]


class AskRoster(Question):
    """Which roster is pinned here, and what must others know of this hospital?

    Attributes:
        pinnable: a roster that somebody is about to compare; the answer is a refusal if it may not be pinned.
    """

    pinnable: Roster | None = None


class PinRoster(Question):
    """Believe a roster from now on.

    Attributes:
        roster: as somebody has compared it with what the others say of themselves.
        by: who has.
    """

    roster: Roster
    by: Person


class StudyState(Frozen):
    """Where a study stands here.

    Attributes:
        proposal: the study, who asked for it when, and who agreed.
        rounds: that were charged so far.
        epsilon: what they have cost a patient at the study's δ, before whom the study promises it; None
            without privacy, or where nothing bounds it.
        epsilon_everybody: the same before everybody together; the same number unless noise is distributed.
    """

    proposal: Proposal
    rounds: int
    epsilon: float | None
    epsilon_everybody: float | None


class Studies(Frozen):
    """Every study that was asked for, the latest last."""

    studies: tuple[StudyState, ...]


class StudyView(StudyState):
    """A study, and what the hospital's own settings say of it.

    Attributes:
        decision: the policy's, without looking at patients.
        release: of the program that is installed; None where the policy does not allow the task, whose code
            is then not even read.
    """

    decision: Decision
    release: str | None


class Room(Frozen):
    """What a study would leave of the budgets of those who were in a study here before.

    Attributes:
        started: its cost is set aside already, and counted in ``left``.
        nobody: no study has ever set anything aside here, as the list of studies says, too.
        newcomers: whoever was in no study before has room for it.
        known: how many were in a study before and have not withdrawn; None for fewer than ``minimum``.
        room: how many of them could take part; None for fewer than ``minimum``.
        minimum: the policy's minimum of patients.
        left: the ε that remains, after the study, for whoever has spent most; None where nothing bounds
            what they have given.
        lifetime: the cap that it remains of.
    """

    started: bool
    nobody: bool
    newcomers: bool
    known: int | None
    room: int | None
    minimum: int
    left: float | None
    lifetime: Lifetime


class Demand(Frozen):
    """What a study asks for in numbers that have to be computed; see ``client_app.desk.demand``.

    Attributes:
        numbers: that each update has.
        noise_multiplier: the noise's standard deviation over the clipping norm; None without privacy.
    """

    numbers: int
    noise_multiplier: Positive | None


class Withdrawn(Frozen):
    """What came of a withdrawal.

    Attributes:
        patients: how many had not withdrawn before.
        known: how many of all that were named were ever in a study here.
    """

    patients: int
    known: int


class RosterState(Frozen):
    """Whom this hospital believes.

    Attributes:
        own: its name and public key.
        pinned: the roster; None where nobody has pinned one.
    """

    own: SiteKey
    pinned: Roster | None
