"""Whoever the ingest takes out of the store is in no round that is not charged yet, whatever is under way."""

import shutil
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from client_app.custodian import custodian as custodian_module
from client_app.custodian import opening
from client_app.custodian.custodian import Custodian
from client_app.custodian.keys import SiteKeys
from client_app.data.ingest.lookup import known_as
from client_app.data.ingest.settings import IngestSettings
from client_app.data.keys import Pseudonyms
from client_app.data.store.writer import StoreWriter
from client_app.data.volume import Volume
from client_app.training.batches import Patients
from federation.messages import RefusalReply, TrainReply, TrainRequest
from federation.site_store import open_store, standing
from tasks.split import in_train

AXIAL = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
GOES_ON = "to train on, with a patient whom the record has taken out"
TAKEN_BACK = "to train on, with images that were taken back, since their patient has others"
REPLACED = "to train on, with a patient who is not in the store that was filled or restored meanwhile"
CAME_LATE = "to train on, with a patient who came in while the study was opened, and was taken out"
LOOKED_UP = "to train on, with a patient who withdrew by the number that the hospital knows them by"
STALE = "to train on what was consented to long ago"


KEY = Pseudonyms(bytes(32))
MRNS = {KEY.patient(f"MRN{number}"): f"MRN{number}" for number in range(40)}


def fill(folder, but=()):
    """A store of 40 patients ``but`` some, who were asked for just now."""
    with StoreWriter(folder) as writer:
        writer.belong_to(KEY.owner)
        for number, patient in enumerate(MRNS):
            if patient not in but:
                add(writer, number, patient)
        writer.consent_asked(datetime.now(UTC))
    return folder


def add(writer, number, patient):
    writer.add(
        Volume(
            np.random.default_rng(number).integers(-1000, 400, (3, 12, 12)).astype(np.int16),
            (2.0, 0.75, 0.75),
            AXIAL,
            "CT",
        ),
        patient=patient,
        series=f"2.25.{number}",
        features={"label": "malignant" if number % 2 else "benign"},
        provenance={},
    )


@pytest.fixture
def store(tmp_path):
    """See ``fill``."""
    return fill(tmp_path / "store")


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


def looks_at(monkeypatch, **of):
    """Have the custodian take for the store's standing what these say of its folder."""

    def seen(folder):
        return standing(folder)._replace(**{name: each(folder) for name, each in of.items()})

    monkeypatch.setattr(custodian_module, "standing", seen)


def nothing(_):
    return 0


def no_arrays(_):
    return frozenset()


@pytest.mark.attack(GOES_ON, held_by="the store's tombstones, looked at before and after each charge")
def test_the_next_round_goes_without_whoever_left_the_store(train, trained, store):
    assert isinstance(train(1), TrainReply)
    leaves = min(trained[-1])
    take_out(store, leaves)
    assert isinstance(train(2), TrainReply)
    assert trained[-1] == trained[0] - {leaves}


@pytest.mark.mutant(GOES_ON, how="looks at the ledger's withdrawals alone")
def test_a_custodian_that_knows_its_ledger_only_goes_on_with_them(train, trained, store, monkeypatch):
    looks_at(monkeypatch, taken_out=nothing, arrays=no_arrays)
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
    patients = {"taken_out": lambda folder: -len({each.patient for each in open_store(folder).series})}
    looks_at(monkeypatch, **patients, arrays=no_arrays)
    train(1)
    take_back(store, has_two)
    train(2)
    assert len(counted) == 1, "the study was not opened again"


def fill_anew(store, patient):
    """Without them, so that no tombstone says that they were in it; as in an older copy that was restored."""
    shutil.rmtree(store)
    fill(store, but=[patient])


@pytest.mark.attack(REPLACED, held_by="all that was opened has to be in the store still")
def test_the_next_round_goes_without_whoever_is_not_in_the_store_that_was_filled_anew(train, trained, store):
    assert isinstance(train(1), TrainReply)
    leaves = min(trained[-1])
    fill_anew(store, leaves)
    assert isinstance(train(2), TrainReply)
    assert trained[-1] == trained[0] - {leaves}


