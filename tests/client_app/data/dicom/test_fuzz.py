"""Real files with some bytes changed: taken or refused by name, whatever they became."""

import os
import struct
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from client_app.data.dicom.door import _parsed, read_instance
from client_app.data.dicom.limits import Limits
from client_app.data.dicom.series import volume
from client_app.data.dicom.structure import _Walk, transfer_syntax
from client_app.data.refusal import Refused
from tests.client_app.data.dicom import hostile
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


def parts(dataset):
    """How many elements and items pydicom has made objects of."""
    inner = [item for element in dataset if element.VR == "SQ" for item in element.value]
    return len(dataset) + len(inner) + sum(parts(item) for item in inner)


UNSEEN = "pydicom makes more objects of a file than the walk has counted"


@pytest.mark.attack(UNSEEN, held_by="the walk enters whatever pydicom would")
@given(seed=st.integers(0, len(seeds()) - 1), changes=CHANGES)
@FUZZ
def test_the_walk_counts_at_least_what_pydicom_makes(seed, changes):
    content = seeds()[seed]
    for change in changes:
        content = change(content)
    try:
        syntax, start = transfer_syntax(content, LIMITS)
        walk = _Walk(content, LIMITS, big=syntax == ExplicitVRBigEndian)
        walk.elements(start, len(content), depth=0, implicit=syntax == ImplicitVRLittleEndian)
        dataset = _parsed(content)
    except Refused:
        return
    if syntax != DeflatedExplicitVRLittleEndian:
        assert parts(dataset) <= walk._parts


@pytest.mark.mutant(UNSEEN, how="what the file calls unknown is not entered")
def test_not_entering_what_is_unknown_misses_what_pydicom_makes(monkeypatch):
    content = hostile.file_of(hostile.element(8, 0x1140, "UN", hostile.item() * 1000))
    monkeypatch.setattr(_Walk, "_begins_with_item", lambda self, start: False)
    _, start = transfer_syntax(content, LIMITS)
    walk = _Walk(content, LIMITS, big=False)
    walk.elements(start, len(content), depth=0, implicit=False)
    assert (parts(_parsed(content)), walk._parts) == (1001, 1)


@given(content=st.binary(max_size=2000), preamble=st.booleans())
@FUZZ
def test_any_bytes_are_refused_by_name(path: Path, content, preamble):
    assert rule_of(path, bytes(128) + b"DICM" + content if preamble else content)
