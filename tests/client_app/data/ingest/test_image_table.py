"""A folder of images and a table of them, into the store: those that may be, once, without names."""

import os
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from client_app.data.fhir.consent import Decision
from client_app.data.ingest.hospital import HospitalIngest
from client_app.data.ingest.images import TableIngest
from client_app.data.ingest.settings import IngestSettings
from client_app.data.keys import Pseudonyms
from client_app.data.opt_outs import OptOuts
from client_app.data.pacs.images import ImageKind
from client_app.data.pacs.source import Wanted
from client_app.data.store.verify import verify
from client_app.data.store.writer import StoreWriter
from federation.errors import ConfigError, DataError, RunError
from federation.site_store import open_store
from simulation.hospital.ct_series import encoded, planted, studies
from simulation.programs import ROOT
from tests.conftest import KilledError

XRAY = ImageKind("DX", "CHEST", spacing=0.2)
CHEST = ImageKind("CT", "CHEST")
SHORTENED = "a table that is cut short, by which a store is emptied"
UNSAID = "an option that is left out, by which a store is emptied"
OUT = "images of somebody who is on the hospital's list"
TYPED_WRONG = "a typing error in the hospital's list, by which somebody who is meant stays in"
PROGRAM = """
import sys
from pathlib import Path
from client_app.data.ingest.hospital import HospitalIngest
from client_app.data.ingest.settings import IngestSettings
from client_app.data.pacs.images import ImageKind
settings = IngestSettings.model_validate_json(sys.argv[1])
kind = ImageKind("DX", "CHEST", spacing=0.2)
told = lambda taken: print(taken.seen, flush=True)
HospitalIngest(settings).images(Path(sys.argv[2]), Path(sys.argv[3]), kind, told)
"""


class Clinic:
    """Images of twelve patients, one each, and no PACS and no record."""

    def __init__(self, folder):
        self.folder, self.images = folder, folder / "images"
        (self.images / "below").mkdir(parents=True)
        for number in range(12):
            self.draw(f"{number}.png", number)

    def draw(self, name, number):
        values = np.random.default_rng(number).integers(0, 255, (32, 32), dtype=np.uint8)
        Image.fromarray(values).save(self.images / name)

    def swap(self):
        """The first two images have each other's name."""
        for name, other in (("0.png", "x.png"), ("1.png", "0.png"), ("x.png", "1.png")):
            (self.images / name).rename(self.images / other)

    def settings(self, **changes):
        listed = self.folder / "opt_outs.csv"
        if not listed.exists():
            listed.write_text("patient\nP99\n")
        values = {"folder": self.folder / "ingest", "store": self.folder / "store"}
        values["consent"] = {"policy": "opt_out", "opt_outs": listed}
        return IngestSettings.model_validate(values | changes)

    def table(self, *rows, head="file,patient,label"):
        rows = rows or [f"{number}.png,P{number},{number % 2}" for number in range(12)]
        (self.folder / "table.csv").write_text("\n".join([head, *rows]))
        return self.folder / "table.csv"

    def take(self, *rows, kind=XRAY, settings=None, **how):
        """The label of each patient in the store after ``ingest images``, and what was refused."""
        filled = self.filled(*rows, kind=kind, settings=settings, **how)
        return self.found, dict(filled.refused)

    def filled(self, *rows, kind=XRAY, settings=None, **how):
        """What ``ingest images`` came to."""
        filled = HospitalIngest(settings or self.settings()).images(
            self.images, self.table(*rows), kind, lambda _: None, **how
        )
        assert open_store(self.folder / "store").version == filled.version
        return filled

    @property
    def keys(self):
        return Pseudonyms.kept_at(self.folder / "ingest" / "pseudonyms.key")

    @property
    def found(self):
        assert verify(self.folder / "store") == ()
        whose = {self.keys.patient(f"P{number}"): f"P{number}" for number in range(100)}
        return {
            whose[each.patient]: each.features.get("label")
            for each in open_store(self.folder / "store").series
        }

    def rows(self, numbers, label=0):
        return [f"{number}.png,P{number},{label}" for number in numbers]


