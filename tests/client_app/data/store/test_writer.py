import json
import sqlite3

import numpy as np
import pytest

from client_app.data.refusal import Refused
from client_app.data.store.verify import verify
from client_app.data.store.writer import StoreWriter
from client_app.data.volume import Volume, compact
from federation.errors import DataError, StorageError
from federation.site_store import MANIFEST, array_path, open_store
from tests.client_app.data.store.conftest import AXES, arrays, patient, volume


def test_what_was_added_is_read_back_bit_for_bit(writer, folder, put):
    assert put(writer, 7, diameter_mm=8.5)
    (series,) = open_store(folder).series
    assert (series.patient, series.series, series.modality) == (patient(7), "2.25.7", "CT")
    assert (series.spacing, series.shape) == ((1.25, 0.75, 0.75), (3, 8, 8))
    assert series.features == {"label": "malignant", "diameter_mm": 8.5}
    assert series.facts == {"kernel": "STANDARD"}
    values = open_store(folder).array(series)
    assert values.dtype == np.int16
    assert np.array_equal(values, volume(7).values)


def test_values_that_are_no_integers_stay_float32(writer, folder, put):
    uneven = volume(1, dtype=np.float32).values + np.float32(0.5)
    put(writer, 1, values=Volume(uneven, (1, 1, 1), AXES, "PT"))
    store = open_store(folder)
    assert store.array(store.series[0]).dtype == np.float32
    assert np.array_equal(store.array(store.series[0]), uneven)


def test_integers_are_made_small_only_where_that_loses_nothing():
    assert compact(np.array([-32768, 32767], dtype=np.float32)).dtype == np.int16
    for values in ([-32769, 0], [0, 32768], [0.5, 1], [np.inf, 0], [np.nan, 0]):
        assert compact(np.array(values, dtype=np.float32)).dtype == np.float32


@pytest.mark.parametrize(
    ("message", "changes"),
    [
        ("must be int16 or float32", {"values": np.zeros((2, 2), np.int16)}),
        ("must be int16 or float32", {"values": np.zeros((2, 2, 2))}),
        ("must be int16 or float32", {"values": np.zeros((0, 2, 2), np.int16)}),
        ("not finite", {"values": np.full((2, 2, 2), np.nan, np.float32)}),
        ("must be positive", {"spacing": (1, 0, 1)}),
        ("must be positive", {"spacing": (1, 1, float("inf"))}),
        ("orthogonal", {"directions": ((0, 0, 1), (0, 1, 0), (0, 1, 0))}),
    ],
)
def test_a_volume_that_is_none_is_refused(message, changes):
    whole = {
        "values": np.zeros((2, 2, 2), np.int16),
        "spacing": (1, 1, 1),
        "directions": AXES,
        "modality": "CT",
    }
    Volume(**whole)
    with pytest.raises(DataError, match=message):
        Volume(**(whole | changes))


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "store").write_text("no folder")
    with pytest.raises(StorageError, match="cannot be written"):
        StoreWriter(tmp_path / "store")


def test_nothing_is_stored_twice(writer, folder, put):
    assert [put(writer, 1), put(writer, 1)] == [True, False]
    with StoreWriter(folder) as another:
        assert not put(another, 1)
    assert len(open_store(folder).series) == 1


def test_the_database_itself_takes_nothing_twice(writer, folder, put):
    put(writer, 1)
    with sqlite3.connect(folder / MANIFEST) as rows, pytest.raises(sqlite3.IntegrityError):
        rows.execute(
            "INSERT INTO series SELECT 99, 'x', patient, digest, modality, spacing, shape, directions, "
            "facts, features, provenance, added, NULL, NULL FROM series"
        )


def test_a_series_with_other_pixels_or_features_is_refused(writer, put):
    put(writer, 1)
    for other in ({"values": volume(2)}, {"diameter_mm": 3.0}):
        with pytest.raises(Refused) as refused:
            put(writer, 1, **other)
        assert refused.value.rule == "other-content"


def test_a_retracted_series_comes_back_with_a_better_label(writer, folder, put):
    put(writer, 1)
    assert writer.retract("2.25.1", "relabelled") == 1
    assert arrays(folder) == []
    assert put(writer, 1, label="benign")
    assert [each.features["label"] for each in open_store(folder).series] == ["benign"]
    assert verify(folder) == ()


