from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import pytest

from client_app.desk import demand, review
from federation.errors import ConfigError, RunError
from federation.messages import TrainReply

NEXT_YEAR = str(datetime.now(UTC).date() + timedelta(days=365))
FRAMES = "a study whose texts paint over what people read before they approve"
FRAMED = "Squares\x1b[2J\n id  0000 \x1b]0;approved\x07 [bold]harmless[/bold] \u202eevil"
TOO_MUCH = "a study that takes the custodian's memory before anybody has approved it"


@pytest.fixture
def study(make_study, propose):
    return propose(make_study())


@pytest.fixture
def approve(typed, study):
    return lambda *options: typed("study", "approve", study.id[:12], "--by", "Dr. Frei", *options)


@pytest.fixture
def propose_another(make_study, propose):
    return lambda **changes: propose(make_study(title="Squares again", **changes))


def words(printed):
    """What was printed, wherever its lines end."""
    return " ".join(printed.split())


class TestShow:
    def test_says_in_words_what_the_study_asks(self, typed, study):
        shown = words(typed("study", "show", study.id[:6]))
        for said in (
            study.id,
            "waits for somebody to decide",
            "plain or square, from images of 1 x 12 x 12",
            "training patients for toy_task, without those who have withdrawn",
            "monai.Classifier",
            "4 rounds of 2 steps, every patient in each step",
            "one update of 458 numbers, with this hospital's own noise of 1.7 times",
            "ε = 8 per patient (add or remove one patient) at δ = 1e-05",
            "even if the coordinator and all other hospitals work together",
            "updates travel each by itself",
            "alder, birch",
            "a round counts with 1 of 2 hospitals",
            "whoever approves gives one",
            "every rule that needs no patients is met",
            "random weights",
        ):
            assert said in shown

    def test_says_what_the_task_is_told_and_what_is_only_claimed(self, typed, propose_another):
        changes = {"options": {"patients": 24, "one_class": False}, "rendered": True}
        said = words(typed("study", "show", propose_another(task=changes).id))
        assert "the task is told one_class=False, patients=24" in said
        assert "images that are said to be drawn, not acquired" in said

    def test_says_what_is_left_and_never_a_small_number(self, typed, study, approve, train, propose_another):
        assert "nobody was in a study here before" in words(typed("study", "show", study.id))
        approve("--until", NEXT_YEAR)
        train(study)
        assert "set aside when the study started" in typed("study", "show", study.id)
        second = propose_another()
        said = words(typed("study", "show", second.id))
        assert "there is room for about 20 of the about 20 patients" in said, "24 each"
        assert "of 30 at δ = 1e-05 against everybody together, for whoever has spent most" in said

    def test_says_that_without_privacy_nothing_is_promised(self, typed, propose_another, no_privacy):
        said = words(typed("study", "show", propose_another(privacy=no_privacy).id))
        assert "NO promise to patients" in said
        assert "WITHOUT any noise" in said
        assert "everybody who sees an update" in said

    def test_says_that_an_approval_was_for_another_release(self, typed, study, approve, monkeypatch):
        approve("--until", NEXT_YEAR)
        monkeypatch.setattr("client_app.custodian.admin.installed_release", lambda package: "0.2.0+beef")
        assert "which is not installed: it waits for a new approval" in words(
            typed("study", "show", study.id)
        )

    def test_a_study_that_nobody_knows_is_named(self, typed, study):
        with pytest.raises(ConfigError, match=f"STUDY='feed': .* {study.id[:12]}"):
            typed("study", "show", "feed")


