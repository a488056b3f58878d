"""Real files with some bytes changed: taken or refused by name, whatever they became."""

import os
import struct
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client_app.data.dicom.door import read_instance
from client_app.data.dicom.limits import Limits
from client_app.data.dicom.series import volume
from client_app.data.refusal import Refused
from tests.client_app.data.dicom.conftest import SAMPLES, as_bytes, ct_slice
from tests.client_app.data.dicom.test_series import enhanced

EXAMPLES = int(os.environ.get("WARDROUND_FUZZ_EXAMPLES", "400"))
LIMITS = Limits(file_bytes=1 << 22, inflated_bytes=1 << 22, parts=20_000, pixel_bytes=1 << 22, frames=100)
LENGTHS = [0, 1, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF]
WORDS = [struct.pack("<L", length) for length in LENGTHS] + [
    b"\xfe\xff\x00\xe0",
    b"\xfe\xff\x0d\xe0",
    b"\xfe\xff\xdd\xe0",
    *(name.encode() + b"\0\0" for name in ("SQ", "UN", "OB", "DS", "IS", "US", "UI", "PN", "AT", "FD", "ZZ")),
    b"\\\\\\\\",
    b"1.2.840.10008.1.2",
    b"1.2.840.10008.1.2.1.99",
    b"1.2.840.10008.1.2.5\0",
    b"1.2.840.10008.1.2.4.90",
]


@lru_cache(maxsize=1)
def seeds():
    """Small real files of every kind, and our own of both CT classes."""
    paths = sorted(path for path in SAMPLES.rglob("*.dcm") if path.stat().st_size < 60_000)
    return [path.read_bytes() for path in paths] + [as_bytes(ct_slice(0)), as_bytes(enhanced([0, 1]))]


def written(at, word):
    return lambda content: content[:at] + word + content[at + len(word) :]


def inserted(at, word):
    return lambda content: content[:at] + word + content[at:]


def removed(at, size):
    return lambda content: content[:at] + content[at + size :]


def repeated(at, size, times):
    return lambda content: content[:at] + content[at : at + size] * times + content[at + size :]


# Most changes are near the beginning, where a file's structure is.
PLACES = st.one_of(st.integers(0, 2000), st.integers(0, 60_000))
WORD = st.one_of(st.sampled_from(WORDS), st.binary(min_size=1, max_size=4))
CHANGES = st.lists(
    st.one_of(
        st.builds(written, PLACES, WORD),
        st.builds(inserted, PLACES, WORD),
        st.builds(removed, PLACES, st.integers(1, 64)),
        st.builds(removed, PLACES, st.just(1 << 20)),
        st.builds(repeated, PLACES, st.integers(1, 256), st.integers(2, 20)),
    ),
    min_size=1,
    max_size=8,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "mutated.dcm"


FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="WARDROUND_FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
    database=None,
)


def rule_of(path, content):
    """By which rule a file of these bytes is refused; None if it is taken."""
    path.write_bytes(content)
    try:
        volume([read_instance(path, LIMITS)])
    except Refused as refused:
        return refused.rule
    return None


@given(seed=st.integers(0, len(seeds()) - 1), changes=CHANGES)
@FUZZ
def test_a_mutated_file_is_taken_or_refused_by_name(path: Path, seed, changes):
    content = seeds()[seed]
    for change in changes:
        content = change(content)
    assert rule_of(path, content) != ""


@given(content=st.binary(max_size=2000), preamble=st.booleans())
@FUZZ
def test_any_bytes_are_refused_by_name(path: Path, content, preamble):
    assert rule_of(path, bytes(128) + b"DICM" + content if preamble else content)
