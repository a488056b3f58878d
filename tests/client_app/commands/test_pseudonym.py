"""``wardround-site ingest pseudonym``: from a patient's number to a withdrawal, with a real store."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from client_app.cli import commands
from client_app.data.ingest import lookup
from client_app.data.keys import Pseudonyms
from federation.errors import ConfigError, DataError
from federation.files import locked
from federation.site_store import open_store

ROOT = Path(__file__).parents[3]
LEFT = "a patient's number in what a look-up of the pseudonym leaves behind"
OTHER_KEY = "a withdrawal by a pseudonym of another key, which holds for nobody"
PROGRAM = f"{sys.executable} -m client_app.cli"
NUMBER = "ZIMMERQUIST-4711"  # of somebody of whom nothing was ever taken in, so that no file has it


@pytest.fixture
def site_file(tmp_path, write_hospital):
    """Of a hospital that has taken in two patients, MRN1 and MRN2, of whom the first is ill."""
    rng = np.random.default_rng(0)
    for name in ("1.png", "2.png"):
        Image.fromarray(rng.integers(0, 255, (32, 32), dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "images.csv").write_text("file,patient,label\n1.png,MRN1,ill\n2.png,MRN2,well\n")
    (tmp_path / "opt_outs.csv").write_text("patient\n")
    consent = {"policy": "opt_out", "opt_outs": str(tmp_path / "opt_outs.csv")}
    ingest = {"folder": str(tmp_path / "ingest"), "store": str(tmp_path / "store"), "consent": consent}
    file = write_hospital(tmp_path, ingest=ingest)
    taken = ["images", str(tmp_path), str(tmp_path / "images.csv"), "--modality", "DX", "--spacing", "0.2"]
    said = CliRunner().invoke(commands, ["ingest", *taken, "--config", str(file)], catch_exceptions=False)
    assert said.exit_code == 0
    return file


@pytest.fixture
def asked(site_file):
    """What the command says of what comes in by standard input: on standard output, and beside it."""

    def run(text, *arguments):
        result = CliRunner().invoke(
            commands, ["ingest", "pseudonym", *arguments, "--config", str(site_file)], input=text
        )
        if result.exception is not None:
            assert not result.stdout
            raise result.exception
        return result.stdout, result.stderr

    return run


@pytest.fixture
def of_the_ill(site_file):
    """What the store calls MRN1."""
    [series] = [
        each for each in open_store(site_file.parent / "store").series if each.features["label"] == "ill"
    ]
    return series.patient


@pytest.fixture
def in_a_shell(site_file):
    """What came of a line that is typed in the hospital's folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "WARDROUND_SITE": str(site_file)}

    def typed(line):
        return subprocess.run(
            ["sh", "-c", line],
            cwd=site_file.parent,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return typed


def files_below(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "number", ["MRN1\n", "MRN1", "00mrn1\n\n", "patient\nMRN1\n", "born;Patient\r\n1950;MRN1\r\n"]
)
def test_the_pseudonym_is_the_one_that_the_store_has(asked, of_the_ill, number):
    assert asked(number) == (f"patient\n{of_the_ill}\n", "in the store: 1 of 1\n")


def test_of_many_who_are_unknown_the_first_are_told(asked):
    _, said = asked("".join(f"{number}\n" for number in range(100, 150)))
    assert "never in the store: line 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 40 more; if you know" in said


def test_an_input_that_the_shell_has_closed_has_no_number(in_a_shell):
    done = in_a_shell(f"{PROGRAM} ingest pseudonym <&-")
    assert done.returncode != 0
    assert "standard input has no number" in done.stderr


def test_where_each_is_is_told_beside_it(asked, site_file, of_the_ill):
    (site_file.parent / "opt_outs.csv").write_text("patient\nMRN1\n")
    CliRunner().invoke(commands, ["ingest", "consent", "--config", str(site_file)], catch_exceptions=False)
    out, told = asked(f"MRN1\nMRN2\n{NUMBER}\n")
    _, one, other, _ = out.splitlines()
    assert one == of_the_ill
    assert other == open_store(site_file.parent / "store").series[0].patient
    assert "in the store: 1 of 3\n" in told
    assert "taken out of the store: 1 of 3\n" in told
    assert "never in the store: line 3; if you know that they were, the record writes the number" in told


def test_a_withdrawal_takes_in_what_it_says_through_a_pipe(custodian, in_a_shell, site_file, of_the_ill):
    (site_file.parent / "number").write_text("mrn1\n")
    done = in_a_shell(
        f"{PROGRAM} ingest pseudonym < number | {PROGRAM} consent withdraw --csv - --by 'Dr. Frei'"
    )
    assert done.returncode == 0
    assert "withdrawn: all 1 named, 1 of them for the first time" in done.stdout
    assert "mrn1" not in (done.stdout + done.stderr).casefold()
    assert custodian.ledger.consent.withdrawn == {custodian._keys.pseudonym(of_the_ill)}


def test_nothing_is_written_and_an_ingest_may_be_at_work(asked, site_file):
    before = files_below(site_file.parent)
    with locked(site_file.parent / "ingest" / "lock", wait=False):
        asked("MRN1\n")
    assert files_below(site_file.parent) == before


def told_of(number, asked, caplog, folder):
    """All that is left of a look-up: what was printed and logged, and what lies in files."""
    with caplog.at_level("DEBUG"):
        printed = "".join(asked(number))
    return "\n".join([printed, caplog.text, *map(repr, files_below(folder).values())]).casefold()


@pytest.mark.attack(LEFT, held_by="numbers come by standard input alone, and lines are told in their place")
def test_the_number_is_left_nowhere(asked, caplog, site_file):
    assert "zimmerquist" not in told_of(f"MRN1\n{NUMBER}\n", asked, caplog, site_file.parent)


@pytest.mark.mutant(LEFT, how="the number is told, and not its line")
def test_a_number_that_is_told_is_noticed(asked, caplog, site_file, monkeypatch):
    monkeypatch.setattr("client_app.desk.patient_list.patient_lines", lambda *_, **__: ((NUMBER, NUMBER),))
    assert "zimmerquist" in told_of(NUMBER, asked, caplog, site_file.parent)


@pytest.mark.mutant(LEFT, how="a journal is kept of look-ups")
def test_a_number_that_is_written_down_is_noticed(asked, caplog, site_file, monkeypatch):
    looked_up = lookup.known_as

    def kept(settings, numbers):
        (settings.folder / "lookups").write_text("\n".join(numbers))
        return looked_up(settings, numbers)

    monkeypatch.setattr(lookup, "known_as", kept)
    assert "zimmerquist" in told_of(NUMBER, asked, caplog, site_file.parent)


@pytest.mark.attack(LEFT, held_by="numbers come by standard input alone, and lines are told in their place")
@pytest.mark.parametrize("dashes", ["", "-", "--"])
def test_a_number_on_the_command_line_is_refused_without_repeating_it(asked, dashes):
    with pytest.raises(ConfigError, match="numbers are read from standard input") as error:
        asked("", f"{dashes}{NUMBER}")
    assert NUMBER not in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"MRN1\n1.2E+11\n{NUMBER}\n", "standard input, line 2: a spreadsheet has changed the number"),
        (f"{NUMBER};Erika\n", "standard input, line 1: it names the columns"),
        (f"MRN1\n{NUMBER},Erika\n", "standard input, line 2: no patient, or not 1 columns"),
        (f'"{NUMBER}\n', "standard input, line 1: this is no CSV"),
    ],
)
def test_what_is_no_number_is_told_by_its_line(asked, text, said):
    with pytest.raises(DataError, match=said) as error:
        asked(text)
    assert "zimmerquist" not in str(error.value).casefold()