@pytest.fixture
def clinic(tmp_path):
    return Clinic(tmp_path)


def test_every_image_that_is_named_is_in_with_what_is_known(clinic):
    found, refused = clinic.take()
    assert found == {f"P{number}": number % 2 for number in range(12)}
    assert not refused
    series = open_store(clinic.folder / "store").series[0]
    assert (series.modality, series.spacing, series.shape) == ("DX", (1, 0.2, 0.2), (1, 32, 32))


def test_the_ingests_own_folder_is_for_nobody_else(clinic):
    clinic.take()
    assert stat.S_IMODE((clinic.folder / "ingest").stat().st_mode) == 0o700


def test_again_with_the_same_table_nothing_changes(clinic, monkeypatch):
    clinic.take()
    before = open_store(clinic.folder / "store").version
    for act in ("add", "retract"):
        monkeypatch.setattr(StoreWriter, act, None)
    clinic.take()
    clinic.images = clinic.images.rename(clinic.folder / "elsewhere")  # mounted at another place
    clinic.take()
    assert open_store(clinic.folder / "store").version == before


def test_what_leaves_the_table_leaves_the_store_and_what_changes_is_changed(clinic):
    clinic.take()
    assert clinic.take(*clinic.rows((0, 1), label=7), shrink=True) == ({"P0": 7, "P1": 7}, {})
    clinic.draw("1.png", 50)
    before = {each.digest for each in open_store(clinic.folder / "store").series}
    clinic.take(*clinic.rows((0, 1), label=7))
    after = {each.digest for each in open_store(clinic.folder / "store").series}
    assert len(before & after) == 1
    assert len(after) == 2


class TestShrinking:
    @pytest.mark.attack(SHORTENED, held_by="more than half leaves only where somebody has said so")
    @pytest.mark.parametrize("named", [1, 5])
    def test_where_more_than_half_is_not_named_nothing_leaves(self, clinic, named):
        clinic.take()
        before = open_store(clinic.folder / "store").version
        with pytest.raises(DataError, match=rf"not name {12 - named} of the 12 DX series .* --shrink"):
            clinic.take(*clinic.rows(range(named), label=7))
        assert open_store(clinic.folder / "store").version == before
        assert clinic.take(*clinic.rows(range(named), label=7), shrink=True)[0].keys() == {
            f"P{number}" for number in range(named)
        }

    @pytest.mark.mutant(SHORTENED, how="nobody counts what would leave")
    def test_without_counting_the_store_is_emptied(self, clinic, monkeypatch):
        monkeypatch.setattr(TableIngest, "_check_leaving", lambda *_: None)
        clinic.take()
        assert clinic.take(*clinic.rows([0]))[0].keys() == {"P0"}

    def test_half_may_leave(self, clinic):
        clinic.take()
        assert len(clinic.take(*clinic.rows(range(6)))[0]) == 6

    def test_whoever_may_not_be_used_leaves_and_does_not_count(self, clinic):
        clinic.take()
        out = "".join(f"P{number}\n" for number in range(8))
        (clinic.folder / "opt_outs.csv").write_text(f"patient\n{out}")
        assert clinic.take()[0].keys() == {"P8", "P9", "P10", "P11"}
        with pytest.raises(DataError, match="not name 3 of the 4"):
            clinic.take(*clinic.rows([8]))
        (clinic.folder / "opt_outs.csv").write_text(f"patient\n{out}P9\n")
        with pytest.raises(DataError, match="not name 2 of the 3"):
            clinic.take(*clinic.rows([8]))
        assert clinic.found.keys() == {"P8", "P10", "P11"}, "consent is heeded whatever else is wrong"

    def test_what_comes_from_elsewhere_does_not_count(self, clinic):
        clinic.take(*clinic.rows(range(8)), kind=ImageKind("MG", "BREAST", spacing=0.1))
        clinic.take(*clinic.rows((8, 9, 10)))
        with pytest.raises(DataError, match="not name 2 of the 3 DX"):
            clinic.take(*clinic.rows([8]))

    @pytest.mark.attack(UNSAID, held_by="what PNGs need is asked for before anything is touched")
    @pytest.mark.parametrize(
        ("kind", "says"),
        [(ImageKind("DX"), "give --spacing MM"), (CHEST, "neither place nor unit of a CT; take DICOM")],
    )
    @pytest.mark.parametrize("name", ["0.PNG", "link"])
    def test_pngs_of_which_too_little_is_said_are_not_begun_with(self, clinic, kind, says, name):
        clinic.take()
        before = open_store(clinic.folder / "store").version
        (clinic.images / "below/0.PNG").write_bytes((clinic.images / "0.png").read_bytes())
        (clinic.images / "below/link").symlink_to(clinic.images / "0.png")
        (clinic.folder / "opt_outs.csv").write_text("patient\nP3\n")
        with pytest.raises(ConfigError, match=says):
            clinic.take(f"below/{name},P0,0", kind=kind)
        assert open_store(clinic.folder / "store").version == before

    @pytest.mark.mutant(UNSAID, how="PNGs are looked at one by one, when what was there has left")
    def test_without_asking_each_is_refused_and_leaves(self, clinic, monkeypatch):
        monkeypatch.setattr("client_app.data.ingest.hospital.check_pngs", lambda *_: None)
        clinic.take()
        assert clinic.take(kind=ImageKind("DX")) == ({}, {"no-spacing": 12})

    def test_what_is_no_png_needs_no_spacing(self, clinic):
        volume = nibabel.Nifti1Image(
            np.random.default_rng(0).integers(0, 99, (32, 32, 4)), np.eye(4), dtype=np.int16
        )
        nibabel.save(volume, clinic.images / "scan.nii.gz")
        rows = ["scan.nii.gz,P1,0", "not there.png,P2,0", f"{'x' * 300}.png,P3,0"]
        assert clinic.take(*rows, kind=ImageKind("DX")) == ({"P1": 0}, {"no-such-file": 2})


