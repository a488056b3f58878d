import numpy as np
import pytest

from tasks.heart_disease.findings import FINDINGS, WIDTH, Category, Measurement, encode

NAMES = [finding.name for finding in FINDINGS]
PATIENT = [63, 1, 1, 145, 233, 1, 2, 150, 0, 2.3, 3, 0, 6]


def columns(name):
    """Where the numbers of a finding stand in a row."""
    place = NAMES.index(name)
    start = sum(finding.width for finding in FINDINGS[:place])
    return slice(start, start + FINDINGS[place].width)


def test_thirteen_findings_become_31_numbers():
    assert (len(FINDINGS), WIDTH) == (13, 31)
    row = encode(PATIENT)
    assert (row.shape, row.dtype) == ((31,), np.float32)


def test_a_measurement_is_scaled_by_what_is_usual_and_not_by_the_patients():
    assert encode(PATIENT)[columns("cholesterol")].tolist() == pytest.approx([(233 - 220) / 50, 0])


@pytest.mark.parametrize("place", [p for p, f in enumerate(FINDINGS) if isinstance(f, Measurement)])
def test_a_missing_measurement_raises_its_flag(place):
    row = [float("nan") if p == place else value for p, value in enumerate(PATIENT)]
    assert encode(row)[columns(NAMES[place])].tolist() == [0, 1]
    assert encode(PATIENT)[columns(NAMES[place])][1] == 0


@pytest.mark.parametrize("place", [p for p, f in enumerate(FINDINGS) if isinstance(f, Category)])
def test_a_category_is_one_of_its_kinds_or_missing(place):
    finding = FINDINGS[place]
    assert [sum(finding.encode(kind)) for kind in finding.kinds] == [1] * finding.width
    assert finding.encode(float("nan")) == [0] * finding.width


def test_a_cholesterol_of_zero_is_missing_and_not_low():
    # Switzerland wrote 0 where it did not measure.
    row = [*PATIENT[:4], 0, *PATIENT[5:]]
    assert encode(row)[columns("cholesterol")].tolist() == [0, 1]


def test_an_st_depression_below_zero_is_a_value():
    row = [*PATIENT[:9], -1.1, *PATIENT[10:]]
    assert encode(row)[columns("ST depression under exercise")].tolist() == pytest.approx([-1.1, 0])


def test_one_odd_value_cannot_drown_the_others():
    assert np.abs(encode([*PATIENT[:4], 1e9, *PATIENT[5:]])).max() == 4


def test_a_row_of_another_length_is_an_error():
    with pytest.raises(ValueError, match="shorter"):
        encode(PATIENT[:-1])
