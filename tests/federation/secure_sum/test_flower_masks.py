"""Why Wardround has masks of its own: what a coordinator gets from those of the installed Flower, unmodified.

The functions of ``flwr``'s SecAgg+ modifier run as they are; only the coordinator is dishonest. Every attack
recovers one site's update from what three sites send and answer; ``test_attacks.py`` tries the same on ours.
"""

import base64
import functools
import importlib
import io
import operator

import numpy as np
from flwr.app import ConfigRecord
from flwr.common import ndarrays_to_parameters
from flwr.common.secure_aggregation.crypto.shamir import combine_shares
from flwr.common.secure_aggregation.crypto.symmetric_encryption import decrypt, generate_shared_key
from flwr.common.secure_aggregation.quantization import dequantize
from flwr.common.secure_aggregation.secaggplus_constants import Key
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen, share_keys_plaintext_separate
from flwr.supercore.primitives.asymmetric import (
    bytes_to_private_key,
    bytes_to_public_key,
    generate_key_pairs,
    public_key_to_bytes,
)

# The package hides this module behind the function of the same name.
flower = importlib.import_module("flwr.client.mod.secure_aggregation.secaggplus_mod")

VICTIM, OTHERS = 1, (2, 3)
SITES, THRESHOLD, CLIP, TARGET, MODULUS, WEIGHT = 3, 2, 8.0, 1 << 22, 1 << 32, 1000.0
SHAPES = [(1,), (25,)]
UPDATE = {site: np.linspace(-1, 1, 25) * site for site in (VICTIM, *OTHERS)}


class Flower:
    """Three sites that run Flower's functions."""

    def __init__(self):
        self.states = {site: flower.SecAggPlusState() for site in UPDATE}
        settings = {
            Key.SAMPLE_NUMBER: SITES,
            Key.SHARE_NUMBER: SITES,
            Key.THRESHOLD: THRESHOLD,
            Key.CLIPPING_RANGE: CLIP,
            Key.TARGET_RANGE: TARGET,
            Key.MOD_RANGE: MODULUS,
            Key.MAX_WEIGHT: WEIGHT,
        }
        self.public = {}
        for site, state in self.states.items():
            state.nid = site
            told = flower._setup(state, ConfigRecord(settings))
            self.public[site] = (told[Key.PUBLIC_KEY_1], told[Key.PUBLIC_KEY_2])
        self.boxes = {}

    def share(self, site, public):
        told = ConfigRecord({str(other): list(keys) for other, keys in public.items()})
        sent = flower._share_keys(self.states[site], told)
        for receiver, box in zip(sent[Key.DESTINATION_LIST], sent[Key.CIPHERTEXT_LIST], strict=True):
            self.boxes[site, receiver] = box

    def masked(self, site, senders):
        """The site's masked update, int64: the weight, then the coordinates."""
        boxes = ConfigRecord(
            {Key.SOURCE_LIST: list(senders), Key.CIPHERTEXT_LIST: [self.boxes[s, site] for s in senders]}
        )
        update = ndarrays_to_parameters([UPDATE[site]])
        sent = flower._collect_masked_vectors(self.states[site], boxes, int(WEIGHT), update)
        return [np.load(io.BytesIO(array)) for array in sent[Key.MASKED_PARAMETERS]]

    def collected(self):
        """Everybody's masked update, honestly asked for."""
        for site in UPDATE:
            self.share(site, self.public)
        return {site: self.masked(site, [other for other in UPDATE if other != site]) for site in UPDATE}

    def opened(self, active, dead, asked):
        """Shares by node id, as the sites in ``asked`` answer; an id that stands twice has two."""
        shares = {}
        for site in asked:
            question = ConfigRecord(
                {Key.ACTIVE_NODE_ID_LIST: list(active), Key.DEAD_NODE_ID_LIST: list(dead)}
            )
            answer = flower._unmask(self.states[site], question)
            told = list(zip(answer[Key.NODE_ID_LIST], answer[Key.SHARE_LIST], strict=True))
            for place, (node, share) in enumerate(told):
                kind = "self" if place < len(active) else "key"
                shares.setdefault((node, kind), []).append(share)
        return shares


def without(masked, seed, sign):
    mask = pseudo_rand_gen(seed, MODULUS, SHAPES)
    return [(array - sign * part) % MODULUS for array, part in zip(masked, mask, strict=True)]


def pair_sign(site, other):
    return 1 if site > other else -1


def update_in(unmasked):
    return dequantize(unmasked[1:], CLIP, TARGET)[0]


