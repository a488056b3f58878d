import pytest

from federation.secure_sum.fingerprint import words_of


# Test vectors of BIP-39, as its authors publish them.
@pytest.mark.parametrize(
    ("digest", "words"),
    [
        ("00" * 32, "abandon " * 11 + "about"),
        ("7f" * 32, "legal winner thank year wave sausage worth useful legal winner thank yellow"),
        ("80" * 32, "letter advice cage absurd amount doctor acoustic avoid letter advice cage above"),
        ("ff" * 32, "zoo " * 11 + "wrong"),
    ],
)
def test_a_hash_is_twelve_words_that_other_programs_would_write_too(digest, words):
    assert words_of(digest) == words


def test_every_bit_of_the_first_half_changes_the_words():
    number = int("5a" * 32, 16)
    changed = {words_of(f"{number ^ (1 << (255 - bit)):064x}") for bit in range(128)}
    assert len(changed - {words_of(f"{number:064x}")}) == 128