@pytest.mark.mutant(REPLACED, how="counts tombstones alone")
def test_a_custodian_that_counts_tombstones_goes_on_with_them(train, trained, store, monkeypatch):
    looks_at(monkeypatch, arrays=no_arrays)
    train(1)
    fill_anew(store, min(trained[-1]))
    assert isinstance(train(2), TrainReply)
    assert len(trained) == 1, "the study was not opened again"


@pytest.mark.attack(REPLACED, held_by="all that was opened has to be in the store still")
def test_a_store_that_is_gone_trains_nothing(make_site, tmp_path, store, study, start_of):
    site = make_site(data={"folder": store, "parts": [0], "of": 1}, policy={"tasks": ["tasks.ct_lesion"]})
    custodian = Custodian(site, tmp_path / "custodian", SiteKeys.of(bytes(32)))
    first, second = (TrainRequest(study=study, round=each, parameters=start_of(study)) for each in (1, 2))
    assert isinstance(custodian.handle(first), TrainReply)
    shutil.rmtree(store)
    assert isinstance(custodian.handle(second), RefusalReply)
    assert len(custodian.ledger.budget.charges()) == 1


@pytest.fixture
def comes_late(monkeypatch, store):
    """A training patient who comes in after the custodian has looked, and before it opens the study."""
    late = next(f"{number:016x}" for number in range(40, 100) if in_train(f"{number:016x}"))
    load = opening.load_cohort

    def slowly(*arguments):
        if late not in {each.patient for each in open_store(store).series}:
            with StoreWriter(store) as writer:
                add(writer, 40, late)
        return load(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(opening, "load_cohort", slowly)
        yield late, lambda: patch.setattr(opening, "load_cohort", load)


@pytest.mark.attack(CAME_LATE, held_by="how many series were taken out, looked at before a study is opened")
def test_the_next_round_goes_without_whoever_came_late_and_left(train, trained, store, comes_late):
    late, no_more = comes_late
    assert isinstance(train(1), TrainReply)
    assert late in trained[0]
    no_more()
    take_out(store, late)
    assert isinstance(train(2), TrainReply)
    assert trained[-1] == trained[0] - {late}


@pytest.mark.mutant(CAME_LATE, how="compares arrays alone, with those before the study was opened")
def test_a_custodian_that_compares_arrays_alone_goes_on_with_them(
    train, trained, store, comes_late, monkeypatch
):
    looks_at(monkeypatch, taken_out=nothing)
    late, no_more = comes_late
    train(1)
    no_more()
    take_out(store, late)
    train(2)
    assert len(trained) == 1, "the study was not opened again"


def looked_up(store, number):
    """What the ingest calls the patient who has that number."""
    settings = IngestSettings.model_validate(
        {"folder": store.with_name("ingest"), "store": store, "consent": {"policy": "opt_out"}}
    )
    settings.folder.mkdir()
    settings.key.touch(mode=0o600)
    settings.key.write_bytes(KEY.key)
    (known,) = known_as(settings, [number])
    return known.pseudonym


@pytest.mark.attack(LOOKED_UP, held_by="what the ingest looks up is what the store's data call them")
def test_the_next_round_goes_without_whoever_withdrew_by_a_number(train, trained, store, custodian):
    assert isinstance(train(1), TrainReply)
    leaves = min(trained[-1])
    assert custodian.withdraw([looked_up(store, f"0{MRNS[leaves].lower()}")], by="Dr. Frei") == (1, 1)
    assert isinstance(train(2), TrainReply)
    assert trained[-1] == trained[0] - {leaves}


@pytest.mark.mutant(LOOKED_UP, how="the number itself is withdrawn")
def test_a_number_that_nobody_looked_up_withdraws_nobody(train, trained, custodian):
    train(1)
    leaves = min(trained[-1])
    assert custodian.withdraw([MRNS[leaves]], by="Dr. Frei") == (1, 0)
    train(2)
    assert leaves in trained[-1]


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
