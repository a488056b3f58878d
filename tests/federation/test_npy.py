import ast
import io
from zipfile import ZIP_BZIP2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, scalar_dtypes, unicode_string_dtypes

from federation.npy import from_npy, from_npz, to_npy

DTYPES = scalar_dtypes().filter(lambda dtype: dtype.kind in "biufc") | unicode_string_dtypes()
ANY_ARRAY = DTYPES.flatmap(lambda dtype: arrays(dtype, array_shapes(min_dims=0, min_side=0)))


def by_numpy(array, version=(1, 0)):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version)
    return file.getvalue()


def with_header(text):
    header = text.encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(24)


@given(ANY_ARRAY, st.sampled_from("CF"))
def test_reads_what_numpy_writes(array, order):
    array = np.asarray(array, order=order)
    read = from_npy(by_numpy(array))
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)
    assert read.flags.writeable


@given(ANY_ARRAY)
def test_numpy_reads_what_it_writes(array):
    read = np.load(io.BytesIO(to_npy(array)), allow_pickle=False)
    np.testing.assert_array_equal(read, array)


@given(st.binary(max_size=200) | st.text(max_size=90).map(with_header))
def test_no_bytes_raise_anything_but_the_one_error(content):
    with pytest.raises(ValueError, match=r"^\d+ bytes that are no|^the header of a \.npy file"):
        from_npy(content)


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }\n"


@pytest.mark.parametrize(
    "content",
    [
        by_numpy(np.zeros(3, np.float32))[:-1],
        by_numpy(np.zeros(3, np.float32)) + b"Erika Mustermann",
        by_numpy(np.zeros(3, np.float32), version=(2, 0)),
        by_numpy(np.array([b"Erika"])),
        by_numpy(np.zeros(3, dtype=[("a", "<f4")])),
        with_header(GOOD.replace("<f4", "|O8")),
        with_header(GOOD.replace("<f4", "<f7")),
        with_header(GOOD.replace("6", "1" * 60)),
        with_header(GOOD.replace("6", "-6")),
        with_header(GOOD.replace("6,", "6 6,")),
        with_header(GOOD.replace("6,", ",")),
        with_header("__import__('os').abort()"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(content):
    assert from_npy(with_header(GOOD)).shape == (6,)
    with pytest.raises(ValueError, match=r"bytes|header|does not know"):
        from_npy(content)


def test_no_header_is_read_as_python(monkeypatch):
    """Which several threads cannot do at once before Python 3.11.8; numpy's own reader does it."""
    content = to_npy(np.zeros(41, dtype=np.uint32))

    def breaks(*_, **__):
        raise SystemError("AST constructor recursion depth mismatch")

    with monkeypatch.context() as patch:
        patch.setattr(ast, "parse", breaks)
        read = from_npy(content)
        with pytest.raises(SystemError):
            np.load(io.BytesIO(content))
    assert read.shape == (41,)


def test_an_archive_is_read_as_numpy_reads_it():
    file, arrays = io.BytesIO(), {"images": np.arange(6).reshape(2, 3), "names": np.array(["a", "bc"])}
    np.savez_compressed(file, **arrays)
    read = from_npz(file.getvalue())
    assert list(read) == ["images", "names"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)


def test_of_an_archive_nothing_is_read_but_what_is_named():
    file = io.BytesIO()
    np.savez(file, images=np.arange(6), pickled=np.array([{}]))
    assert list(from_npz(file.getvalue(), ["images"])) == ["images"]
    for names in (None, ["pickled"], ["labels"]):
        with pytest.raises(ValueError, match=r"header|no item named"):
            from_npz(file.getvalue(), names)


@pytest.mark.parametrize("cut", [0, 10, 300])
def test_half_an_archive_is_none(cut):
    file = io.BytesIO()
    np.savez_compressed(file, images=np.arange(1000))
    with pytest.raises(ValueError, match=r"no \.npz"):
        from_npz(file.getvalue()[:cut])


def test_an_archive_that_is_packed_otherwise_than_it_says_is_none():
    file = io.BytesIO()
    np.savez_compressed(file, images=np.arange(1000))
    content = bytearray(file.getvalue())
    content[content.rindex(b"PK\x01\x02") + 10] = ZIP_BZIP2  # where the directory tells how
    with pytest.raises(ValueError, match=r"no \.npz"):
        from_npz(bytes(content))