def test_a_table_is_the_whole_of_its_modality_only(clinic):
    clinic.take(*clinic.rows((0, 1)))
    mammograms = ImageKind("MG", "BREAST", spacing=0.1)
    assert clinic.take(*clinic.rows((2, 3)), kind=mammograms)[0].keys() == {"P0", "P1", "P2", "P3"}
    # What was called by a wrong one is called by the right one.
    assert clinic.take(*clinic.rows((0, 1)), kind=mammograms, shrink=True)[0].keys() == {"P0", "P1"}
    assert {each.modality for each in open_store(clinic.folder / "store").series} == {"MG"}


def test_files_may_change_their_names_among_each_other(clinic):
    clinic.take(*clinic.rows((0, 1)))
    clinic.swap()
    assert clinic.take("1.png,P0,0", "0.png,P1,0") == ({"P0": 0, "P1": 0}, {})


def test_a_file_that_is_not_there_takes_nothing_out(clinic):
    clinic.take(*clinic.rows((0, 1)))
    (clinic.images / "1.png").unlink()
    rows = []
    assert clinic.take(*clinic.rows((0, 1)), refused=lambda row, rule: rows.append((row, rule))) == (
        {"P0": 0, "P1": 0},
        {"no-such-file": 1},
    )
    assert rows == [(3, "no-such-file")]
    clinic.images = clinic.folder / "not mounted"
    with pytest.raises(RunError, match="is no folder"):
        clinic.take(*clinic.rows((0, 1)))


@pytest.mark.parametrize(
    "name", ["../secret.png", "{folder}/secret.png", "nowhere.png", ".", "link.png", "loop.png"]
)
def test_names_lead_to_files_of_the_folder_only(clinic, name):
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(clinic.folder / "secret.png")
    (clinic.images / "link.png").symlink_to(clinic.folder / "secret.png")
    (clinic.images / "loop.png").symlink_to(clinic.images / "loop.png")
    found, refused = clinic.take(*clinic.rows([0]), f"{name.format(folder=clinic.folder)},P1,0")
    assert found == {"P0": 0}
    assert refused == {"no-such-file": 1}


