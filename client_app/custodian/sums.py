"""The hospital's part in a study's secure sums: its state is on disk before anything leaves.

<site folder>/studies/<study id>/secure-sum    the state; it holds keys, so only the custodian may read it
"""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.errors import DataError
from federation.files import write_whole
from federation.secure_sum.messages import (
    Advert,
    AdvertRequest,
    Agreement,
    MaskedVector,
    OpenedShares,
    OpenRequest,
    RoundRequest,
    SurvivorsRequest,
)
from federation.secure_sum.plan import Plan
from federation.secure_sum.roster import Members
from federation.secure_sum.site import SecureSite
from federation.secure_sum.states import New, Sent, State, Training, from_bytes, to_bytes
from federation.secure_sum.transcript import Words


class Sums:
    """One site in the secure sums of one study; nobody else may be in it at the same time.

    Args:
        site_folder: where the site keeps what must outlive the process.
        plan: of the study, as the site itself computes it.
        members: the study's sites, from the roster that this one has pinned.
        name: the site's.
        identity: its key in the roster.

    Raises:
        ConfigError: the members are not the plan's.
        SecureSumError: the roster has another key for the site.
    """

    def __init__(
        self, site_folder: Path, plan: Plan, members: Members, name: str, identity: Ed25519PrivateKey
    ) -> None:
        self.plan = plan
        self._site = SecureSite(plan, members, name, identity)
        self._path = site_folder / "studies" / plan.study / "secure-sum"

    def advertise(self, question: AdvertRequest) -> Advert:
        """Exchange 0: the site's key for this plan.

        Raises:
            SecureSumError: it is another plan, or rounds have begun.
        """
        before = self._state
        state = self._site.advertise(before, question)
        self._keep(state, before)
        return state.reply

    def begin(self, question: RoundRequest, model: bytes) -> Training | Sent:
        """Exchange A, before anything is charged or computed: burn the round.

        Args:
            question: the coordinator's.
            model: SHA-256 of the model as it was received, 32 bytes.

        Returns:
            what ``mask`` takes; or ``Sent`` where the answer is there already.

        Raises:
            SecureSumError: which of the checks failed, and on whom.
        """
        before = self._state
        state = self._site.begin(before, question, model)
        self._keep(state, before)
        return state

    def mask(self, begun: Training, words: Words) -> MaskedVector:
        """Exchange A, afterwards: ``words``, uint32 ``[m + 1]``, masked in place, as they may leave."""
        masked = self._site.mask(begun, words)
        self._keep(masked, begun)
        return masked.reply

    def unmask(self, question: SurvivorsRequest | OpenRequest) -> OpenedShares | Agreement:
        """Exchanges B and C: one answer a round.

        Raises:
            SecureSumError: which of the checks failed, and on whom.
        """
        before = self._state
        state = (
            self._site.answer(before, question)
            if isinstance(question, SurvivorsRequest)
            else self._site.open(before, question)
        )
        self._keep(state, before)
        return state.reply

    @property
    def _state(self) -> State:
        try:
            return from_bytes(self._path.read_bytes()) if self._path.exists() else New()
        except OSError as error:
            raise DataError(f"{self._path} cannot be read ({error.strerror}); restore it") from error

    def _keep(self, state: State, before: State) -> None:
        if state is not before:  # else it was answered before, and is there
            write_whole(self._path, to_bytes(state), mode=0o600)
