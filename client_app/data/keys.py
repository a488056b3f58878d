"""What stands for a patient, a UID and a date outside of the hospital's records; one key decides them all.

The key never leaves the site. Whoever has it can tell which patient a pseudonym is; without it, nobody can
tell more than that two pseudonyms are the same (HMAC-SHA-256, RFC 2104).
"""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from unicodedata import category, normalize

from federation.errors import ConfigError
from federation.key_files import KEY_BYTES, kept_key, read_key

_FEWEST_DAYS = 30
_MOST_DAYS = 1095


@dataclass(frozen=True, repr=False)
class Pseudonyms:
    """The same for a patient in every file and every run; see the module.

    Attributes:
        key: 32 bytes.
    """

    key: bytes

    def __post_init__(self) -> None:
        if len(self.key) != KEY_BYTES:
            raise ConfigError(f"a key of pseudonyms has {KEY_BYTES} bytes, this one has {len(self.key)}")

    @classmethod
    def kept_at(cls, file: Path) -> "Pseudonyms":
        """Those of the key in ``file``; drawn from the operating system the first time, mode 0600.

        Raises:
            DataError: what lies there is no key, or others may read it; it is never overwritten.
            StorageError: it could not be written.
        """
        return cls(kept_key(file))

    @classmethod
    def found_at(cls, file: Path) -> "Pseudonyms":
        """Those of the key in ``file``; none is drawn.

        Raises:
            DataError: it is missing or is no key, or others may read it.
        """
        return cls(read_key(file))

    @property
    def owner(self) -> str:
        """A fingerprint of the key, which gives nothing of it away."""
        return self._keyed("owner", "").hex()

    def patient(self, ehr_id: str) -> str:
        """Who the hospital's patient ``ehr_id`` is here, however it is written: 16 lowercase hex digits."""
        return self._keyed("patient", comparable(ehr_id)).hex()[:16]

    def uid(self, uid: str) -> str:
        """What ``uid`` is called here: a UUID-derived UID (PS3.5 B.2), at most 44 characters."""
        return f"2.25.{int.from_bytes(self._keyed('uid', _plain(uid))[:16])}"

    def shift(self, ehr_id: str) -> timedelta:
        """How far all of the patient's dates go back: 30 to 1095 whole days, so that intervals stay."""
        drawn = int.from_bytes(self._keyed("shift", comparable(ehr_id))[:16])
        return timedelta(days=_FEWEST_DAYS + drawn % (_MOST_DAYS - _FEWEST_DAYS + 1))

    def _keyed(self, what: str, name: str) -> bytes:
        text = f"{what}/{name}".encode(errors="surrogatepass")
        return hmac.new(self.key, text, hashlib.sha256).digest()


def _plain(name: str) -> str:
    """Without the padding that DICOM adds and other records do not (PS3.5 6.2)."""
    return name.strip(" \0")


def comparable(number: str) -> str:
    """A patient's number as two people write the same one: without case, spaces and zeros in front.

    Nor does it matter whether digits are full-width, or what nobody sees stands between them.
    """
    seen = (each for each in normalize("NFKC", number) if category(each) not in ("Cf", "Cc"))
    plain = "".join("".join(seen).split()).casefold()
    return plain.lstrip("0") or plain[-1:]