def test_one_file_is_one_image_however_it_is_written(clinic):
    with pytest.raises(DataError, match="two rows of the table lead to one file"):
        clinic.take("0.png,P0,0", "below/../0.png,P1,0")
    clinic.draw("copy.png", 0)
    found, refused = clinic.take("0.png,P0,0", "copy.png,P1,0")
    assert len(found) == 1
    assert refused == {"two-patients": 1}


def test_what_is_refused_is_told_by_its_row_and_the_rest_goes_on(clinic):
    (clinic.images / "Smith.png").write_bytes(b"GIF89a")
    rows = []
    table = ["Smith.png,P1,0", *clinic.rows([2])]
    assert clinic.take(*table, refused=lambda row, rule: rows.append((row, rule)))[0] == {"P2": 0}
    assert rows == [(2, "not-an-image")]
    assert clinic.take(*table)[1] == {"not-an-image": 1}
    clinic.draw("Smith.png", 1)
    assert clinic.take(*table) == ({"P1": 0, "P2": 0}, {})


def test_nothing_that_names_somebody_is_in_the_store(clinic):
    said = PngImagePlugin.PngInfo()
    said.add_text("Patient", "ZIMMERQUIST")
    for name in ("ZIMMERQUIST.png", "below/MRN4711.png"):
        values = np.random.default_rng(len(name)).integers(0, 255, (32, 32), dtype=np.uint8)
        Image.fromarray(values).save(clinic.images / name, pnginfo=said)
    volume = nibabel.Nifti1Image(
        np.random.default_rng(0).integers(0, 99, (32, 32, 4)).astype(np.int16), np.eye(4)
    )
    volume.header["descrip"] = b"ZIMMERQUIST"
    nibabel.save(volume, clinic.images / "MRN4711.nii.gz")
    table = clinic.table(
        "ZIMMERQUIST.png,MRN4711,0", "below/MRN4711.png,MRN4712,0", "MRN4711.nii.gz,MRN4711,1"
    )
    filled = HospitalIngest(clinic.settings()).images(clinic.images, table, XRAY, lambda _: None)
    assert not filled.refused
    files = [path for path in (clinic.folder / "store").rglob("*") if path.is_file()]
    assert len(files) >= 4
    for path in files:
        content = path.read_bytes() + str(path).encode()
        assert not any(text in content for text in (b"ZIMMERQUIST", b"MRN471"))


class TestDicom:
    """The same with DICOM files, at a hospital that has a table and no record."""

    @pytest.fixture
    def study(self, clinic):
        """Two series, a folder each."""
        [study] = studies(1, slices=4)
        study = replace(study, series=2)
        for dataset in study.instances():
            folder = clinic.images / f"series-{dataset.SeriesNumber}" / "below"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{dataset.SOPInstanceUID}.dcm").write_bytes(encoded(dataset))
        return study

    def take(self, clinic, *rows, kind=CHEST):
        table = clinic.table(*rows)
        filled = HospitalIngest(clinic.settings()).images(clinic.images, table, kind, lambda _: None)
        return open_store(clinic.folder / "store").series, dict(filled.refused)

    def test_a_folder_of_one_series_is_a_volume_without_names(self, clinic, study):
        rows = [f"series-{number},{study.patient.id},{number}" for number in (1, 2)]
        stored, refused = self.take(clinic, *rows)
        assert not refused
        assert [each.shape[0] for each in stored] == [4, 4]
        assert {each.patient for each in stored} == {clinic.keys.patient(study.patient.id)}
        content = b"".join(
            path.read_bytes() for path in (clinic.folder / "store").rglob("*") if path.is_file()
        )
        assert not any(text.encode() in content for text in planted(study) if len(text) > 3)
        assert self.take(clinic, *rows) == (stored, {})

    def test_what_the_table_says_is_held_against_the_files(self, clinic, study):
        one, who = "series-1", study.patient.id
        assert self.take(clinic, f"{one},P1,0")[1] == {"other-patient": 1}
        assert self.take(clinic, f"below,{who},0", f"{one},{who},0")[1] == {"no-such-file": 1}
        assert self.take(clinic, f"{one},{who},0", kind=ImageKind("PT", "CHEST"))[1] == {"other-modality": 1}
        (clinic.images / "both").mkdir()
        for number in (1, 2):
            (clinic.images / f"series-{number}").rename(clinic.images / "both" / str(number))
        assert self.take(clinic, f"both,{who},0") == ((), {"mixed-series": 1})

    def test_where_a_file_is_refused_the_series_is(self, clinic, study):
        (clinic.images / "series-1" / "Smith").write_bytes(b"no DICOM")
        assert self.take(clinic, f"series-1,{study.patient.id},0") == ((), {"not-dicom": 1})


