"""How a text may stand in a file: in other letters, and in other bytes."""

from collections.abc import Iterator
from contextlib import suppress
from unicodedata import combining, normalize

_ALWAYS = ("utf-8", "utf-16-le", "utf-16-be", "latin-1")
_SPELT = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa", "ß": "ss", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"}
)
_SHORTEST = 3  # letters


def spellings(text: str) -> tuple[str, ...]:
    """In small letters and in large ones, and as those write it who have ASCII alone."""
    if text.isascii():
        return (text,)
    return (text, text.upper(), text.lower(), text.title(), *_in_ascii(text))


def _in_ascii(text: str) -> Iterator[str]:
    """Müller as Mueller, and as Muller; nothing of a name in other letters."""
    for spelt in (text.translate(_SPELT), text.replace("ß", "ss")):
        bare = "".join(each for each in normalize("NFKD", spelt) if not combining(each))
        if bare.isascii() and len(bare) >= _SHORTEST:
            yield bare


def forms(text: str, encodings: tuple[str, ...]) -> set[bytes]:
    """The text as bytes, in the character sets of its file and in those that anybody might use."""
    found = set()
    for encoding in dict.fromkeys((*encodings, *_ALWAYS)):
        with suppress(UnicodeEncodeError, LookupError):
            found.add(text.encode(encoding))
    return found
