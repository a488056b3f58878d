"""Bodies in parts, however they are cut into pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_app.data.pacs.dropped import DroppedError
from client_app.data.pacs.multipart import boundary_of, parts

BOUNDARY = b"a-b"


def body(contents):
    head = b"Content-Type: application/dicom\r\n\r\n"
    return b"".join(b"--a-b\r\n" + head + content + b"\r\n" for content in contents) + b"--a-b--\r\n"


def pieces(content, size):
    return (content[first : first + size] for first in range(0, len(content), size))


def read(content, size):
    return [b"".join(part) for part in parts(pieces(content, size), BOUNDARY)]


@given(
    st.lists(st.binary(max_size=50).filter(lambda part: b"\r\n--a-b" not in part + b"\r\n")),
    st.integers(1, 100),
)
def test_parts_come_as_they_were_sent_whatever_the_pieces(contents, size):
    assert read(body(contents), size) == contents


@given(st.integers(0, 150), st.integers(1, 40))
def test_one_that_is_cut_off_is_noticed_wherever_it_is(end, size):
    whole = body([b"one", b"\r\n--a-", b"three"])
    cut = whole[: min(end, len(whole) - 4)]
    with pytest.raises(DroppedError):
        read(cut, size)


def test_what_stands_before_the_first_boundary_is_passed_over():
    assert read(b"preamble\r\n" + body([b"x"]), 7) == [b"x"]


@pytest.mark.parametrize("endless", [b"x" * (1 << 17), b"--a-b\r\n" + b"X: y\r\n" * (1 << 15)])
def test_a_part_that_does_not_begin_is_given_up(endless):
    with pytest.raises(DroppedError, match="does not begin"):
        read(endless, 4096)


def test_little_of_a_part_is_in_memory():
    sizes = [len(piece) for part in parts(pieces(body([b"x" * 10**6]), 1000), BOUNDARY) for piece in part]
    assert max(sizes) <= 2000
    assert sum(sizes) == 10**6


@pytest.mark.parametrize(
    ("said", "boundary"),
    [
        ('multipart/related; type="application/dicom"; boundary=a-b', b"a-b"),
        ('Multipart/Related; boundary="a b"', b"a b"),
        ("application/dicom", b""),
        ("", b""),
        ("text/html; charset=utf-8", b""),
    ],
)
def test_the_boundary_is_read_of_the_content_type(said, boundary):
    assert boundary_of(said) == boundary


@pytest.mark.parametrize("said", ["multipart/related", "multipart/related; boundary=" + "x" * 71])
def test_a_body_of_parts_needs_one_that_may_be(said):
    with pytest.raises(DroppedError):
        boundary_of(said)