def test_a_node_that_is_listed_both_active_and_dead_is_opened():
    federation = Flower()
    sent = federation.collected()[VICTIM]
    shares = federation.opened(active=(1, 2, 3), dead=(VICTIM,), asked=OTHERS)
    key = bytes_to_private_key(combine_shares(shares[VICTIM, "key"]))
    unmasked = without(sent, combine_shares(shares[VICTIM, "self"]), 1)
    for other in OTHERS:
        seed = generate_shared_key(key, bytes_to_public_key(federation.public[other][0]))
        unmasked = without(unmasked, seed, pair_sign(VICTIM, other))
    np.testing.assert_allclose(update_in(unmasked), UPDATE[VICTIM], atol=1e-5)


def test_keys_that_the_coordinator_puts_in_others_place_open_a_node_without_any_answer():
    federation, own = Flower(), {other: (generate_key_pairs(), generate_key_pairs()) for other in OTHERS}
    shown = {other: tuple(public_key_to_bytes(public) for _, public in pairs) for other, pairs in own.items()}
    federation.share(VICTIM, {VICTIM: federation.public[VICTIM], **shown})
    first, second = (bytes_to_public_key(key) for key in federation.public[VICTIM])
    shares, seeds = [], {}
    for other, ((mask_key, _), (box_key, _)) in own.items():
        content = decrypt(generate_shared_key(box_key, second), federation.boxes[VICTIM, other])
        shares.append(share_keys_plaintext_separate(content)[2])
        seeds[other] = generate_shared_key(mask_key, first)
        federation.boxes[other, VICTIM] = flower.encrypt(
            generate_shared_key(box_key, second),
            flower.share_keys_plaintext_concat(other, VICTIM, b"", b""),
        )
    unmasked = without(federation.masked(VICTIM, OTHERS), combine_shares(shares), 1)
    for other, seed in seeds.items():
        unmasked = without(unmasked, seed, pair_sign(VICTIM, other))
    np.testing.assert_allclose(update_in(unmasked), UPDATE[VICTIM], atol=1e-5)


class TestSeedFold:
    """256 bits of a shared key are written as 44 letters of base64, which are then folded to four bytes."""

    def test_of_2_to_the_256_keys_there_are_2_to_the_28_masks(self):
        letters = set(base64.urlsafe_b64encode(bytes(range(256)) * 3)) - {ord("=")}
        assert len(letters) == 64
        reachable = 1
        for place in range(4):
            folded = {0}
            for letter in [letters] * 11 if place < 3 else [letters] * 10 + [{ord("=")}]:
                folded = {one ^ other for one in folded for other in letter}
            reachable *= len(folded)
        assert reachable == 2**28

    def test_the_mask_of_a_key_is_that_of_its_fold(self):
        (private, _), (_, public) = generate_key_pairs(), generate_key_pairs()
        key = generate_shared_key(private, public)
        folded = fold(key)
        assert folded < 2**31
        whole, short = (
            pseudo_rand_gen(seed, MODULUS, SHAPES) for seed in (key, folded.to_bytes(4, "little"))
        )
        assert all((one == other).all() for one, other in zip(whole, short, strict=True))

    def test_after_one_dropout_of_three_a_search_opens_a_node(self):
        """All but 12 of the 28 bits are given here; all 28 take 2^16 times as long."""
        federation = Flower()
        sent = federation.collected()[VICTIM]
        shares = federation.opened(active=(1, 2), dead=(3,), asked=(1, 2))
        dead = bytes_to_private_key(combine_shares(shares[3, "key"]))
        seed = generate_shared_key(dead, bytes_to_public_key(federation.public[VICTIM][0]))
        left = without(sent, combine_shares(shares[VICTIM, "self"]), 1)
        left = without(left, seed, pair_sign(VICTIM, 3))
        secret = fold(
            generate_shared_key(
                bytes_to_private_key(federation.states[VICTIM].sk1),
                bytes_to_public_key(federation.public[2][0]),
            )
        )
        low = 2**12 - 1
        found = [
            candidate
            for candidate in range(secret & ~low, (secret & ~low) + low + 1)
            if looks_unmasked(without(left, candidate.to_bytes(4, "little"), pair_sign(VICTIM, 2)))
        ]
        assert found == [secret]
        unmasked = without(left, secret.to_bytes(4, "little"), pair_sign(VICTIM, 2))
        np.testing.assert_allclose(update_in(unmasked), UPDATE[VICTIM], atol=1e-5)


def fold(key):
    """The four bytes that ``pseudo_rand_gen`` makes of a key."""
    words = (int.from_bytes(key[start : start + 4], "little") for start in range(0, len(key), 4))
    return functools.reduce(operator.xor, words)


def looks_unmasked(arrays):
    """Masked numbers fill all of 2^32; those of an update, one thousandth of it."""
    return all((array <= TARGET).all() for array in arrays)
