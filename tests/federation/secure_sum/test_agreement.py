import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from federated import identity, public
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import SecureSumError
from federation.secure_sum.agreement import (
    box_key,
    first_chain_key,
    mask_seed,
    next_chain_key,
    seal,
    unseal,
)
from federation.secure_sum.signing import is_signed, sign
from federation.secure_sum.transcript import context, digest, encoded

ALDER, BEECH = (X25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2))
CHAIN, CONTEXT, PLAN = bytes(32), bytes([1]) * 32, bytes([2]) * 32


def raw(key):
    return key.public_key().public_bytes_raw()


def chain_of(site, peer, plan=PLAN, own=ALDER, other=BEECH):
    return first_chain_key(own.private_bytes_raw(), site, peer, raw(other), plan)


class TestChain:
    def test_both_compute_the_same(self):
        assert chain_of("alder", "beech") == chain_of("beech", "alder", own=BEECH, other=ALDER)

    def test_it_belongs_to_the_names_the_keys_and_the_plan(self):
        third = X25519PrivateKey.from_private_bytes(bytes([3]) * 32)
        chains = {
            chain_of("alder", "beech"),
            chain_of("alder", "cedar"),
            chain_of("beech", "alder"),
            chain_of("alder", "beech", plan=bytes(32)),
            chain_of("alder", "beech", other=third),
        }
        assert len(chains) == 5

    @pytest.mark.parametrize("low", [bytes(32), bytes([1]) + bytes(31)])
    def test_a_key_that_agrees_with_every_other_is_refused(self, low):
        with pytest.raises(SecureSumError, match="beech: its public key agrees with any other"):
            first_chain_key(ALDER.private_bytes_raw(), "alder", "beech", low, PLAN)

    def test_what_follows_from_it_is_apart(self):
        derived = {
            next_chain_key(CHAIN),
            mask_seed(CHAIN, CONTEXT),
            mask_seed(CHAIN, PLAN),
            mask_seed(next_chain_key(CHAIN), CONTEXT),
            box_key(CHAIN, CONTEXT, "alder"),
            box_key(CHAIN, CONTEXT, "beech"),
            box_key(CHAIN, PLAN, "alder"),
        }
        assert len(derived) == 7


class TestBox:
    BOX = seal(CHAIN, b"shares", "alder", "beech", 3)

    def test_its_receiver_opens_it(self):
        assert unseal(CHAIN, self.BOX, "alder", "beech", 3) == b"shares"

    @pytest.mark.parametrize(
        "opened",
        [
            (CHAIN, BOX, "cedar", "beech", 3),
            (CHAIN, BOX, "alder", "cedar", 3),
            (CHAIN, BOX, "alder", "beech", 4),
            (CONTEXT, BOX, "alder", "beech", 3),
            (CHAIN, BOX[:-1], "alder", "beech", 3),
            (CHAIN, bytes([BOX[0] ^ 1]) + BOX[1:], "alder", "beech", 3),
            (CHAIN, b"", "alder", "beech", 3),
        ],
    )
    def test_anything_else_does_not_open(self, opened):
        with pytest.raises(SecureSumError, match=r"in round . does not open"):
            unseal(*opened)


class TestSignature:
    KEY = bytes.fromhex(public("alder"))

    def test_it_is_over_the_fields_the_kind_of_statement_and_the_key(self):
        signature = sign(identity("alder"), "advert", "a", "b")
        assert is_signed(self.KEY, signature, "advert", "a", "b")
        assert not is_signed(self.KEY, signature, "advert", "ab", "")
        assert not is_signed(self.KEY, signature, "commitment", "a", "b")
        assert not is_signed(bytes.fromhex(public("beech")), signature, "advert", "a", "b")
        assert not is_signed(self.KEY, signature[:-1], "advert", "a", "b")
        assert not is_signed(b"short", signature, "advert", "a", "b")


FIELDS = st.recursive(
    st.binary(max_size=9) | st.text(max_size=3) | st.integers(-300, 300) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=6,
)


def typed(field):
    """What tells apart what Python counts as equal."""
    if isinstance(field, tuple):
        return tuple(map(typed, field))
    return type(field).__name__, repr(field)


class TestTranscript:
    @given(st.lists(FIELDS, max_size=4), st.lists(FIELDS, max_size=4))
    def test_no_two_lists_of_fields_are_encoded_alike(self, one, other):
        assert (encoded(*one) == encoded(*other)) == (typed(tuple(one)) == typed(tuple(other)))

    @pytest.mark.parametrize(
        ("one", "other"),
        [(("ab", ""), ("a", "b")), ((b"a",), ("a",)), ((1,), ("1",)), ((1,), (1.0,)), (((), "a"), (("a",),))],
    )
    def test_fields_keep_their_borders_and_types(self, one, other):
        assert encoded(*one) != encoded(*other)

    def test_a_context_is_of_the_plan_the_round_the_cohort_and_the_model(self):
        contexts = {
            context(PLAN, 1, ("a", "b"), CHAIN),
            context(CHAIN, 1, ("a", "b"), CHAIN),
            context(PLAN, 2, ("a", "b"), CHAIN),
            context(PLAN, 1, ("a", "c"), CHAIN),
            context(PLAN, 1, ("a", "b"), PLAN),
        }
        assert len(contexts) == 5

    def test_labels_are_domains(self):
        assert digest("one", "a") != digest("other", "a")
