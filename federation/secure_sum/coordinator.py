"""The coordinator's side before the first round: who takes part, by which key."""

from federation.errors import SecureSumError
from federation.secure_sum.messages import Advert, AdvertRequest, RoundRequest
from federation.secure_sum.plan import Plan
from federation.secure_sum.roster import Members
from federation.secure_sum.round_sum import RoundSum
from federation.secure_sum.signing import is_signed


class Coordinator:
    """The secure sums of one plan.

    Args:
        plan: that the sites have approved.
        roster: of the study, as they have pinned it.

    Attributes:
        adverts: by site; what there is to keep, should the coordinator start again.
    """

    def __init__(self, plan: Plan, roster: Members) -> None:
        plan.require_roster(roster)
        self._plan, self._roster = plan, roster
        self.adverts: dict[str, Advert] = {}

    def advert_request(self) -> AdvertRequest:
        """Exchange 0, once: the same question to every site."""
        return AdvertRequest(plan=self._plan.digest.hex())

    def take(self, advert: Advert) -> None:
        """Keep a site's answer to it.

        Raises:
            SecureSumError: it is not the site's own, or not the first one.
        """
        fields = (self._plan.digest, advert.site, advert.key)
        if not is_signed(self._roster.key_of(advert.site), advert.signature, "advert", *fields):
            raise SecureSumError("advert", advert.site, "its key does not bear its signature; ask it again")
        if self.adverts.setdefault(advert.site, advert).key != advert.key:
            raise SecureSumError("advert", advert.site, "has told another key before; end the study")

    def begin(self, round_number: int, model: bytes, without: frozenset[str] = frozenset()) -> RoundSum:
        """A round with every site that gave a key, but those in ``without``.

        Args:
            round_number: higher than that of any round begun, also one that failed.
            model: SHA-256 of the model that goes to every site, 32 bytes.
            without: sites that are known not to answer; the plan's number of dropouts bounds them, too.

        Raises:
            QuorumError: too few sites remain.
        """
        adverts = tuple(self.adverts[site] for site in sorted(self.adverts))
        cohort = tuple(site for site in sorted(self.adverts) if site not in without)
        request = RoundRequest(round=round_number, cohort=cohort, adverts=adverts)
        return RoundSum(self._plan, self._roster, request, model)
