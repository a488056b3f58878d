import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client_app.data.store import card as module
from client_app.data.store.card import LEAST, OTHERS, band, card_of, grouped, shifts
from client_app.data.store.writer import StoreWriter
from federation.site_store import open_store
from tests.client_app.data.store.conftest import volume

FOUND = "somebody is found in a data card by a rare value, or by a difference"


@pytest.fixture
def store(tmp_path, put):
    def store(name, rows):
        with StoreWriter(tmp_path / name) as writer:
            for number, (whose, changes) in enumerate(rows):
                spacing = changes.pop("spacing", (1.25, 0.75, 0.75))
                put(writer, number, whose=whose, values=volume(number, spacing=spacing), **changes)
        return open_store(tmp_path / name)

    return store


def test_a_card_counts_patients_and_not_series(store):
    rows = [(who, {"label": "benign" if who < 12 else "malignant"}) for who in range(20) for _ in range(3)]
    card = card_of(store("a", rows))
    assert card.patients == 20
    assert card.tables["modality"] == {"CT": 20}
    assert card.tables["feature label"] == {"benign": 10, "malignant": 10}
    assert card.tables["mm between slices"] == {"1 to 2": 20}
    assert card.tables["mm a pixel"] == {"0.8": 20}
    assert card.tables["kernel"] == {"STANDARD": 20}


def test_numbers_are_quartiles_to_two_digits_where_twenty_patients_have_them(store):
    card = card_of(
        store("a", [(who, {"age": 30.123 + who, **({"rare": 1} if who < 19 else {})}) for who in range(40)])
    )
    assert card.numbers["age"].model_dump() == {"lower": 39.0, "median": 50.0, "upper": 60.0}
    assert "rare" not in card.numbers


@pytest.mark.attack(FOUND, held_by="values of fewer than five patients are grouped, counts rounded")
def test_a_rare_value_is_not_named_and_not_left_over(store):
    rows = [(who, {"label": "benign"}) for who in range(30)]
    rows += [(30, {"label": "Erdheim-Chester"}), *[(who, {"label": "malignant"}) for who in range(31, 39)]]
    card = card_of(store("a", rows))
    assert card.tables["feature label"] == {"benign": 30, OTHERS: 10}
    assert "Erdheim" not in card.model_dump_json()
    assert "malignant" not in card.model_dump_json()  # what is left over would be the one


@pytest.mark.mutant(FOUND, how="small groups are only left out")
def test_left_out_a_rare_value_is_what_is_left_over(store, monkeypatch):
    monkeypatch.setattr(
        module,
        "grouped",
        lambda having: {value: len(who) for value, who in having.items() if len(who) >= LEAST},
    )
    rows = [(who, {"label": "benign"}) for who in range(30)] + [(30, {"label": "Erdheim-Chester"})]
    card = card_of(store("a", rows))
    assert sum(card.tables["modality"].values()) - sum(card.tables["feature label"].values()) == 1


VALUES = st.dictionaries(st.text("abc", min_size=1, max_size=2), st.sets(st.integers(0, 60)), max_size=12)


@pytest.mark.attack(FOUND, held_by="values of fewer than five patients are grouped, counts rounded")
@given(having=VALUES)
@settings(max_examples=500, deadline=None)
def test_every_group_is_of_five_or_more_and_rounded(having):
    having = {value: {str(who) for who in patients} for value, patients in having.items() if patients}
    table = grouped(having)
    assert all(count >= LEAST and count % LEAST == 0 for count in table.values())
    named = set(table) - {OTHERS}
    assert all(len(having[value]) >= LEAST for value in named)
    left = set().union(*(patients for value, patients in having.items() if value not in named), set())
    assert len(left) == 0 or len(left) >= LEAST or not named


def test_nothing_is_told_of_fewer_than_five(store):
    card = card_of(store("a", [(who, {"age": 3}) for who in range(4)]))
    assert (card.patients, card.tables, card.numbers) == (0, {}, {})


def test_a_card_has_no_pseudonym_no_series_and_no_digest(store):
    found = store("a", [(who, {}) for who in range(0xABC0, 0xABD0)])
    text = card_of(found).model_dump_json()
    for series in found.series:
        assert not any(said in text for said in (series.patient, series.series, series.digest[:12]))


def test_shifts_say_in_what_two_sites_differ_most(store):
    one = card_of(store("a", [(who, {"label": "benign" if who % 2 else "malignant"}) for who in range(20)]))
    two = card_of(
        store(
            "b",
            [
                (who, {"label": "benign" if who % 4 else "malignant", "spacing": (5, 0.75, 0.75)})
                for who in range(40)
            ],
        )
    )
    found = shifts(one, two)
    assert list(found) == sorted(found, key=lambda name: (-found[name], name))
    assert found["mm between slices"] == 1.0
    assert found["feature label"] == 0.25
    assert found["modality"] == 0.0
    assert set(shifts(one, one).values()) == {0.0}


def test_bands_have_their_lower_end():
    assert [band(size) for size in (0.5, 1, 1.25, 5, 999, 1000)] == [
        "below 1",
        "1 to 2",
        "1 to 2",
        "5 to 10",
        "500 to 1000",
        "1000 and more",
    ]