class TestDecisions:
    def test_from_the_inbox_to_a_revocation(self, typed, study, approve, train):
        assert study.id[:12] in typed("study", "inbox")
        approve("--until", NEXT_YEAR, "--epsilon-cap", "6")
        assert study.id[:12] not in typed("study", "inbox")
        assert isinstance(train(study), TrainReply)
        row = next(line for line in typed("study", "list").splitlines() if study.id[:12] in line)
        for said in ("approved", "Dr. Frei", NEXT_YEAR, " 6 ", "1 of 4", "3.55"):
            assert said in row
        assert "revoked" in typed("study", "revoke", study.id[:12], "--by", "Dr. Weber")
        assert train(study, 2).rule == "study-revoked"
        assert "Dr. Weber" in typed("study", "list")

    def test_without_a_last_day_nothing_is_approved(self, typed, study, approve, custodian):
        with pytest.raises(ConfigError, match="give --until DATE"):
            approve()
        assert custodian.ledger.studies.find(study.id).state == "waiting"

    def test_a_last_day_that_has_passed_is_refused(self, study, approve):
        with pytest.raises(ConfigError, match=r"until=2020-01-01 has passed"):
            approve("--until", "2020-01-01")

    @pytest.mark.parametrize("cap", ["0", "-1", "nan", "inf"])
    def test_a_cap_that_is_none_is_refused(self, cap, study, approve):
        with pytest.raises(ConfigError, match="epsilon_cap"):
            approve("--until", NEXT_YEAR, "--epsilon-cap", cap)

    def test_whoever_decides_says_who_it_is(self, typed, study):
        with pytest.raises(SystemExit):
            typed("study", "approve", study.id, "--until", NEXT_YEAR)

    def test_without_a_custodian_the_remedy_is_said(self, typed, site_file, custodian):
        (site_file.parent / "admin" / "admin.sock").rename(site_file.parent / "gone")
        with pytest.raises(RunError, match=r"start it, or correct service.admin"):
            typed("study", "list")


class TestFrames:
    @pytest.mark.attack(FRAMES, held_by="one line of printable characters, without mark-up")
    @pytest.mark.parametrize("command", ["list", "inbox", "show"])
    def test_a_title_is_only_a_title(self, command, typed, make_study, propose):
        study = propose(make_study(title=FRAMED, purpose="test"))
        said = typed("study", command, *([study.id] if command == "show" else []))
        assert not any(sign in said for sign in ("\x1b", "\x07", "\u202e"))
        assert "[bold]harmless[/bold]" in said
        assert not any(line.strip().startswith("id  0000") for line in said.splitlines())

    @pytest.mark.mutant(FRAMES, "prints what it is given")
    def test_printed_as_it_comes_it_would_command_the_terminal(self, typed, make_study, propose, monkeypatch):
        monkeypatch.setattr(review, "shown", str)
        study = propose(make_study(title=FRAMED, purpose="test"))
        assert "\x1b]0;approved" in typed("study", "show", study.id)

    def test_what_is_too_long_to_read_is_cut_and_said_to_be(self, typed, make_study, propose):
        said = typed("study", "show", propose(make_study(title="x" * 10_000)).id)
        assert "and 9410 characters more" in words(said)


class TestTooMuch:
    @pytest.fixture
    def huge(self, propose_another):
        return propose_another(model={"arguments": {"channels": [400_000, 400_000]}})

    @pytest.fixture
    def large(self, propose_another, monkeypatch):
        """It takes about 200 MiB; a look may take 50 here."""
        monkeypatch.setattr(demand, "_MOST_BYTES", 50 * 2**20)
        return propose_another(model={"arguments": {"channels": [1500, 1500]}})

    @pytest.mark.attack(TOO_MUCH, held_by="whoever looks computes what it asks for, within a bound")
    def test_it_is_shown_as_not_known_and_cannot_be_approved(self, typed, huge):
        assert "can't allocate memory" in words(typed("study", "show", huge.id))
        with pytest.raises(ConfigError, match="can't allocate memory"):
            typed("study", "approve", huge.id, "--by", "Dr. Frei", "--until", NEXT_YEAR)
        assert huge.id[:12] in typed("study", "inbox")

    @pytest.mark.attack(TOO_MUCH, held_by="whoever looks computes what it asks for, within a bound")
    def test_the_bound_is_less_than_the_machine_has(self, typed, large):
        assert "can't allocate memory" in words(typed("study", "show", large.id))

    @pytest.mark.mutant(TOO_MUCH, "looks without a bound")
    def test_without_a_bound_it_takes_what_it_wants(self, typed, large, monkeypatch):
        monkeypatch.setattr(demand, "at_most", lambda _: nullcontext())
        assert "one update of" in words(typed("study", "show", large.id))
