"""The coordinator's side of one round: add what comes, settle who survived, open the sum.

Of the vectors it holds only their running sum. A round that fails is over; the next has another number.
"""

import secrets
from collections.abc import Iterable

import numpy as np

from federation.errors import QuorumError, SecureSumError
from federation.secure_sum.commitments import (
    digest_of_boxes,
    pair_sign,
    require_commitment,
    secret_digest,
    secrets_of,
)
from federation.secure_sum.masks import Mask, add_masks
from federation.secure_sum.messages import (
    Agreement,
    MaskedVector,
    OpenedShares,
    OpenRequest,
    RoundRequest,
    SurvivorsRequest,
)
from federation.secure_sum.plan import Plan
from federation.secure_sum.roster import Members
from federation.secure_sum.shamir import recover, weights_at_zero
from federation.secure_sum.signing import is_signed
from federation.secure_sum.transcript import Words, context, digest, digest_of_vector


class RoundSum:
    """One round; its methods are called in their order.

    Args:
        plan: that the sites have approved.
        roster: of the study, as they have pinned it.
        request: the question of exchange A, the same to every site of the cohort.
        model: SHA-256 of the model that goes beside it, 32 bytes.

    Attributes:
        request: that question.
        cohort: the sites asked.
        survivors: whose vectors are in the sum; all so far, until ``settle``.

    Raises:
        QuorumError: the cohort is too small.
    """

    def __init__(self, plan: Plan, roster: Members, request: RoundRequest, model: bytes) -> None:
        self.request, self.cohort = request, request.cohort
        self._plan, self._roster, self._round = plan, roster, request.round
        self._context = context(plan.digest, request.round, request.cohort, model)
        self._sum: Words | None = None
        # By site, without its vector, which is in the sum.
        self._sent: dict[str, MaskedVector] = {}
        self._signatures: dict[str, bytes] = {}
        self._opened: dict[str, OpenedShares] = {}
        self._settled = False
        # Hashing all vectors takes twice as long as all the rest. Who changes one on its way does what a site
        # that sends nonsense does as well, and is named after a few rounds.
        self._looked_at = secrets.choice(self.cohort) if self.cohort else ""
        self._require_enough(len(self.cohort), "in the cohort")

    @property
    def survivors(self) -> tuple[str, ...]:
        """Whose vectors are in the sum, sorted."""
        return tuple(sorted(self._sent))

    @property
    def whole(self) -> bool:
        """Whether nobody dropped out, so that exchange B opens the sum and there is no C."""
        return self.survivors == self.cohort

    # Exchange A

    def add(self, site: str, reply: MaskedVector) -> None:
        """Add a site's masked vector to the sum.

        Raises:
            SecureSumError: which of the checks failed; the site counts as dropped out.
        """
        if self._settled or site in self._sent or site not in self.cohort:
            raise SecureSumError("order", site, "its vector is late, its second one, or was not asked for")
        self._require_as_committed(site, reply)
        self._require_same_masks(site, reply)
        if self._sum is None:
            self._sum = reply.vector.copy()
        elif len(self._sum) != len(reply.vector):
            lengths = f"{len(reply.vector)} numbers, and the first had {len(self._sum)}"
            raise SecureSumError("shape", site, f"its vector has {lengths}; leave it out")
        else:
            self._sum += reply.vector
        self._sent[site] = reply.model_copy(update={"vector": np.empty(0, dtype=np.uint32)})

    # Exchange B

    def settle(self) -> dict[str, SurvivorsRequest]:
        """Who has answered by now is in the sum, and nobody else; the question to each of them.

        Raises:
            QuorumError: too few have.
        """
        self._require_enough(len(self._sent), "of the cohort sent a vector")
        self._settled = True
        commitments = tuple(self._sent[site].commitment for site in self.survivors)
        return {
            site: SurvivorsRequest(
                round=self._round,
                survivors=self.survivors,
                commitments=commitments,
                boxes={peer: self._sent[peer].boxes[site] for peer in self.survivors if peer != site},
            )
            for site in self.survivors
        }

    def agree(self, site: str, reply: Agreement) -> None:
        """Keep a site's signature on the survivors.

        Raises:
            SecureSumError: it is not the site's, or not on these.
        """
        key = self._roster.key_of(site)
        if site not in self._sent or not is_signed(
            key, reply.signature, "survivors", self._context, self.survivors
        ):
            raise SecureSumError("signatures", site, "has not signed the survivors; go on without it")
        self._signatures[site] = reply.signature

    # Exchange C

    def open_request(self) -> OpenRequest:
        """The same question to every survivor, after a dropout.

        Raises:
            QuorumError: too few have signed.
        """
        self._require_threshold(self._signatures, "signed the survivors")
        return OpenRequest(round=self._round, survivors=self.survivors, signatures=dict(self._signatures))

    def open(self, site: str, reply: OpenedShares) -> None:
        """Keep a site's shares.

        Raises:
            SecureSumError: they are not those asked for.
        """
        dead = {peer for peer in self.cohort if peer not in self._sent}
        pairs = dict.fromkeys(self.survivors, dead) if dead else {}
        given = {peer: set(shares) for peer, shares in reply.of_pairs.items()}
        if site not in self._sent or set(reply.of_self) != set(self.survivors) or given != pairs:
            raise SecureSumError("shares", site, "its shares are not those asked for; go on without it")
        self._opened[site] = reply

    def total(self) -> Words:
        """The sum of the survivors' vectors, uint32 ``[m + 1]``; what was held is given away.

        Raises:
            QuorumError: too few sites have opened their shares.
            SecureSumError: shares were wrong; whose secret they are of. The round is lost.
        """
        self._require_threshold(self._opened, "opened their shares")
        holders = sorted(self._opened)[: self._plan.threshold]
        places = [self.cohort.index(site) + 1 for site in holders]
        weights = weights_at_zero(places)
        seeds: dict[tuple[str, str], bytes] = {}
        for site in self.survivors:
            for secret in (site, *(peer for peer in self.cohort if peer not in self._sent)):
                shares = [self._share(holder, site, secret) for holder in holders]
                seed = recover(dict(zip(places, shares, strict=True)), self._plan.threshold, weights)
                self._require_told(site, secret, seed)
                seeds[site, secret] = seed
        total, self._sum = self._sum, None
        if total is None:
            raise SecureSumError("order", "", f"the sum of round {self._round} was given away before")
        # A survivor's mask with a site that dropped out is taken away by adding that site's.
        add_masks(
            total,
            [
                Mask(seed, "self", -1) if secret == site else Mask(seed, "pair", pair_sign(secret, site))
                for (site, secret), seed in seeds.items()
            ],
        )
        return total

    def _share(self, holder: str, site: str, secret: str) -> bytes:
        opened = self._opened[holder]
        return opened.of_self[site] if secret == site else opened.of_pairs[site][secret]

    # Checks

    def _require_as_committed(self, site: str, reply: MaskedVector) -> None:
        commitment = reply.commitment
        if commitment.site != site or reply.round != self._round:
            raise SecureSumError("commitment", site, "answered in another's name or for another round")
        require_commitment(self._roster, commitment, self._context)
        if reply.vector.dtype != np.uint32 or reply.vector.ndim != 1:
            raise SecureSumError("shape", site, "its vector is not uint32 [m + 1]; leave it out")
        if set(reply.boxes) != set(self.cohort) - {site} or len(reply.secrets) != len(self.cohort):
            raise SecureSumError("shares", site, "did not share every secret with every peer; leave it out")
        hashes = digest_of_boxes(reply.boxes), digest("secrets", reply.secrets)
        if hashes != (commitment.boxes, commitment.secrets) or (
            site == self._looked_at and digest_of_vector(reply.vector) != commitment.vector
        ):
            raise SecureSumError("commitment", site, "sent something else than it committed to; leave it out")

    def _require_same_masks(self, site: str, reply: MaskedVector) -> None:
        """Two sites know the seed of their common mask by the same digest, or it would not cancel."""
        for peer, sent in self._sent.items():
            told = reply.secrets[secrets_of(site, self.cohort).index(peer)]
            if told != sent.secrets[secrets_of(peer, self.cohort).index(site)]:
                raise SecureSumError(
                    "pair", site, f"and {peer} do not agree on their mask; leave one of them out"
                )

    def _require_told(self, site: str, secret: str, seed: bytes) -> None:
        told = self._sent[site].secrets[secrets_of(site, self.cohort).index(secret)]
        if secret_digest(self._context, seed) != told:
            raise SecureSumError(
                "secret", site, "the shares of its seed are not what it committed to; begin a new round"
            )

    def _require_enough(self, sites: int, what: str) -> None:
        if sites < self._plan.min_survivors:
            raise QuorumError(
                f"{sites} sites {what} of round {self._round}, and the plan has at least "
                f"{self._plan.min_survivors}; begin a new round when more can be reached"
            )

    def _require_threshold(self, given: Iterable[str], what: str) -> None:
        sites = len(list(given))
        if sites < self._plan.threshold:
            raise QuorumError(
                f"{sites} sites have {what} of round {self._round}, and it takes {self._plan.threshold}; "
                f"begin a new round when more can be reached"
            )
