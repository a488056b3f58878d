import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import ConfigError, DataError
from federation.tasks import Examples, load_task, pool


def examples(*patients, **covariates):
    count = len(patients)
    return Examples(
        images=np.arange(count, dtype=np.float32)[:, None],
        targets=np.zeros(count, dtype=np.int64),
        patients=np.array(patients, dtype=np.int64),
        covariates={name: np.full(count, value) for name, value in covariates.items()},
    )


def test_examples_count_patients_and_images():
    some = examples(3, 0, 3)
    assert (len(some), some.patient_count) == (3, 2)


def test_arrays_that_do_not_belong_together_are_refused():
    with pytest.raises(DataError, match=r"\[2, 3\] rows"):
        Examples(np.zeros((3, 1)), np.zeros(3), np.zeros(2), {})
    with pytest.raises(DataError, match=r"\[3, 4\] rows"):
        Examples(np.zeros((3, 1)), np.zeros(3), np.zeros(3), {"area": np.zeros(4)})


def test_pooled_hospitals_share_no_patient():
    pooled = pool([examples(0, 1, 1), examples(), examples(0, 5), examples(0)])
    assert len(pooled) == 6
    assert pooled.patient_count == 5


def test_pooling_one_hospital_changes_nothing():
    assert pool([examples(0, 2, 1)]).patients.tolist() == [0, 2, 1]


def test_pooling_keeps_the_covariates_that_all_have():
    pooled = pool([examples(0, area=1.0, age=50.0), examples(0, area=2.0)])
    assert {name: values.tolist() for name, values in pooled.covariates.items()} == {"area": [1.0, 2.0]}


@pytest.mark.parametrize("package", ["tasks.no_such_task", "no_such_package.task"])
def test_a_task_that_is_not_there_is_named(package):
    with pytest.raises(ConfigError, match=f"task.package='{package}' cannot be imported"):
        load_task(package, {})


def test_what_a_task_lacks_is_named(monkeypatch):
    package = ModuleType("half_a_task")
    package.create = lambda options, folder: SimpleNamespace(cohort=None, public_examples=None)
    monkeypatch.setitem(sys.modules, "half_a_task", package)
    with pytest.raises(ConfigError, match=r"'half_a_task': SimpleNamespace has no read_image"):
        load_task("half_a_task", {})


def test_a_package_that_is_no_task_is_named():
    with pytest.raises(ConfigError, match=r"has no function create"):
        load_task("json", {})


def people(*patients, identities=None):
    """Rows that tell whose they are in every field: image, target and covariate are of the row's place."""
    rows = np.arange(len(patients))
    count = max(patients, default=-1) + 1
    return Examples(
        images=rows.astype(np.float32)[:, None],
        targets=rows,
        patients=np.array(patients, dtype=np.int64),
        covariates={"row": rows.astype(np.float64)},
        identities=tuple(f"p{n}" for n in range(count)) if identities is None else identities,
    )


@pytest.mark.parametrize("identities", [("ann",), ("ann", "bob", "cy")])
def test_there_is_an_identity_for_every_patient(identities):
    with pytest.raises(DataError, match=rf"{len(identities)} identities for patients numbered 0 to 1"):
        people(0, 1, 1, identities=identities)


def test_a_number_below_0_is_nobody_s():
    with pytest.raises(DataError, match="numbered -1 to 0"):
        people(0, -1, identities=("ann",))


def test_two_patients_never_have_one_identity_and_the_error_does_not_say_whose():
    with pytest.raises(DataError, match="1 of 3 identities are another patient's") as error:
        people(0, 1, 2, identities=("ann", "bob", "ann"))
    assert "ann" not in str(error.value)


@pytest.mark.parametrize("identity", ["", 7, None])
def test_an_identity_is_a_text(identity):
    with pytest.raises(DataError, match="must be texts, and none of them empty"):
        people(0, 1, identities=("ann", identity))


def test_printed_examples_do_not_say_who_is_in_them():
    assert "p0" not in repr(people(0, 0))


def test_pooled_hospitals_say_who_their_patients_are():
    pooled = pool([people(1, 0, identities=("ann", "bob")), examples(), people(0, identities=("cy",))])
    assert [pooled.identities[number] for number in pooled.patients] == ["bob", "ann", "cy"]


def test_hospitals_that_share_a_patient_are_not_pooled_and_the_error_does_not_say_whom():
    with pytest.raises(DataError, match="share 1 patients") as error:
        pool([people(0, 1, identities=("ann", "bob")), people(0, identities=("ann",))])
    assert "ann" not in str(error.value)


def test_hospitals_of_which_one_does_not_say_who_its_patients_are_are_not_pooled():
    with pytest.raises(DataError, match="1 of 2 hospitals do not say who their patients are"):
        pool([people(0, 1), examples(0, 1), people()])


def rows_of(some):
    """Row by row: whose it is, and what every field says of its place."""
    fields = (some.images[:, 0], some.targets, some.covariates["row"])
    return [
        (some.identities[patient], *map(int, places))
        for patient, *places in zip(some.patients, *fields, strict=True)
    ]


def holds_exactly(some, everybody, wanted):
    """Whether ``some`` has all rows of the wanted patients, in order, no other, and numbers from 0."""
    shown = {row[0] for row in rows_of(everybody)} & set(wanted)
    return (
        rows_of(some) == [row for row in rows_of(everybody) if row[0] in wanted]
        and some.identities == tuple(one for one in everybody.identities if one in shown)
        and set(some.patients.tolist()) == set(range(len(shown)))
    )


PATIENTS = st.lists(st.integers(0, 9), max_size=30)
NAMES = st.sets(st.integers(0, 12).map("p{}".format))


@given(PATIENTS, NAMES)
def test_no_row_of_those_left_out_stays_and_everybody_else_s_do(patients, names):
    everybody = people(*patients)
    left = everybody.without(names)
    if names.isdisjoint(everybody.identities):
        assert left is everybody
    else:
        assert holds_exactly(left, everybody, set(everybody.identities) - names)


@given(PATIENTS, NAMES)
def test_those_kept_and_those_left_out_are_everybody(patients, names):
    everybody = people(*patients)
    kept = everybody.only(names)
    assert kept is everybody or holds_exactly(kept, everybody, names)
    assert rows_of(kept) == [row for row in rows_of(everybody) if row[0] in names]


class ByNumber(Examples):
    """A mutant: it takes the place among those to leave out, instead of among all, for a patient's number."""

    def without(self, identities):
        rows = ~np.isin(self.patients, np.arange(len(identities)))
        _, patients = np.unique(self.patients[rows], return_inverse=True)
        covariates = {name: values[rows] for name, values in self.covariates.items()}
        names = tuple(one for one in self.identities if one not in identities)
        return Examples(self.images[rows], self.targets[rows], patients, covariates, names)


def test_leaving_out_somebody_else_is_caught():
    everybody = people(0, 1, 2, 1)
    mutant = ByNumber(**vars(everybody))
    assert holds_exactly(everybody.without({"p1"}), everybody, {"p0", "p2"})
    assert not holds_exactly(mutant.without({"p1"}), everybody, {"p0", "p2"})


def test_examples_that_show_nobody_stay_as_they_are():
    generated = examples(0, 1)
    assert generated.without({"ann"}) is generated


def test_ten_thousand_patients():
    everybody = people(*range(10_000), *range(10_000))
    left = everybody.without([f"p{number}" for number in range(0, 10_000, 2)])
    assert (len(left), left.patient_count, left.identities[:2]) == (10_000, 5_000, ("p1", "p3"))
