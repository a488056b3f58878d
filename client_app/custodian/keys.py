"""A hospital's own keys. They are made where they are used, and never leave.

<site folder>/keys/noise        32 bytes: the source of all noise and sampling
<site folder>/keys/pseudonyms   32 bytes: by which patients are known in the ledger
<site folder>/keys/identity     32 bytes: Ed25519, signs the audit log's heads
"""

import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from federation.key_files import KEY_BYTES, kept_key, read_key

KEY_FILES = ("noise", "pseudonyms", "identity")


@dataclass(frozen=True, repr=False)
class SiteKeys:
    """See the module.

    Attributes:
        noise: the source of noise and sampling.
        pseudonyms: the key of patients' pseudonyms.
        identity: signs for the site.
    """

    noise: bytes
    pseudonyms: bytes
    identity: Ed25519PrivateKey

    @classmethod
    def of(cls, secret: bytes) -> "SiteKeys":
        """Keys that all follow from one secret, for sites that last no longer than a simulation."""

        def derived(name: str) -> bytes:
            return HKDF(SHA256(), KEY_BYTES, salt=None, info=f"wardround {name}".encode()).derive(secret)

        identity = Ed25519PrivateKey.from_private_bytes(derived("identity"))
        return cls(noise=secret, pseudonyms=derived("pseudonyms"), identity=identity)

    @classmethod
    def seeded(cls, seed: int, site: str) -> "SiteKeys":
        """Keys that anybody can compute: for runs that must repeat, never for patients."""
        return cls.of(hashlib.sha256(f"simulation seed {seed} of {site}".encode()).digest())

    @classmethod
    def kept_in(cls, site_folder: Path) -> "SiteKeys":
        """The site's keys; drawn from the operating system the first time, mode 0600.

        Raises:
            DataError: a file is there and is no key, or others may read it.
            StorageError: one could not be written.
        """
        noise, pseudonyms, identity = (kept_key(key_file(site_folder, name)) for name in KEY_FILES)
        return cls(noise, pseudonyms, Ed25519PrivateKey.from_private_bytes(identity))

    @classmethod
    def found_in(cls, site_folder: Path) -> "SiteKeys":
        """The site's keys as they lie there; none is made.

        Raises:
            DataError: a file is missing or is no key, or others may read it.
        """
        noise, pseudonyms, identity = (read_key(key_file(site_folder, name)) for name in KEY_FILES)
        return cls(noise, pseudonyms, Ed25519PrivateKey.from_private_bytes(identity))

    @property
    def public(self) -> str:
        """The public half of ``identity``, raw, as hex digits; what a roster has of the site."""
        return self.identity.public_key().public_bytes_raw().hex()

    @property
    def owner(self) -> str:
        """Fingerprint of the key of pseudonyms, which tells whose ledger is whose."""
        return self.pseudonym("")

    def pseudonym(self, patient: str) -> str:
        """How the ledger knows a patient: HMAC-SHA-256 of what the hospital calls them, 64 hex digits."""
        return hmac.new(self.pseudonyms, patient.encode(), hashlib.sha256).hexdigest()


def key_file(site_folder: Path, name: str) -> Path:
    """Where the key of that name lies."""
    return site_folder / "keys" / name