@pytest.mark.parametrize("heading", ["PatientID", "patient_id", "MRN", "Patient number", "\n\ufeffMRN"])
@pytest.mark.parametrize("numbers", ["MRN1\nMRN2\n", ""])
def test_a_heading_of_another_name_is_no_number(asked, heading, numbers):
    with pytest.raises(DataError, match=r"line [12] looks like a heading; name it patient, or") as error:
        asked(f"{heading}\n{numbers}")
    assert heading.strip() not in str(error.value)


def test_a_number_without_a_digit_can_be_told_below_the_heading(asked):
    assert "never in the store: line 2" in asked("patient\nZIMMERQUIST\n")[1]
    assert "never in the store: line 2" in asked("MRN1\nZIMMERQUIST\n")[1]


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_nobody_is_not_looked_up(asked, text):
    with pytest.raises(ConfigError, match="has no number"):
        asked(text)


@pytest.mark.attack(
    OTHER_KEY, held_by="no key is drawn, and it has to be the one that the store was filled with"
)
def test_a_key_that_was_lost_is_not_replaced(asked, site_file):
    key = site_file.parent / "ingest" / "pseudonyms.key"
    key.unlink()
    with pytest.raises(DataError, match=r"pseudonyms\.key cannot be read .*; restore it"):
        asked("MRN1\n")
    assert not key.exists()


@pytest.mark.attack(
    OTHER_KEY, held_by="no key is drawn, and it has to be the one that the store was filled with"
)
def test_another_key_tells_nothing(asked, site_file):
    (site_file.parent / "ingest" / "pseudonyms.key").write_bytes(bytes(32))
    with pytest.raises(DataError, match=r"is not the key with which the store .* was filled"):
        asked("MRN1\n")


@pytest.mark.mutant(OTHER_KEY, how="a key is drawn where there is none")
def test_by_a_new_key_the_pseudonym_is_nobodys(asked, site_file, monkeypatch):
    (site_file.parent / "ingest" / "pseudonyms.key").unlink()
    monkeypatch.setattr(lookup, "_pseudonyms", lambda settings, _: Pseudonyms.kept_at(settings.key))
    out, _ = asked("MRN1\n")
    assert out.split()[1] not in {each.patient for each in open_store(site_file.parent / "store").series}


@pytest.mark.mutant(OTHER_KEY, how="any key that is there will do")
def test_by_another_key_the_pseudonym_is_nobodys(asked, site_file, monkeypatch):
    (site_file.parent / "ingest" / "pseudonyms.key").write_bytes(bytes(32))
    monkeypatch.setattr(lookup, "_pseudonyms", lambda settings, _: Pseudonyms.found_at(settings.key))
    out, _ = asked("MRN1\n")
    assert out.split()[1] not in {each.patient for each in open_store(site_file.parent / "store").series}


def test_without_a_store_there_is_nobody_to_withdraw(tmp_path, write_hospital):
    ingest = {"folder": str(tmp_path / "i"), "store": str(tmp_path / "s"), "consent": {"policy": "opt_out"}}
    file = write_hospital(tmp_path, ingest=ingest)
    result = CliRunner().invoke(commands, ["ingest", "pseudonym", "--config", str(file)], input="MRN1\n")
    assert "holds no store" in str(result.exception)
    assert not (tmp_path / "i").exists()
