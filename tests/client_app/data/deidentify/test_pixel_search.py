"""A search for many byte strings at once finds what a search for each would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_app.data.deidentify.pixel_search import SHORTEST, found_in

FEW = st.binary(min_size=1, max_size=1).map(lambda byte: bytes([byte[0] % 3]))
BYTES = st.lists(FEW, max_size=60).map(b"".join)
FORMS = st.lists(st.lists(FEW, min_size=SHORTEST, max_size=11).map(b"".join), max_size=5)


@given(FORMS, BYTES)
def test_it_finds_what_is_there_and_nothing_else(forms, pixels):
    found = found_in({form: form for form in forms}, pixels)
    assert (found is not None) == any(form in pixels for form in forms)
    assert found is None or found in pixels


@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("behind", range(2))
def test_it_finds_at_any_offset_from_the_first_to_the_last(before, behind):
    form = b"Zimmerquist"
    assert found_in({form: 1, b"Wachholder": 2}, bytes(before) + form + bytes(behind)) == 1
    assert found_in({form: 1}, bytes(before) + form[:-1] + bytes(behind)) is None


@pytest.mark.parametrize("pixels", [b"", b"Z", b"Zi", b"Zim"])
def test_few_bytes_are_no_finding(pixels):
    assert found_in({b"Zimmerquist": 1}, pixels) is None
