"""The hospital's custodian as the hospital's own people reach it: over its admin socket."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from client_app.desk.questions import (
    Approve,
    AskRoom,
    AskRoster,
    AskStudies,
    AskStudy,
    PinRoster,
    Question,
    Revoke,
    Room,
    RosterState,
    Studies,
    StudyState,
    StudyView,
    Withdraw,
    Withdrawn,
)
from client_app.unix_http import UnixHttp
from federation import errors
from federation.errors import MessageError, RefusedError, SecureSumError, WardroundError
from federation.messages import RefusalReply
from federation.secure_sum.roster import Roster

Answer = TypeVar("Answer", bound=BaseModel)

_SECONDS = 330.0  # a little longer than the custodian takes before it says itself that it takes too long
_MOST_BYTES = 64 * 2**20
_TOLD_BY_RULE = (RefusedError, SecureSumError)


class AdminClient:
    """A custodian behind its admin ``socket``.

    Every method raises the ``WardroundError`` that the custodian refused with; ``RunError`` where none is
    there, ``MessageError`` where what answers is no custodian.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._http = UnixHttp(socket, _SECONDS, _MOST_BYTES, "correct service.admin in the site's config")

    def studies(self) -> tuple[StudyState, ...]:
        """Every study that was asked for, the latest last."""
        return self._ask("studies", AskStudies(), Studies).studies

    def study(self, study: str) -> StudyView:
        """One study, by its id or the beginning of it."""
        return self._ask("study", AskStudy(study=study), StudyView)

    def room(self, question: AskRoom) -> Room:
        """What a study would leave of patients' budgets."""
        return self._ask("room", question, Room)

    def approve(self, question: Approve) -> StudyState:
        """Agree to a study."""
        return self._ask("approve", question, StudyState)

    def revoke(self, question: Revoke) -> StudyState:
        """Take a study back."""
        return self._ask("revoke", question, StudyState)

    def withdraw(self, question: Withdraw) -> Withdrawn:
        """Leave patients out from now on."""
        return self._ask("withdraw", question, Withdrawn)

    def roster(self, pinnable: Roster | None = None) -> RosterState:
        """This hospital's own key, and the roster that is pinned; refused if ``pinnable`` may not follow."""
        return self._ask("roster", AskRoster(pinnable=pinnable), RosterState)

    def pin(self, question: PinRoster) -> RosterState:
        """Believe a roster from now on."""
        return self._ask("pin", question, RosterState)

    def _ask(self, operation: str, question: Question, kind: type[Answer]) -> Answer:
        answer = self._http.post(operation, question.model_dump_json().encode(), "application/json")
        try:
            if answer.status != 200:
                raise _error(RefusalReply.model_validate_json(bytes(answer.body)))
            return kind.model_validate_json(bytes(answer.body))
        except ValidationError as error:
            raise MessageError(
                f"{self._socket} answered with what is no {kind.__name__}; is it the admin socket, and of "
                "this release?"
            ) from error


def _error(refusal: RefusalReply) -> WardroundError:
    """What the custodian refused with, as if it had happened here."""
    kind = getattr(errors, refusal.rule, None)
    if isinstance(kind, type) and issubclass(kind, WardroundError) and kind not in _TOLD_BY_RULE:
        return kind(refusal.reason)
    return RefusedError(refusal.rule, f"{refusal.reason} (reference {refusal.reference})")
