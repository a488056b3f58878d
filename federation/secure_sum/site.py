"""What a site does in a secure sum: each step takes the state that it kept, and returns the one to keep.

The caller writes the new state to its disk before the message leaves. A request that was answered before gets
the same bytes again; one that contradicts it is refused.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from federation.errors import SecureSumError
from federation.secure_sum.agreement import (
    box_key,
    first_chain_key,
    mask_seed,
    next_chain_key,
    seal,
    unseal,
)
from federation.secure_sum.commitments import (
    commitment_to,
    pair_sign,
    require_commitment,
    secret_digest,
    secrets_of,
)
from federation.secure_sum.masks import Mask, add_masks
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
from federation.secure_sum.shamir import SECRET_BYTES, SHARE_BYTES, split
from federation.secure_sum.signing import is_signed, sign
from federation.secure_sum.states import (
    Advertised,
    Agreed,
    Answered,
    Masked,
    New,
    Peer,
    Ready,
    Sent,
    State,
    Training,
)
from federation.secure_sum.transcript import Words, context


@dataclass(frozen=True)
class SecureSite:
    """One site in the secure sums of one plan.

    Attributes:
        plan: that its people approved.
        roster: of the study, as it has pinned it.
        name: its own.
        identity: its key in the roster.
    """

    plan: Plan
    roster: Members
    name: str
    identity: Ed25519PrivateKey

    def __post_init__(self) -> None:
        self.plan.require_roster(self.roster)
        if self.roster.key_of(self.name) != self.identity.public_key().public_bytes_raw():
            raise SecureSumError("member", self.name, "the roster has another key for it; correct the roster")

    # Exchange 0

    def advertise(self, state: State, request: AdvertRequest) -> Advertised:
        """Make a key for this plan; ``reply`` tells it.

        Raises:
            SecureSumError: it is another plan, or rounds have begun.
        """
        if request.plan != self.plan.digest.hex():
            raise SecureSumError(
                "plan",
                self.name,
                f"was asked for the plan {request.plan[:12]}, and has approved {self.plan.digest.hex()[:12]}",
            )
        if isinstance(state, Advertised) and self._told(state.reply):
            return state
        if not isinstance(state, New | Advertised):
            raise SecureSumError("order", self.name, "its rounds have begun; it tells no other key")
        private = X25519PrivateKey.generate()
        key = private.public_key().public_bytes_raw()
        signature = sign(self.identity, "advert", self.plan.digest, self.name, key)
        reply = Advert(site=self.name, key=key, signature=signature)
        return Advertised(private=private.private_bytes_raw(), reply=reply)

    def _told(self, advert: Advert) -> bool:
        """Whether it is of this plan; before the first round the roster may have changed."""
        key = self.identity.public_key().public_bytes_raw()
        return is_signed(key, advert.signature, "advert", self.plan.digest, self.name, advert.key)

    # Exchange A

    def begin(self, state: State, request: RoundRequest, model: bytes) -> Training | Sent:
        """Burn a round, before anything is trained for it.

        Args:
            state: the site's.
            request: of the coordinator.
            model: SHA-256 of the model as this site received it, 32 bytes.

        Returns:
            what is kept while it trains; or, where the round's masked vector has been made, the state as it
            is: there is nothing to train, and ``sent`` is sent again.

        Raises:
            SecureSumError: which of the checks failed, and on whom.
        """
        told = context(self.plan.digest, request.round, request.cohort, model)
        if isinstance(state, Sent) and state.round == request.round and state.context == told:
            return state
        self._require_cohort(request.cohort)
        ready = self._ready(state, request.adverts)
        self._require_unburnt(ready, request.round)
        missing = set(request.cohort) - {self.name, *ready.peers}
        if missing:
            raise SecureSumError(
                "advert", min(missing), "gave no key before the first round; leave it out of the cohort"
            )
        # Last, since it takes long where many rounds are passed over, and is not kept where it is refused.
        chains = {name: peer.chain for name, peer in ready.peers.items()}
        for _ in range(request.round - ready.round - 1):
            chains = {name: next_chain_key(chain) for name, chain in chains.items()}
        return Training(
            peers={
                name: Peer(key=peer.key, chain=next_chain_key(chains[name]))
                for name, peer in ready.peers.items()
            },
            round=request.round,
            cohort=request.cohort,
            context=told,
            chains={name: chains[name] for name in request.cohort if name != self.name},
        )

    def mask(self, state: State, vector: Words) -> Masked:
        """Mask the result of a round, and share what can unmask it.

        Args:
            state: from ``begin``.
            vector: from ``ring.encode``, uint32 ``[m + 1]``; masked in place.

        Raises:
            SecureSumError: no round is waiting for a vector.
        """
        if not isinstance(state, Training):
            raise SecureSumError("order", self.name, "no round waits for its vector; a round has one")
        own_seed = self._self_seed()
        seeds = {peer: mask_seed(chain, state.context) for peer, chain in state.chains.items()}
        pairs = [Mask(seed, "pair", pair_sign(self.name, peer)) for peer, seed in seeds.items()]
        add_masks(vector, [Mask(own_seed, "self", 1), *pairs])
        own, boxes = self._boxes(state, [own_seed, *seeds.values()])
        secrets = tuple(secret_digest(state.context, secret) for secret in (own_seed, *seeds.values()))
        return Masked(
            peers=state.peers,
            round=state.round,
            cohort=state.cohort,
            context=state.context,
            openers={peer: box_key(chain, state.context, peer) for peer, chain in state.chains.items()},
            own=own,
            sent=MaskedVector(
                round=state.round,
                vector=vector,
                boxes=boxes,
                secrets=secrets,
                commitment=commitment_to(
                    self.identity, self.name, state.context, vector=vector, boxes=boxes, secrets=secrets
                ),
            ),
        )

    # Exchange B

    def answer(self, state: State, request: SurvivorsRequest) -> Answered | Agreed:
        """Open the sum over the whole cohort, or sign the one set of survivors to be opened in this round.

        Raises:
            SecureSumError: which of the checks failed, and on whom.
        """
        if isinstance(state, Answered | Agreed) and _same(state, request):
            if isinstance(state, Answered) and state.survivors != state.cohort:
                # What comes in this exchange is the signature; the shares come in the next, as before.
                return self._agreed(state, state.survivors, state.reply)
            return state
        if not isinstance(state, Masked) or state.round != request.round:
            raise SecureSumError(
                "one-set",
                self.name,
                f"has no open question about round {request.round}; a round has one answer",
            )
        self._require_survivors(state, request)
        shares = self._shares(state, request)
        if request.survivors == state.cohort:
            return Answered(**_sent(state), survivors=request.survivors, reply=shares)
        return self._agreed(state, request.survivors, shares)

    def _agreed(self, state: Sent, survivors: tuple[str, ...], shares: OpenedShares) -> Agreed:
        signature = sign(self.identity, "survivors", state.context, survivors)
        reply = Agreement(site=self.name, round=state.round, signature=signature)
        return Agreed(**_sent(state), survivors=survivors, reply=reply, held=shares)

    # Exchange C

    def open(self, state: State, request: OpenRequest) -> Answered:
        """Open the sum over the survivors that this site and enough others have signed.

        Raises:
            SecureSumError: it is another set, or too few have signed it.
        """
        same = isinstance(state, Agreed | Answered) and _same(state, request)
        if isinstance(state, Answered) and same:
            return state
        if not isinstance(state, Agreed) or not same:
            raise SecureSumError(
                "one-set",
                self.name,
                f"has not signed this survivor set in round {request.round}; begin a new one",
            )
        self._require_signatures(state, request.signatures)
        return Answered(**_sent(state), survivors=state.survivors, reply=state.held)

    # Checks

    def _require_cohort(self, cohort: Sequence[str]) -> None:
        if any(one >= other for one, other in pairwise(cohort)):
            raise SecureSumError("cohort", self.name, "was shown a cohort that is not sorted, each site once")
        if self.name not in cohort:
            raise SecureSumError("cohort", self.name, "is not in the cohort that it was shown")
        for site in cohort:
            self.roster.key_of(site)
        if len(cohort) < self.plan.min_survivors:
            raise SecureSumError(
                "cohort",
                self.name,
                f"was shown a cohort of {len(cohort)}; the plan has at least {self.plan.min_survivors}",
            )

    def _ready(self, state: State, adverts: Sequence[Advert]) -> Ready:
        """The state with all peers known, from their adverts where it is the first round."""
        if isinstance(state, New):
            raise SecureSumError("order", self.name, "has told no key yet; ask for its advert")
        if isinstance(state, Advertised):
            return Ready(peers=self._peers(state, adverts), round=0)
        for advert in adverts:
            known = state.peers.get(advert.site)
            if known is not None and known.key != advert.key:
                raise SecureSumError("advert", advert.site, "has another key than before the first round")
        return state

    def _peers(self, state: Advertised, adverts: Sequence[Advert]) -> dict[str, Peer]:
        peers = {}
        for advert in adverts:
            if advert.site in peers:
                raise SecureSumError("advert", advert.site, "has two adverts; one key a site")
            self._require_advert(advert)
            if advert.site != self.name:
                chain = first_chain_key(state.private, self.name, advert.site, advert.key, self.plan.digest)
                peers[advert.site] = Peer(key=advert.key, chain=chain)
        return peers

    def _require_advert(self, advert: Advert) -> None:
        fields = (self.plan.digest, advert.site, advert.key)
        if not is_signed(self.roster.key_of(advert.site), advert.signature, "advert", *fields):
            raise SecureSumError(
                "advert", advert.site, "its key does not bear its signature; somebody may have exchanged it"
            )

    def _require_unburnt(self, ready: Ready, round_number: int) -> None:
        if round_number <= ready.round:
            raise SecureSumError(
                "burnt",
                self.name,
                f"round {round_number} is burnt, the last one begun was {ready.round}; take a later number",
            )

    def _require_survivors(self, state: Masked, request: SurvivorsRequest) -> None:
        survivors = request.survivors
        if any(one >= other for one, other in pairwise(survivors)) or not set(survivors) <= set(state.cohort):
            raise SecureSumError("survivors", self.name, "was shown survivors that are not of its cohort")
        if self.name not in survivors:
            raise SecureSumError("survivors", self.name, "sent its vector and is not among the survivors")
        if len(survivors) < self.plan.min_survivors:
            raise SecureSumError(
                "min-survivors",
                self.name,
                f"was shown {len(survivors)} survivors; the plan has at least {self.plan.min_survivors}",
            )
        if tuple(commitment.site for commitment in request.commitments) != survivors:
            raise SecureSumError("commitment", self.name, "was not shown one commitment of each survivor")
        for commitment in request.commitments:
            require_commitment(self.roster, commitment, state.context)
        if state.reply.commitment not in request.commitments:
            raise SecureSumError(
                "commitment", self.name, "was shown a commitment in its name that it did not make"
            )

    def _require_signatures(self, state: Agreed, signatures: Mapping[str, bytes]) -> None:
        for site, signature in signatures.items():
            if site not in state.survivors or not is_signed(
                self.roster.key_of(site), signature, "survivors", state.context, state.survivors
            ):
                raise SecureSumError("signatures", site, "has not signed this survivor set, as was claimed")
        if len(signatures) < self.plan.threshold:
            raise SecureSumError(
                "signatures",
                self.name,
                f"was shown {len(signatures)} signatures on the survivors; it takes {self.plan.threshold}",
            )

    # Secrets and shares

    def _self_seed(self) -> bytes:
        return os.urandom(SECRET_BYTES)

    def _boxes(self, state: Training, secrets: Sequence[bytes]) -> tuple[bytes, dict[str, bytes]]:
        """The site's own shares of ``secrets``, and for each peer the box with its shares, in order."""
        shared = [split(secret, self.plan.threshold, len(state.cohort)) for secret in secrets]
        contents = dict(zip(state.cohort, map(b"".join, zip(*shared, strict=True)), strict=True))
        boxes = {
            peer: seal(box_key(chain, state.context, self.name), contents[peer], self.name, peer, state.round)
            for peer, chain in state.chains.items()
        }
        return contents[self.name], boxes

    def _shares(self, state: Masked, request: SurvivorsRequest) -> OpenedShares:
        """This site's shares of what opens the sum over the survivors."""
        dead = [site for site in state.cohort if site not in request.survivors]
        of_self, of_pairs = {}, {}
        for site in request.survivors:
            content = state.own if site == self.name else self._unsealed(state, site, request.boxes)
            secrets = secrets_of(site, state.cohort)
            if len(content) != SHARE_BYTES * len(secrets):
                raise SecureSumError(
                    "box", site, "its box does not hold one share of each secret; leave it out"
                )
            shares = {
                secret: content[place * SHARE_BYTES : (place + 1) * SHARE_BYTES]
                for place, secret in enumerate(secrets)
            }
            of_self[site] = shares[site]
            of_pairs[site] = {other: shares[other] for other in dead}
        return OpenedShares(
            site=self.name, round=state.round, of_self=of_self, of_pairs=of_pairs if dead else {}
        )

    def _unsealed(self, state: Masked, sender: str, boxes: Mapping[str, bytes]) -> bytes:
        if sender not in boxes:
            raise SecureSumError("box", sender, f"its box for {self.name} was not passed on; pass it on")
        return unseal(state.openers[sender], boxes[sender], sender, self.name, state.round)


def _same(state: Agreed | Answered, request: SurvivorsRequest | OpenRequest) -> bool:
    return (state.round, state.survivors) == (request.round, request.survivors)


def _sent(state: Sent) -> dict[str, Any]:
    """What stays of a round once its vector has left."""
    return {name: getattr(state, name) for name in Sent.model_fields}