def test_one_image_is_no_second_series(writer, put):
    put(writer, 1)
    with pytest.raises(Refused) as refused:
        put(writer, 2, whose=1, values=volume(1))
    assert refused.value.rule == "same-image"


@pytest.mark.attack(
    "one person is stored as two patients, and promised half", held_by="one image, one patient"
)
def test_one_image_is_not_two_patients(writer, put):
    put(writer, 1)
    with pytest.raises(Refused) as refused:
        put(writer, 2, values=volume(1))
    assert refused.value.rule == "two-patients"


@pytest.mark.mutant(
    "one person is stored as two patients, and promised half", how="only the series is compared"
)
def test_without_comparing_images_one_person_is_two(folder, put, monkeypatch):
    with StoreWriter(folder) as writer:
        put(writer, 1)
        with sqlite3.connect(folder / MANIFEST) as rows:
            rows.execute("DROP INDEX an_array_once")
        monkeypatch.setattr(StoreWriter, "_there", lambda self, row: False)
        put(writer, 2, values=volume(1))
    assert len({each.patient for each in open_store(folder).series}) == 2


REWRITTEN = "what was stored, or who withdrew, is rewritten"


@pytest.mark.attack(REWRITTEN, held_by="the database's own triggers")
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM series",
        'UPDATE series SET features = \'{"label":"benign"}\'',
        "UPDATE series SET patient = 'somebody else'",
        "UPDATE series SET withdrawn = NULL",
        "DELETE FROM withdrawn",
        "UPDATE withdrawn SET patient = 'somebody else'",
    ],
)
def test_the_database_itself_is_append_only(writer, folder, put, statement):
    put(writer, 1)
    put(writer, 2)
    writer.withdraw(patient(2), "opt-out")
    with (
        sqlite3.connect(folder / MANIFEST) as rows,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        rows.execute(statement)


@pytest.mark.mutant(REWRITTEN, how="a database without triggers")
def test_without_its_triggers_a_database_is_rewritten(writer, folder, put):
    put(writer, 1)
    writer.close()
    with sqlite3.connect(folder / MANIFEST) as rows:
        rows.execute("DROP TRIGGER series_are_only_withdrawn")
        rows.execute('UPDATE series SET features = \'{"label":"benign"}\'')
    assert open_store(folder).series[0].features == {"label": "benign"}


@pytest.mark.parametrize("name", ["Müller^Anna", "../../etc", "A" * 16, "", "0" * 15])
def test_a_patient_who_is_no_pseudonym_is_refused_and_not_repeated(writer, name):
    with pytest.raises(DataError, match="no pseudonym") as error:
        writer.add(volume(), patient=name, series="2.25.1", features={}, provenance={})
    assert not name or name not in str(error.value)
    with pytest.raises(DataError, match="no pseudonym"):
        writer.withdraw(name, "opt-out")


@pytest.mark.parametrize("series", ["../1", "", "a/b", "Müller", "." * 3, "1" * 65])
def test_the_pseudonym_of_a_series_is_one(writer, series):
    with pytest.raises(DataError, match="pseudonym of a series"):
        writer.add(volume(), patient=patient(), series=series, features={}, provenance={})


def test_a_feature_is_a_finite_number_or_a_text_with_a_name_that_studies_can_say(writer):
    for features in ({"Diameter": 1}, {"size": float("nan")}):
        with pytest.raises(DataError, match="feature"):
            writer.add(volume(), patient=patient(), series="1", features=features, provenance={})


def test_a_version_is_of_the_content_and_not_of_when_or_in_what_order_it_came(tmp_path, put):
    versions = []
    for name, order in (("a", (1, 2, 3)), ("b", (3, 1, 2))):
        with StoreWriter(tmp_path / name) as writer:
            for number in order:
                put(writer, number)
            versions.append(writer.seal())
        assert versions[-1] == open_store(tmp_path / name).version
    assert versions[0] == versions[1]


def test_every_change_is_another_version_and_going_back_is_the_first_again(writer, put):
    put(writer, 1)
    first = writer.seal()
    put(writer, 2)
    second = writer.seal()
    writer.withdraw(patient(2), "opt-out")
    assert first != second
    assert writer.seal() == first


def test_what_is_sealed_is_listed_once_for_each_change(writer, folder, put):
    writer.seal()
    put(writer, 1)
    put(writer, 2, whose=1)
    assert writer.seal() == writer.seal()
    with sqlite3.connect(folder / MANIFEST) as rows:
        listed = rows.execute("SELECT series, patients FROM sealed ORDER BY number").fetchall()
    assert listed == [(0, 0), (2, 1)]


def test_a_version_that_was_opened_stays_readable_while_more_is_added(writer, folder, put):
    put(writer, 1)
    opened = open_store(folder)
    put(writer, 2)
    assert len(opened.series) == 1
    assert np.array_equal(opened.array(opened.series[0]), volume(1).values)


def test_a_reader_needs_no_right_to_write_and_leaves_no_file(writer, folder, put):
    put(writer, 1)
    writer.close()
    before = sorted(folder.rglob("*"))
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        store = open_store(folder)
        assert store.array(store.series[0]).shape == (3, 8, 8)
        assert verify(folder) == ()
        assert sorted(folder.rglob("*")) == before
    finally:
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)