class TestConsent:
    @pytest.mark.attack(OUT, held_by="the list, which is read before a file is opened")
    def test_whoever_is_on_the_list_is_not_taken_and_leaves(self, clinic):
        clinic.take()
        (clinic.folder / "opt_outs.csv").write_text("patient\np3\nP0004\n")
        found, refused = clinic.take()
        assert found.keys() == {f"P{number}" for number in range(12)} - {"P3"}
        assert refused == {"opted-out": 1}

    @pytest.mark.mutant(OUT, how="the list is not read")
    def test_a_gate_without_a_list_is_noticed(self, clinic, monkeypatch):
        (clinic.folder / "opt_outs.csv").write_text("patient\nP3\n")
        yes = lambda _, numbers: dict.fromkeys(numbers, Decision(True, "not-denied"))  # noqa: E731
        monkeypatch.setattr("client_app.data.fhir.gate.ListGate.check", yes)
        assert "P3" in clinic.take()[0]

    def test_whoever_is_put_on_the_list_leaves_for_good(self, clinic):
        clinic.take()
        (clinic.folder / "opt_outs.csv").write_text("patient\nP3\n")
        assert HospitalIngest(clinic.settings()).consent().gone == {"opted-out": 1}
        (clinic.folder / "opt_outs.csv").write_text("patient\n")
        found, refused = clinic.take()
        assert found.keys() == {f"P{number}" for number in range(12)} - {"P3"}
        assert refused == {"withdrawn": 1}

    @pytest.mark.attack(TYPED_WRONG, held_by="entries of the list that match nobody are told by their line")
    def test_an_entry_that_matches_nobody_is_told(self, clinic):
        (clinic.folder / "opt_outs.csv").write_text("patient\nP4\nP-3\nP5\n")
        clinic.take(*clinic.rows((3, 4)))
        assert clinic.found.keys() == {"P3"}
        filled = clinic.filled(*clinic.rows((3, 4)))
        assert filled.unmet.lines == (3, 4)
        assert "whom the table or the journal has, or who is or was in the store: 2 of 3" in str(filled.unmet)
        told = HospitalIngest(clinic.settings()).consent().unmet
        assert told.lines == (2, 3, 4), "nobody has asked for P4, who was never in"
        assert "nobody whom the journal has, or who is or was in the store" in str(told)

    @pytest.mark.mutant(TYPED_WRONG, how="whoever is asked for, the whole list has met somebody")
    def test_a_list_that_is_met_as_a_whole_shows_nothing(self, clinic, monkeypatch):
        (clinic.folder / "opt_outs.csv").write_text("patient\nP4\nP-3\n")
        has = OptOuts.has

        def all_met(self, numbers):
            self._met |= self._listed
            return has(self, numbers)

        monkeypatch.setattr(OptOuts, "has", all_met)
        assert not clinic.filled(*clinic.rows((3, 4))).unmet.lines
        assert clinic.found.keys() == {"P3"}

    def test_whoever_left_by_the_list_is_no_typing_error(self, clinic):
        clinic.take()
        (clinic.folder / "opt_outs.csv").write_text("patient\nP3\n")
        assert HospitalIngest(clinic.settings()).consent().unmet.lines == ()
        clinic.take()  # by which the journal forgets them
        assert HospitalIngest(clinic.settings()).consent().unmet.lines == ()

    @pytest.mark.mutant(
        TYPED_WRONG, how="whoever has left the store counts as nobody: the true one is lost in them"
    )
    def test_without_the_store_they_would_be(self, clinic, monkeypatch):
        clinic.take()
        (clinic.folder / "opt_outs.csv").write_text("patient\nP3\n")
        clinic.take()
        monkeypatch.setattr("client_app.data.ingest.hospital.stored", lambda _: lambda _: False)
        assert HospitalIngest(clinic.settings()).consent().unmet.lines == (2,)

    def test_a_list_of_everybody_takes_everybody_out(self, clinic):
        clinic.take(*clinic.rows([3]))
        (clinic.folder / "opt_outs.csv").write_text("patient\nP3\n")
        with pytest.raises(DataError, match="none of the table's patients"):
            clinic.take(*clinic.rows([3]))
        assert not clinic.found

    def test_permissions_need_a_record_to_be_in(self, clinic):
        with pytest.raises(ValueError, match=r"consent\.policy=opt_in, and there is no fhir"):
            clinic.settings(consent={"policy": "opt_in"})

    def test_a_record_is_asked_where_there_is_one(self, hospital, clinic):
        yes, no = (
            next(study.patient.id for study in hospital.pacs.studies if study.patient.number % 10 == number)
            for number in (0, 2)
        )
        asked = hospital.settings(clinic.folder)
        table = clinic.table(f"0.png,{yes},0", f"1.png,{no},0", "2.png,nobody,0")
        filled = HospitalIngest(asked).images(clinic.images, table, XRAY, lambda _: None)
        assert {each.patient for each in open_store(asked.store).series} == {clinic.keys.patient(yes)}
        assert filled.refused == {"denied": 1, "not-found": 1}


