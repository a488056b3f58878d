"""What is wanted anew replaces what was there, whenever the process dies and whatever is wanted next."""

from collections import Counter
from contextlib import suppress
from functools import partial

import pytest

from client_app.data.ingest.journal import Entry, Journal
from client_app.data.ingest.shelf import Shelf
from client_app.data.keys import Pseudonyms
from client_app.data.refusal import Refused
from client_app.data.store.verify import verify
from client_app.data.store.writer import StoreWriter
from federation.site_store import open_store
from tests.client_app.data.store.conftest import volume
from tests.conftest import KilledError

KEYS = Pseudonyms(bytes(32))
LOST = "a killed ingest loses a study, or leaves one that nobody wants"
A, B = "2.25.1", "2.25.2"


class Hospital:
    """A store and a journal, opened and closed as an ingest does."""

    def __init__(self, folder):
        self.folder = folder

    def wants(self, label, *names, patient="P1", refused=(), again=False, study="2.25.9", steps=None):
        """``ingest`` with a study of these series; what came of it, if anything was to be done."""
        entry = Entry(study, "cohort", patient, label)
        with Journal(self.folder / "ingest") as journal, StoreWriter(self.folder / "store") as store:
            if steps:
                steps(journal, store)
            shelf = Shelf(journal, store, KEYS)
            shelf.keep_only("cohort", {study})
            if journal.is_done(entry, again=again):
                return None
            made = {name: partial(volume, int(name[-1])) for name in names}
            return shelf.put(
                entry,
                made,
                features={"label": label},
                why=(),
                refused=Counter(dict.fromkeys(refused, 1)),
                failed={},
            )

    @property
    def found(self):
        """Label and patient of each series."""
        assert verify(self.folder / "store") == ()
        series = open_store(self.folder / "store").series
        return {each.series: (each.features["label"], each.patient) for each in series}


def of(label, *names, patient="P1"):
    return {name: (label, KEYS.patient(patient)) for name in names}


def dying_at(monkeypatch, step):
    """The process dies before the ``step``-th thing that is written; whether it came to that."""
    died, left = [], [step]

    def fit(journal, store):
        for owner, name in ((journal, "_write"), (journal, "forget"), (store, "add"), (store, "retract")):
            monkeypatch.setattr(owner, name, counted(getattr(owner, name)))

    def counted(do):
        def stepped(*args, **kwargs):
            left[0] -= 1
            if left[0] < 0:
                died.append(step)
                raise KilledError
            return do(*args, **kwargs)

        return stepped

    return fit, died


@pytest.fixture
def hospital(tmp_path):
    return Hospital(tmp_path)


def test_what_the_record_says_now_replaces_what_it_said(hospital):
    hospital.wants("benign", A, B)
    assert not hospital.wants("malignant", A, B).refused
    assert hospital.found == of("malignant", A, B)
    hospital.wants("malignant", A, B, patient="P2")
    hospital.wants("benign", B, patient="P2")
    assert hospital.found == of("benign", B, patient="P2")


def test_what_is_the_same_stays_where_it_is(hospital, monkeypatch):
    """So that a study which is running loses nothing."""
    hospital.wants("benign", A, refused=["head"])
    monkeypatch.setattr(StoreWriter, "retract", None)
    assert hospital.wants("benign", A, refused=["head"]) is None
    assert hospital.wants("benign", A, B, again=True).series == (A, B)


def test_what_was_refused_is_looked_at_again_only_where_that_is_asked_for(hospital):
    hospital.wants("benign", refused=["head"])
    assert hospital.wants("benign", A) is None
    hospital.wants("benign", A, again=True)
    assert hospital.found == of("benign", A)
    assert hospital.wants("benign", A, again=True) is None


def test_what_is_refused_now_does_not_stay_as_it_was(hospital):
    hospital.wants("benign", A)
    assert hospital.wants("malignant", refused=["head"]).series == ()
    assert hospital.found == {}


def test_nobody_takes_what_is_another_studys(hospital):
    hospital.wants("benign", A)
    with Journal(hospital.folder / "ingest") as journal, StoreWriter(hospital.folder / "store") as store:
        other = Entry("2.25.8", "table", "P2", "x")
        outcome = Shelf(journal, store, KEYS).put(
            other, {A: lambda: volume(7)}, features={}, why=(), refused={}, failed={}
        )
    assert outcome.refused == {"two-patients": 1}
    assert hospital.found == of("benign", A)


def killed(hospital, monkeypatch, then):
    """Die at each step of taking a study anew; after each death what is wanted ``then`` is there."""
    for step in range(40):
        one = Hospital(hospital.folder / str(step))
        one.wants("benign", A, B)
        fit, died = dying_at(monkeypatch, step)
        with suppress(KilledError):
            one.wants("malignant", B, "2.25.3", steps=fit)
        label, names = then
        one.wants(label, *names)
        assert one.found == of(label, *names)
        if not died:
            return step
    raise AssertionError("it never ended")


@pytest.mark.attack(LOST, held_by="the journal, which is told before the store and after it")
@pytest.mark.parametrize(
    "then",
    [("malignant", (B, "2.25.3")), ("benign", (A, B)), ("unsure", (A,))],
    ids=["the same again", "what was wanted before", "less"],
)
def test_killed_at_any_step_the_next_ingest_mends_it(hospital, monkeypatch, then):
    assert killed(hospital, monkeypatch, then) >= 7


@pytest.mark.attack(LOST, held_by="the journal, which is told before the store and after it")
def test_killed_at_any_step_a_study_that_is_not_wanted_any_more_leaves(hospital, monkeypatch):
    for step in range(40):
        one = Hospital(hospital.folder / str(step))
        fit, died = dying_at(monkeypatch, step)
        with suppress(KilledError):
            one.wants("benign", A, B, steps=fit)
        one.wants("benign", study="2.25.8")
        assert one.found == {}
        if not died:
            break


@pytest.mark.mutant(LOST, how="the journal is told at the end only")
def test_a_journal_that_is_told_at_the_end_only_is_noticed(hospital, monkeypatch):
    monkeypatch.setattr(Journal, "begin", lambda *_: None)
    with pytest.raises(AssertionError):
        killed(hospital, monkeypatch, ("benign", (A, B)))


@pytest.mark.mutant(LOST, how="nothing is taken out before it is taken anew")
def test_a_shelf_that_takes_nothing_out_is_noticed(hospital, monkeypatch):
    monkeypatch.setattr(StoreWriter, "retract", lambda *_: 0)
    with pytest.raises((AssertionError, Refused)):
        killed(hospital, monkeypatch, ("malignant", (B, "2.25.3")))
