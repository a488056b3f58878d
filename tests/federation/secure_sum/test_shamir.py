import secrets
from contextlib import suppress
from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import SecureSumError
from federation.secure_sum.shamir import PRIME, recover, split, weights_at_zero

SECRET = bytes(range(31))


def number(value):
    return value.to_bytes(31, "little")


def drawn(*coefficients):
    ahead = iter(coefficients)
    return lambda below: next(ahead)


class TestSplit:
    def test_gives_the_published_shares(self):
        """1234 + 166 x + 94 x^2, the example of Wikipedia's "Shamir's secret sharing"."""
        shares = split(number(1234), 3, 6, drawn(166, 94))
        assert [int.from_bytes(share, "little") for share in shares] == [1494, 1942, 2578, 3402, 4414, 5614]
        assert recover({2: shares[1], 4: shares[3], 5: shares[4]}, 3) == number(1234)

    def test_draws_each_coefficient_anew_from_the_whole_field(self):
        asked = []
        split(SECRET, 4, 5, lambda below: asked.append(below) or 1)
        assert asked == [PRIME] * 3
        assert split(SECRET, 2, 3) != split(SECRET, 2, 3)

    @pytest.mark.parametrize(
        ("length", "threshold", "holders"), [(30, 2, 3), (32, 2, 3), (31, 0, 3), (31, 4, 3)]
    )
    def test_wants_31_bytes_and_no_more_shares_than_holders(self, length, threshold, holders):
        with pytest.raises(ValueError, match=f"{length} bytes, {threshold} of {holders}"):
            split(bytes(length), threshold, holders)


class TestWeightsAtZero:
    def test_are_those_of_exact_fractions(self):
        """By hand, for x = 1, 2, 4: 2·4 / (1·3), 1·4 / (-1·2), 1·2 / (-3·-2)."""
        by_hand = [Fraction(8, 3), Fraction(-2), Fraction(1, 3)]
        assert weights_at_zero([1, 2, 4]) == [
            f.numerator * pow(f.denominator, -1, PRIME) % PRIME for f in by_hand
        ]

    @pytest.mark.parametrize("holders", [[1, 1], [0, 1], [PRIME, 1]])
    def test_want_each_holder_once_and_none_at_zero(self, holders):
        with pytest.raises(SecureSumError, match="each is above 0 and counts once"):
            weights_at_zero(holders)


class TestRecover:
    def test_any_threshold_of_shares_do(self):
        shares = dict(enumerate(split(SECRET, 3, 5), start=1))
        for size in (3, 4, 5):
            for holders in combinations(shares, size):
                assert recover({x: shares[x] for x in holders}, 3) == SECRET

    @settings(max_examples=30, deadline=None)
    @given(st.binary(min_size=31, max_size=31), st.integers(1, 9), st.integers(0, 9))
    def test_every_secret_comes_back(self, secret, threshold, more):
        shares = split(secret, threshold, threshold + more)
        last = dict(list(enumerate(shares, start=1))[-threshold:])
        assert recover(last, threshold) == secret

    def test_too_few_shares_are_refused(self):
        shares = dict(enumerate(split(SECRET, 3, 5), start=1))
        with pytest.raises(SecureSumError, match="2 shares where 3 are needed"):
            recover({1: shares[1], 2: shares[2]}, 3)

    def test_too_few_shares_fit_every_secret(self):
        """Two of three: whatever the secret is thought to be, one polynomial goes through it and them."""
        shares = [int.from_bytes(share, "little") for share in split(SECRET, 3, 3)]
        for guess in (0, 1, secrets.randbelow(2**248)):
            weights = weights_at_zero([1, 2, 3])
            third = (
                (guess - weights[0] * shares[0] - weights[1] * shares[1]) * pow(weights[2], -1, PRIME) % PRIME
            )
            whole = dict(enumerate((share.to_bytes(32, "little") for share in (*shares[:2], third)), start=1))
            assert recover(whole, 3) == number(guess)

    def test_a_wrong_share_gives_another_secret_or_none(self):
        shares = dict(enumerate(split(SECRET, 3, 5), start=1))
        for wrong in (bytes(32), number(7) + b"\0", shares[4], b"\xff" * 32, b"short"):
            with suppress(SecureSumError):
                assert recover({**shares, 2: wrong}, 3) != SECRET

    def test_a_holder_with_anothers_share_spoils_it(self):
        shares = split(number(1234), 2, 3, drawn(5))
        assert recover({1: shares[0], 2: shares[1]}, 2) == number(1234)
        assert recover({1: shares[0], 3: shares[0]}, 2) == number(1239)
