"""``wardround-site ingest`` as typed, at a hospital with images in a folder and neither PACS nor record."""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from client_app.cli import commands
from federation.errors import ConfigError, DataError


@pytest.fixture
def typed(tmp_path, write_hospital):
    """What ``wardround-site ingest ...`` prints; the error that it ends with is raised."""
    rng = np.random.default_rng(0)
    for name in ("Smith.png", "Jones.png"):
        Image.fromarray(rng.integers(0, 255, (32, 32), dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "Doe.png").write_bytes(b"GIF89a")
    (tmp_path / "images.csv").write_text(
        "file,patient,label\nSmith.png,MRN1,ill\nJones.png,MRN2,well\nDoe.png,MRN3,ill\n"
    )
    ingest = {"folder": str(tmp_path / "ingest"), "store": str(tmp_path / "store")}
    (tmp_path / "opt_outs.csv").write_text("patient\n")
    consent = {"policy": "opt_out", "opt_outs": str(tmp_path / "opt_outs.csv")}
    site = write_hospital(tmp_path, ingest=ingest | {"consent": consent})

    def run(*arguments):
        result = CliRunner().invoke(commands, ["ingest", *map(str, arguments), "--config", str(site)])
        if result.exception is not None:
            raise result.exception
        return result.output

    return run


def test_images_of_a_folder_are_taken_and_told_without_their_names(typed, tmp_path):
    said = typed("images", tmp_path, tmp_path / "images.csv", "--modality", "DX", "--spacing", "0.2")
    assert "3 of 3 images" in said
    assert "in the store: 2 images of 2 patients, 2 new\n" in said
    assert "row 4: not-an-image" in said
    assert "refused by not-an-image: 1; save it anew" in said
    assert "store version" in said
    assert not any(name in said for name in ("Smith", "Jones", "Doe", "MRN"))
    assert typed("consent") == "asked for 3 patients; taken out: 0\n"
    (tmp_path / "images.csv").write_text("file,patient,label\nJones.png,MRN2,well\n")
    said = typed("images", tmp_path, tmp_path / "images.csv", "--modality", "DX", "--spacing", "0.2")
    assert "left the store, or replaced: 1 series\nin the store: 1 image of 1 patient, 0 new\n" in said
    card = tmp_path / "card.json"
    assert "version" in typed("card", "--to", card)
    assert "shift" in typed("card", "--beside", card)


def test_entries_of_the_list_that_match_nobody_are_told_without_their_numbers(typed, tmp_path):
    (tmp_path / "opt_outs.csv").write_text("patient\nmrn 1\nMRN-2\n")
    told = "opt-outs that match nobody {} or who is or was in the store: 1 of 2, in line 3; normal for"
    said = typed("images", tmp_path, tmp_path / "images.csv", "--modality", "DX", "--spacing", "0.2")
    assert told.format("whom the table or the journal has,") in said
    (tmp_path / "opt_outs.csv").write_text("patient\nmrn 2\nMRN-1\n")
    said += typed("consent")
    assert "asked for 2 patients; taken out: 1 by opted-out\n" in said
    assert told.format("whom the journal has,") in said
    (tmp_path / "opt_outs.csv").write_text("patient\nmrn 2\n")
    said += (quiet := typed("consent"))
    assert "opt-outs" not in quiet, "there is nothing to tell"
    assert "MRN" not in said.upper()


def test_what_the_machine_did_not_read_is_told_and_taken_the_next_time(typed, tmp_path, monkeypatch):
    def failing(*_, **__):
        raise OSError(5, "Input/output error")

    arguments = "images", tmp_path, tmp_path / "images.csv", "--modality", "DX", "--spacing", "0.2"
    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", failing)
        with pytest.raises(SystemExit) as ended:
            typed(*arguments)
    assert ended.value.code == 1
    said = typed(*arguments)
    assert "refused by not-an-image: 1" in said
    assert "not taken this time" not in said


def test_a_store_is_not_emptied_by_a_word_that_is_missing(typed, tmp_path):
    table = tmp_path / "images.csv"
    arguments = "images", tmp_path, table, "--modality", "DX"
    typed(*arguments, "--spacing", "0.2")
    with pytest.raises(ConfigError, match="give --spacing MM"):
        typed(*arguments)
    table.write_text("file,patient,label\nDoe.png,MRN3,ill\n")
    with pytest.raises(DataError, match=r"not name 2 of the 2 DX series .* by --shrink"):
        typed(*arguments, "--spacing", "0.2")
    said = typed(*arguments, "--spacing", "0.2", "--shrink")
    assert "left the store, or replaced: 2 series" in said


def test_of_many_rows_that_are_refused_the_first_are_told_and_how_many_more(typed, tmp_path):
    for number in range(29):
        (tmp_path / f"{number}.png").write_bytes(bytes([number]))
    rows = [f"{number}.png,MRN{number}" for number in range(29)]
    (tmp_path / "images.csv").write_text("\n".join(["file,patient", *rows, "none.png,MRN30"]))
    said = typed("images", tmp_path, tmp_path / "images.csv", "--modality", "DX", "--spacing", "0.2")
    assert [line for line in said.splitlines() if line.startswith(("row", "and"))] == [
        "row 31: no-such-file",
        *(f"row {number}: not-an-image" for number in range(2, 12)),
        "and 19 more: not-an-image",
    ]
    assert "refused by no-such-file: 1; see whether FOLDER" in said
    assert "in the store: 0 images of 0 patients, 0 new\n" in said


def test_what_the_images_are_has_to_be_said(typed, tmp_path):
    with pytest.raises(ConfigError, match="--no-burned-in-text"):
        typed("images", tmp_path, tmp_path / "images.csv", "--modality", "US")


@pytest.mark.parametrize("arguments", [["pacs"], ["pacs", "--studies", "{folder}/images.csv"], ["check"]])
def test_what_needs_an_archive_or_a_record_says_so(typed, tmp_path, arguments):
    with pytest.raises(ConfigError, match=r"no ingest\.(pacs|fhir)|is not a UID"):
        typed(*(argument.format(folder=tmp_path) for argument in arguments))