def test_a_store_that_is_none_or_another_releases_is_said(tmp_path, folder):
    with pytest.raises(DataError, match="holds no store"):
        open_store(tmp_path)
    StoreWriter(folder).close()
    with sqlite3.connect(folder / MANIFEST) as rows:
        rows.execute("PRAGMA user_version = 2")
    for act in (open_store, StoreWriter):
        with pytest.raises(DataError, match="of layout 2"):
            act(folder)
    (folder / MANIFEST).write_bytes(b"not a database, whatever its name says" * 100)
    for act in (open_store, StoreWriter):
        with pytest.raises(DataError, match="restore the newest copy"):
            act(folder)


def test_a_disk_that_is_full_is_said_and_leaves_the_store_whole(writer, folder, put, monkeypatch):
    put(writer, 1)

    def full(path, content, mode):
        raise StorageError(f"{path} could not be written (No space left on device)")

    with monkeypatch.context() as patch:
        patch.setattr("client_app.data.store.writer.write_whole", full)
        with pytest.raises(StorageError, match="No space"):
            put(writer, 2)
    assert verify(folder) == ()
    assert put(writer, 2)


DAMAGE = "a stored image is exchanged or damaged on disk"


def damaged(folder):
    """The store, one bit of whose first image is another."""
    store = open_store(folder)
    path = array_path(folder, store.series[0].digest)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    return store


@pytest.mark.attack(DAMAGE, held_by="the array's name is its SHA-256")
def test_a_damaged_array_is_found_by_verify_and_by_who_reads_it(writer, folder, put):
    put(writer, 1)
    store = damaged(folder)
    with pytest.raises(DataError, match="SHA-256 differs"):
        store.array(store.series[0])
    assert any("SHA-256 differs" in problem for problem in verify(folder))


@pytest.mark.mutant(DAMAGE, how="the hash is not compared")
def test_without_its_hash_a_damaged_array_is_read(writer, folder, put, monkeypatch):
    put(writer, 1)
    store = damaged(folder)

    class Agreeable:
        def hexdigest(self):
            return store.series[0].digest

    monkeypatch.setattr("federation.site_store.sha256", lambda content=b"": Agreeable())
    assert not np.array_equal(store.array(store.series[0]), volume(1).values)


def test_verify_finds_what_is_missing_left_over_or_said_of_a_tombstone(writer, folder, put):
    for number in (1, 2):
        put(writer, number)
    missing, _ = open_store(folder).series
    array_path(folder, missing.digest).unlink()
    stranger = array_path(folder, "ab" * 32)
    stranger.parent.mkdir(exist_ok=True)
    stranger.write_bytes(b"")
    scrap = stranger.with_name(".scrap.npy.0123")
    scrap.write_bytes(b"")
    with sqlite3.connect(folder / MANIFEST) as rows:
        rows.execute("DROP TRIGGER series_are_only_withdrawn")
        rows.execute("UPDATE series SET withdrawn = 'now' WHERE patient = ?", (patient(2),))
        rows.execute("INSERT INTO withdrawn VALUES (?, 'now', 'opt-out')", (patient(1),))
    problems = " / ".join(verify(folder))
    for said in ("is gone", "is nobody's", "scrap", "1 live series of patients who withdrew", "1 tombstones"):
        assert said in problems


def test_nothing_that_is_printed_names_a_patient(writer, folder, put):
    put(writer, 1, whose=0xABCDEF)
    store = open_store(folder)
    for thing in (store, store.series[0], store.series):
        assert "abcdef" not in repr(thing)
        assert json.dumps("malignant") not in repr(thing)
