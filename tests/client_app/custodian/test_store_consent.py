"""Whoever the ingest takes out of the store is in no round that is not charged yet, whatever is under way."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from client_app.custodian import custodian as custodian_module
from client_app.custodian import opening
from client_app.custodian.custodian import Custodian
from client_app.custodian.keys import SiteKeys
from client_app.data.store.writer import StoreWriter
from client_app.data.volume import Volume
from client_app.training.batches import Patients
from federation.messages import RefusalReply, TrainReply, TrainRequest
from federation.site_store import open_store, standing
from tasks.split import in_train

AXIAL = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
GOES_ON = "to train on, with a patient whom the record has taken out"
TAKEN_BACK = "to train on, with images that were taken back, since their patient has others"
STALE = "to train on what was consented to long ago"


@pytest.fixture
def store(tmp_path):
    """A store of 40 patients, who were asked for just now."""
    folder = tmp_path / "store"
    with StoreWriter(folder) as writer:
        for number in range(40):
            values = np.random.default_rng(number).integers(-1000, 400, (3, 12, 12)).astype(np.int16)
            writer.add(
                Volume(values, (2.0, 0.75, 0.75), AXIAL, "CT"),
                patient=f"{number:016x}",
                series=f"2.25.{number}",
                features={"label": "malignant" if number % 2 else "benign"},
                provenance={},
            )
        writer.consent_asked(datetime.now(UTC))
    return folder


@pytest.fixture
def study(make_study):
    return make_study(
        task={
            "name": "ct_lesion", "package": "tasks.ct_lesion", "classes": ["benign", "malignant"],
            "options": {"size": 12},
        }
    )  # fmt: skip


@pytest.fixture
def custodian(make_site, tmp_path, store):
    site = make_site(
        data={"folder": store, "parts": [0], "of": 1},
        policy={"tasks": ["tasks.ct_lesion"], "consent_hours": 24},
    )
    return Custodian(site, tmp_path / "custodian", SiteKeys.of(bytes(32)))


@pytest.fixture
def trained(monkeypatch):
    """Who was trained on, whenever a study was opened."""
    seen = []

    class Named(Patients):
        def __init__(self, examples):
            super().__init__(examples)
            seen.append(set(examples.identities))

    monkeypatch.setattr(opening, "Patients", Named)
    return seen


@pytest.fixture
def train(start_of, study, custodian):
    return lambda number: custodian.handle(
        TrainRequest(study=study, round=number, parameters=start_of(study))
    )


def take_out(store, patient):
    with StoreWriter(store) as writer:
        writer.withdraw(patient, "denied")


def taken_out_is(monkeypatch, count):
    """Have the custodian take ``count`` of the store's folder for what has left it."""
    monkeypatch.setattr(
        custodian_module, "standing", lambda folder: standing(folder)._replace(taken_out=count(folder))
    )


@pytest.mark.attack(GOES_ON, held_by="the store's tombstones, looked at before and after each charge")
def test_the_next_round_goes_without_whoever_left_the_store(train, trained, store):
    assert isinstance(train(1), TrainReply)
    leaves = min(trained[-1])
    take_out(store, leaves)
    assert isinstance(train(2), TrainReply)
    assert trained[-1] == trained[0] - {leaves}


@pytest.mark.mutant(GOES_ON, how="looks at the ledger's withdrawals alone")
def test_a_custodian_that_knows_its_ledger_only_goes_on_with_them(train, trained, store, monkeypatch):
    taken_out_is(monkeypatch, lambda folder: 0)
    train(1)
    take_out(store, min(trained[-1]))
    train(2)
    assert len(trained) == 1, "the study was not opened again"


@pytest.fixture
def counted(monkeypatch):
    """How many pictures were trained on, whenever a study was opened."""
    seen = []

    class Counted(Patients):
        def __init__(self, examples):
            super().__init__(examples)
            seen.append(len(examples))

    monkeypatch.setattr(opening, "Patients", Counted)
    return seen


def take_back(store, patient):
    """One of two series of a patient, as where it was somebody else's."""
    with StoreWriter(store) as writer:
        writer.retract(f"2.25.1{patient}", "no-longer-wanted")


@pytest.fixture
def has_two(store):
    """A training patient with a second series."""
    patient = next(each.patient for each in open_store(store).series if in_train(each.patient))
    with StoreWriter(store) as writer:
        writer.add(
            Volume(np.zeros((3, 12, 12), np.int16), (2.0, 0.75, 0.75), AXIAL, "CT"),
            patient=patient,
            series=f"2.25.1{patient}",
            features={"label": "benign"},
            provenance={},
        )
    return patient


@pytest.mark.attack(TAKEN_BACK, held_by="how many series were taken out, looked at before and after a charge")
def test_the_next_round_goes_without_a_series_that_was_taken_back(train, counted, store, has_two):
    assert isinstance(train(1), TrainReply)
    take_back(store, has_two)
    assert isinstance(train(2), TrainReply)
    assert counted[-1] == counted[0] - 1


@pytest.mark.mutant(TAKEN_BACK, how="looks at patients alone")
def test_a_custodian_that_knows_patients_only_goes_on_with_it(train, counted, store, has_two, monkeypatch):
    taken_out_is(monkeypatch, lambda folder: -len({each.patient for each in open_store(folder).series}))
    train(1)
    take_back(store, has_two)
    train(2)
    assert len(counted) == 1, "the study was not opened again"


@pytest.mark.attack(STALE, held_by="the rule consent-too-old")
@pytest.mark.parametrize("hours", [25, -25])
def test_a_store_that_nobody_asked_for_in_a_day_trains_nothing(train, store, hours, monkeypatch, custodian):
    later = datetime.now(UTC) + timedelta(hours=hours)
    monkeypatch.setattr(custodian._witness, "now", lambda: later)
    reply = train(1)
    assert isinstance(reply, RefusalReply)
    assert reply.rule == "consent-too-old"
    with StoreWriter(store) as writer:
        writer.consent_asked(later)
    assert isinstance(train(1), TrainReply)


@pytest.mark.mutant(STALE, how="a store counts as asked for whenever it is looked at")
def test_a_custodian_that_takes_today_for_granted_trains_on(train, monkeypatch, custodian):
    later = datetime.now(UTC) + timedelta(hours=25)
    monkeypatch.setattr(custodian._witness, "now", lambda: later)
    monkeypatch.setattr(custodian_module, "standing", lambda folder: standing(folder)._replace(asked=later))
    assert isinstance(train(1), TrainReply)


def test_a_folder_that_is_no_store_was_never_asked_for(make_site, make_study, start_of, tmp_path):
    custodian = Custodian(make_site(policy={"consent_hours": 24}), tmp_path, SiteKeys.of(bytes(32)))
    study = make_study()
    reply = custodian.handle(TrainRequest(study=study, round=1, parameters=start_of(study)))
    assert (type(reply), reply.rule) == (RefusalReply, "consent-too-old")


def test_the_log_says_which_version_of_the_store_a_round_was_computed_on(train, store, custodian):
    train(1)
    (charged,) = [entry for entry in custodian.audit.entries() if entry.event == "reserved"]
    assert charged.facts["data"] == open_store(store).version
