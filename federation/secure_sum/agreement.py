"""What two sites share: a chain of keys, and what a round derives from it.

X25519 (RFC 7748) begins the chain, HKDF (RFC 5869) does the rest. The chain moves on with every round, and
the keys that it began with are erased: who steals a site's keys today cannot read yesterday's rounds.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from federation.errors import SecureSumError
from federation.secure_sum.masks import SEED_BYTES
from federation.secure_sum.transcript import Field, encoded

KEY_BYTES = 32
# A key encrypts one box: it belongs to one pair, one round and one direction.
_NONCE = bytes(12)


def first_chain_key(private: bytes, site: str, peer: str, peer_key: bytes, plan: bytes) -> bytes:
    """The key of ``site`` and ``peer`` before the first round; both compute the same.

    Args:
        private: the site's X25519 key, raw.
        site: its name.
        peer: the other's name.
        peer_key: the other's public key, raw, from an advert that was verified.
        plan: the plan's digest, which holds the roster's hash.

    Raises:
        SecureSumError: the peer's key is one of the few that agree with every other.
    """
    own = X25519PrivateKey.from_private_bytes(private)
    try:
        secret = own.exchange(X25519PublicKey.from_public_bytes(peer_key))
    except ValueError as error:
        raise SecureSumError(
            "key", peer, "its public key agrees with any other; it needs a new one"
        ) from error
    pair = sorted([(site, own.public_key().public_bytes_raw()), (peer, peer_key)])
    return _derived(secret, KEY_BYTES, "pair", plan, pair)


def next_chain_key(chain: bytes) -> bytes:
    """The key of the round after; there is no way back."""
    return _derived(chain, KEY_BYTES, "ratchet")


def mask_seed(chain: bytes, context: bytes) -> bytes:
    """The seed of a pair's mask in the round of ``context``; the same for both."""
    return _derived(chain, SEED_BYTES, "mask", context)


def box_key(chain: bytes, context: bytes, sender: str) -> bytes:
    """The key of the one box that ``sender`` sends to its peer in the round of ``context``."""
    return _derived(chain, KEY_BYTES, "box", context, sender)


def seal(key: bytes, content: bytes, sender: str, receiver: str, round_number: int) -> bytes:
    """A box (ChaCha20-Poly1305, RFC 8439) that opens only as this sender's to this receiver in this round."""
    return ChaCha20Poly1305(key).encrypt(_NONCE, content, encoded(sender, receiver, round_number))


def unseal(key: bytes, box: bytes, sender: str, receiver: str, round_number: int) -> bytes:
    """The content of a box from ``seal``.

    Raises:
        SecureSumError: it is another's, another round's, or was changed.
    """
    try:
        return ChaCha20Poly1305(key).decrypt(_NONCE, box, encoded(sender, receiver, round_number))
    except InvalidTag as error:
        raise SecureSumError(
            "box", sender, f"its box for {receiver} in round {round_number} does not open; begin a new round"
        ) from error


def _derived(secret: bytes, length: int, label: str, *fields: Field) -> bytes:
    info = encoded(f"wardround secure sum 1 {label}", *fields)
    return HKDF(SHA256(), length, salt=None, info=info).derive(secret)
