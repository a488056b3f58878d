"""``wardround-site roster``, as somebody at a hospital types it."""

import pytest
from click.testing import CliRunner

from client_app.cli import commands
from federation.errors import ConfigError, DataError, RefusedError
from federation.record_files import write_record
from federation.roster_files import read_site_key
from federation.secure_sum.roster import key_words


@pytest.fixture
def own(typed, tmp_path):
    typed("roster", "key", "--to", str(tmp_path / "alder.json"))
    return read_site_key(tmp_path / "alder.json")


@pytest.fixture
def received(tmp_path, own, make_roster):
    """The file of a roster with this hospital in it."""

    def written(*args, **others):
        write_record(tmp_path / "received.json", make_roster(own, *args, **others))
        return str(tmp_path / "received.json")

    return written


@pytest.fixture
def answer(custodian, site_file):
    """What ``roster pin`` prints, and its exit code, where somebody answers its question so."""

    def run(file, typed):
        arguments = ["roster", "pin", file, "--by", "Dr. Frei", "--config", str(site_file)]
        result = CliRunner().invoke(commands, arguments, input=f"{typed}\n")
        return result.exit_code, result.output

    return run


class TestKey:
    def test_it_is_the_public_one_of_the_site_and_said_in_words(self, typed, custodian, tmp_path):
        said = typed("roster", "key", "--to", str(tmp_path / "alder.json"))
        told = read_site_key(tmp_path / "alder.json")
        assert (told.site, told.key) == ("alder", custodian.audit.head.key)
        assert said == f"alder: {key_words(told.key)}\n{tmp_path / 'alder.json'}\n"

    def test_a_file_that_is_there_is_not_replaced(self, typed, tmp_path):
        (tmp_path / "alder.json").write_text("mine")
        with pytest.raises(ConfigError, match=r"alder.json is there already"):
            typed("roster", "key", "--to", str(tmp_path / "alder.json"))
        assert (tmp_path / "alder.json").read_text() == "mine"


class TestPin:
    def test_somebody_sees_all_words_says_yes_and_it_is_pinned(self, answer, received, own, custodian):
        code, said = answer(received(), "y")
        roster = custodian.roster.read()
        assert (code, roster.version) == (0, 1)
        for words in (roster.fingerprint, own.words, key_words("be" * 32), key_words(roster.coordinator)):
            assert words in said
        assert said.endswith("pinned: roster version 1\n")

    @pytest.mark.parametrize("said", ["n", ""])
    def test_without_a_yes_nothing_is_pinned(self, said, answer, received, custodian):
        assert answer(received(), said)[0] == 1
        assert custodian.roster.read() is None

    def test_what_has_changed_is_shown_against_the_pinned_one(self, typed, received):
        pin = ("--by", "Dr. Frei", "--yes")
        typed("roster", "pin", received(), *pin)
        said = typed("roster", "pin", received(2, beech="b1" * 32, dogwood="d0" * 32), *pin)
        changes = {line.split()[0]: line.rstrip() for line in said.splitlines() if line.strip()}
        assert "since version 1" in changes["who"]
        assert changes["beech"].endswith("ANOTHER KEY")
        assert changes["dogwood"].endswith("new")
        assert changes["cedar"].endswith(key_words("ce" * 32))

    def test_what_may_not_be_pinned_is_refused_before_anybody_compares_words(self, typed, received):
        typed("roster", "pin", received(2), "--by", "Dr. Frei", "--yes")
        with pytest.raises(RefusedError, match=r"version 1 .* would replace version 2") as refused:
            typed("roster", "pin", received(1), "--by", "Dr. Frei")
        assert refused.value.rule == "roster-version"

    def test_what_is_no_roster_is_named(self, typed, tmp_path):
        (tmp_path / "wrong.json").write_text("{}")
        with pytest.raises(DataError, match=r"wrong.json is no roster \(keys: Field required\)"):
            typed("roster", "pin", str(tmp_path / "wrong.json"), "--by", "Dr. Frei")


class TestShow:
    def test_at_first_it_says_that_none_is_pinned(self, typed, own):
        said = typed("roster", "show")
        assert said.startswith(f"alder: {own.words}\nno roster is pinned")

    def test_then_it_shows_which(self, typed, received, custodian):
        typed("roster", "pin", received(), "--by", "Dr. Frei", "--yes")
        assert custodian.roster.read().fingerprint in typed("roster", "show")