def test_a_command_that_needs_archive_or_record_says_which(clinic):
    ingest = HospitalIngest(clinic.settings())
    with pytest.raises(ConfigError, match=r"no ingest\.pacs"):
        ingest.pacs(lambda _: None)
    with pytest.raises(ConfigError, match=r"no ingest\.fhir"):
        ingest.check()


def test_a_cohort_and_a_table_leave_each_other_alone(hospital, clinic):
    settings = hospital.settings(clinic.folder, consent={"policy": "opt_out"})
    one = next(study for study in hospital.pacs.studies if study.patient.number % 10 == 0)
    HospitalIngest(settings).pacs(lambda _: None, named=Wanted(studies=(one.uid,)))
    table = clinic.table(f"0.png,{one.patient.id},0")
    HospitalIngest(settings).images(clinic.images, table, XRAY, lambda _: None)
    both = open_store(settings.store).series
    assert {each.modality for each in both} == {"CT", "DX"}
    assert len({each.patient for each in both}) == 1


def test_killed_at_any_moment_it_goes_on_without_loss_or_duplicate(clinic):
    settings = clinic.settings()
    program = [sys.executable, "-c", PROGRAM, settings.model_dump_json(), clinic.images, clinic.table()]
    for seen in (1, 6):
        with subprocess.Popen(
            program, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
        ) as process:
            while int(process.stdout.readline()) < seen:
                pass
            process.send_signal(signal.SIGKILL)
    assert clinic.take() == ({f"P{number}": number % 2 for number in range(12)}, {})


@pytest.mark.parametrize("step", range(0, 12, 2))
def test_killed_while_names_change_the_next_ingest_mends_it(clinic, monkeypatch, step):
    clinic.take(*clinic.rows((0, 1, 2)))
    clinic.swap()
    left = [step]
    with monkeypatch.context() as patch, suppress(KilledError):
        for act in ("add", "retract"):
            patch.setattr(StoreWriter, act, counted(getattr(StoreWriter, act), left))
        clinic.take("1.png,P0,5", "0.png,P1,5")
    assert clinic.take("1.png,P0,5", "0.png,P1,5") == ({"P0": 5, "P1": 5}, {})


def counted(do, left):
    def stepped(*args, **kwargs):
        left[0] -= 1
        if left[0] < 0:
            raise KilledError
        return do(*args, **kwargs)

    return stepped
