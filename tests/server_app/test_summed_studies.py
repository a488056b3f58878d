"""Whole studies in secure sums: lost rounds, coordinators that are killed, and the evaluation in one sum."""

import json
from dataclasses import replace

import numpy as np
import pytest
from federated import CHIEF, roster_of

from federation.config import compose_run
from federation.errors import ConfigError, DataError, QuorumError
from federation.messages import BINS, TrainRequest
from federation.promise import epsilon_after
from federation.secure_sum.ring import encode
from federation.secure_sum.roster import Roster
from federation.sums import evaluation_grid, training_grid
from server_app.listeners import Listener
from server_app.study_run import StudyRun
from tests.server_app.conftest import SITES, TINY
from tests.server_app.summing import (
    Changed,
    Dying,
    Federation,
    Killed,
    longer,
    raises,
    refuses,
)

pytestmark = pytest.mark.deployment  # for its time
NUMBERS = 258
SECURE = (*TINY, "aggregation=secure", "secure_sum.lost_rounds=1", "rounds=4", "federation.patience=5")
COUNTS = {
    site: np.random.default_rng(number).integers(0, 50, 2 * BINS).astype(float)
    for number, site in enumerate(SITES)
}


def words(site, request):
    """An update of known bits, or the site's counts."""
    if not isinstance(request, TrainRequest):
        return encode(COUNTS[site], 1, evaluation_grid(request.study))
    draw = np.random.default_rng([SITES.index(site), request.round])
    update = draw.normal(0, 0.1, NUMBERS).astype(np.float32)
    return encode(update, 100, training_grid(request.study, NUMBERS))


class Study:
    """A run in a folder, to be begun and taken up again."""

    def __init__(self, folder, on_grid, *overrides):
        folder.mkdir(exist_ok=True)
        self.folder, self._on_grid = folder / "run", on_grid
        self.run = compose_run([*SECURE, *overrides])
        self.party = Federation(self.run.study, folder, NUMBERS)
        self.roster = folder / "roster.json"
        self.give(roster_of(SITES))

    def give(self, roster):
        self.roster.write_text(roster.model_dump_json())

    def play(self, schedule=None, dying=None, resume=False, listeners=(), words=words):
        """The summary; ``dying`` says in which exchange of which round the coordinator is killed."""
        chosen = {"roster": str(self.roster), "resume": str(self.folder) if resume else None}
        run = replace(self.run, options=self.run.options.model_copy(update=chosen))

        def do(grid):
            return StudyRun(run, Dying(grid, *dying) if dying else grid, self.folder, listeners).execute()

        return self._on_grid(do, *self.party.hospitals(schedule, words=words))

    def killed(self, schedule, *dying):
        with pytest.raises(Killed):
            self.play(schedule, dying)

    @property
    def lines(self):
        return [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text().splitlines()]

    @property
    def summary(self):
        return json.loads((self.folder / "summary.json").read_text())

    @property
    def kept(self):
        return json.loads((self.folder / "secure-sum.json").read_text())

    def times_asked(self, round_number, exchange):
        return [
            [place[:2] for place in self.party.asked(site)].count((round_number, exchange)) for site in SITES
        ]


@pytest.fixture
def study(tmp_path, on_grid):
    """``study("rounds=3")``: at the end, nobody was asked for two survivor sets of one round."""
    made = []

    def make(*overrides):
        made.append(Study(tmp_path, on_grid, *overrides))
        return made[-1]

    yield make
    for each in made:
        each.party.require_one_set_a_round()


def in_round(number, *sites, fault=raises):
    return {(site, number, "A"): fault for site in sites}


class TestLostRounds:
    def test_a_study_in_which_all_goes_well_has_none(self, study):
        begun = study()
        summary = begun.play()
        assert summary.status == "completed"
        assert [line["lost"] for line in begun.lines] == [""] * 4
        assert [line["participants"] for line in begun.lines] == [list(SITES)] * 4
        shas = [line["model_sha256"] for line in begun.lines]
        assert len(set(shas)) == 4

    def test_a_dropout_that_the_plan_bears_loses_nothing(self, study):
        begun = study()
        begun.play(in_round(2, "cedar") | in_round(4, "alder", fault=refuses))
        assert [line["lost"] for line in begun.lines] == [""] * 4
        assert [line["participants"] for line in begun.lines][1] == ["alder", "birch", "dogwood"]
        assert [absence["site"] for absence in begun.lines[1]["absent"]] == ["cedar"]
        charged = begun.lines[3]["epsilon"]
        assert charged["cedar"] == charged["birch"], "round 2 may have cost its patients all the same"
        assert charged["alder"] < charged["birch"], "it refused before it touched any"

    def test_a_lost_round_leaves_the_model_says_why_and_the_run_goes_on(self, study):
        begun = study()
        summary = begun.play(in_round(2, "birch", "cedar"))
        assert summary.status == "completed"
        first, second, third, _ = begun.lines
        assert second["lost"].startswith("2 sites of the cohort sent a vector of round 2")
        assert second["participants"] == []
        assert [absence["site"] for absence in second["absent"]] == ["birch", "cedar"]
        assert first["model_sha256"] == second["model_sha256"] != third["model_sha256"]
        assert [line["lost"] for line in (first, third)] == ["", ""]
        assert {site: each.rounds for site, each in summary.sites.items()} == dict.fromkeys(SITES, 3)
        assert {each.steps for each in summary.sites.values()} == {8}, (
            "it may have cost patients all the same"
        )

    def test_the_first_one_may_be_lost_too(self, study):
        begun = study()
        assert begun.play(in_round(1, *SITES)).status == "completed"
        assert begun.lines[0]["lost"].startswith("0 sites of the cohort")
        assert begun.lines[1]["lost"] == ""

    @pytest.mark.parametrize("allowed", [0, 1, 2])
    def test_one_more_than_the_study_bears_ends_it(self, study, allowed):
        begun = study(f"secure_sum.lost_rounds={allowed}")
        faults = {}
        for number in (2, 3, 4):
            faults |= in_round(number, "birch", "cedar")
        with pytest.raises(QuorumError) as error:
            begun.play(faults)
        last = 2 + allowed
        said = f"round {last} is lost, as {allowed} before, and lost_rounds={allowed}"
        assert str(error.value).startswith(said)
        assert "birch: its node reports error" in str(error.value)
        assert (begun.summary["status"], begun.summary["reason"]) == ("failed", str(error.value))
        assert [bool(line["lost"]) for line in begun.lines] == [False] + [True] * (allowed + 1)
        assert len({line["model_sha256"] for line in begun.lines}) == 1
        assert not list((begun.folder / "models").glob("final*"))

    def test_fewer_keys_than_a_sum_is_over_end_it_before_any_round(self, study):
        begun = study()
        with pytest.raises(QuorumError, match="2 of at least 3 hospitals will take part"):
            begun.play({("birch", 0, "keys"): refuses, ("cedar", 0, "keys"): raises})
        assert "birch: refused by out-of-hours" in begun.summary["reason"]
        assert begun.times_asked(1, "A") == [0] * 4

    def test_a_hospital_without_a_key_is_absent_from_every_round_by_name(self, study):
        begun = study()
        begun.play({("birch", 0, "keys"): refuses})
        for line in begun.lines:
            assert line["participants"] == ["alder", "cedar", "dogwood"]
            (absence,) = line["absent"]
            assert absence["site"] == "birch"
            assert absence["reason"].startswith("refused by out-of-hours")
        assert begun.summary["sites"].keys() == {"alder", "cedar", "dogwood"}

    @pytest.mark.parametrize("roster", [None, b"{"])
    def test_without_a_roster_it_says_what_to_do(self, study, roster):
        begun = study()
        begun.roster.unlink()
        if roster is not None:
            begun.roster.write_bytes(roster)
        refusal = (
            (ConfigError, "wardround-coordinator roster") if roster is None else (DataError, "is no roster")
        )
        with pytest.raises(refusal[0], match=refusal[1]):
            begun.play()


class KillsAfter(Listener):
    """Kills the coordinator when a round is in ``metrics.jsonl``, and not yet in the checkpoint."""

    def __init__(self, round_number):
        self._round = round_number

    def round_finished(self, line, parameters):
        if line.round == self._round:
            raise Killed


class TestKilled:
    """The round that was broken off is asked again as it was, and hospitals tell the same bytes."""

    @pytest.mark.parametrize("sent", [False, True], ids=["before", "after"])
    @pytest.mark.parametrize("exchange", ["A", "B", "C"])
    def test_it_goes_on_as_if_nothing_had_happened(self, study, tmp_path, on_grid, exchange, sent):
        dropout = in_round(2, "cedar") if exchange == "C" else {}
        begun = study()
        begun.killed(dropout, 2, exchange, sent)
        assert (len(begun.lines), begun.kept["begun"]) == (1, 2)
        adverts = begun.kept["adverts"]
        summary = begun.play(dropout, resume=True)
        assert summary.status == "completed"
        assert begun.times_asked(0, "keys") == [1] * 4
        assert begun.kept["adverts"] == adverts
        other = Study(tmp_path / "other", on_grid)
        assert {each.steps for each in summary.sites.values()} == {
            each.steps for each in other.play(dropout).sites.values()
        }
        told = ("model_sha256", "participants", "epsilon", "lost")
        assert [[line[name] for name in told] for line in begun.lines] == [
            [line[name] for name in told] for line in other.lines
        ]

    def test_who_was_out_of_the_sum_stays_out_of_it(self, study):
        begun = study()
        begun.killed(in_round(2, "cedar"), 2, "B", True)
        begun.play(resume=True)
        assert [line["lost"] for line in begun.lines] == [""] * 4
        assert begun.lines[1]["participants"] == ["alder", "birch", "dogwood"]
        assert begun.lines[2]["participants"] == list(SITES)

    def test_where_one_of_the_sum_is_gone_the_round_is_lost_and_no_other_set_is_asked_for(self, study):
        begun = study()
        begun.killed({}, 2, "B", True)
        begun.play(in_round(2, "birch"), resume=True)
        lost = [line["lost"] for line in begun.lines]
        assert lost[1].startswith("alder, birch, cedar, dogwood were to be in the sum before the run was")
        assert [lost[0], *lost[2:]] == [""] * 3
        assert begun.lines[1]["model_sha256"] == begun.lines[0]["model_sha256"]

    def test_before_anybody_was_told_who_is_in_it_another_set_may_be(self, study):
        begun = study()
        begun.killed({}, 2, "A", True)
        begun.play(in_round(2, "birch"), resume=True)
        assert [line["lost"] for line in begun.lines] == [""] * 4
        assert begun.lines[1]["participants"] == ["alder", "cedar", "dogwood"]

    def test_what_a_round_has_cost_whoever_does_not_come_back_is_in_the_record(self, study):
        begun = study("rounds=3")
        begun.killed({}, 2, "B", True)
        begun.play({("cedar", 0, "describe"): refuses}, resume=True)
        cost = epsilon_after(begun.run.study, 2)
        assert begun.lines[0]["epsilon"]["cedar"] == cost
        assert begun.lines[1]["lost"]
        assert begun.lines[2]["participants"] == ["alder", "birch", "dogwood"]

    def test_before_the_first_round_nothing_is_lost(self, study):
        begun = study()
        begun.killed({}, 0, "keys", True)
        summary = begun.play(resume=True)
        assert (summary.status, summary.resumed) == ("completed", (1,))
        assert [line["lost"] for line in begun.lines] == [""] * 4

    def test_twice_in_a_row_is_as_good_as_once(self, study):
        begun = study()
        begun.killed({}, 2, "B", True)
        with pytest.raises(Killed):
            begun.play(dying=(2, "B", True), resume=True)
        summary = begun.play(resume=True)
        assert (summary.status, summary.resumed) == ("completed", (2, 2))
        assert [line["lost"] for line in begun.lines] == [""] * 4

    def test_so_it_is_when_its_model_was_there_and_the_record_of_it_was_not_whole(self, study):
        begun = study()
        with pytest.raises(Killed):
            begun.play(listeners=[KillsAfter(2)])
        model = begun.folder / "models" / "round-002.safetensors"
        before = model.read_bytes()
        assert begun.play(resume=True).status == "completed"
        assert [line["lost"] for line in begun.lines] == [""] * 4
        assert model.read_bytes() == before

    @pytest.mark.parametrize("exchange", ["A", "B"])
    def test_another_roster_is_refused_by_name(self, study, exchange):
        """Nobody is asked for anything but who they are."""
        begun = study()
        begun.killed({}, 2, exchange, True)
        asked = len([place for place in begun.party.asked() if place[1] != "describe"])
        keys = {**roster_of(SITES).keys, "cedar": roster_of(["elm", "fir", "ivy"]).keys["elm"]}
        begun.give(Roster.signed(CHIEF, 1, keys))
        with pytest.raises(DataError, match=r"secure-sum\.json is of the plan .* give the roster that"):
            begun.play(resume=True)
        assert begun.summary["status"] == "failed"
        assert len([place for place in begun.party.asked() if place[1] != "describe"]) == asked
        begun.give(roster_of(SITES))
        assert begun.play(resume=True).status == "completed"

    def test_who_joins_or_leaves_the_federation_changes_nothing_for_a_study(self, study):
        begun = study()
        begun.killed({}, 2, "B", True)
        begun.give(roster_of([*SITES, "elm", "fir"], version=2))
        assert begun.play(resume=True).status == "completed"


class TestEvaluation:
    def test_the_counts_are_those_of_all_hospitals_together(self, study):
        held_out = study("rounds=2").play().held_out
        total = sum(COUNTS.values())
        np.testing.assert_allclose([*held_out.healthy, *held_out.diseased], total, rtol=0, atol=1e-3)
        assert held_out.hospitals == SITES
        assert held_out.absent == ()
        assert held_out.auc is not None

    @pytest.mark.parametrize(
        ("fault", "reason"),
        [
            (refuses, "refused by out-of-hours"),
            (Changed(longer), "invalid reply: [22] numbers, not [21]"),
        ],
        ids=["refuses", "another length"],
    )
    def test_a_hospital_that_does_not_tell_is_left_out_by_name(self, study, fault, reason):
        held_out = study("rounds=2").play(in_round(3, "alder", fault=fault)).held_out
        total = sum(counts for site, counts in COUNTS.items() if site != "alder")
        np.testing.assert_allclose([*held_out.healthy, *held_out.diseased], total, rtol=0, atol=1e-3)
        assert held_out.hospitals == ("birch", "cedar", "dogwood")
        (absence,) = held_out.absent
        assert (absence.site, reason in absence.reason) == ("alder", True)

    def test_of_too_few_nothing_is_told_and_the_model_is_released_all_the_same(self, study):
        begun = study("rounds=2")
        summary = begun.play(in_round(3, "alder", "cedar"))
        assert (summary.status, summary.held_out.healthy, summary.held_out.auc) == ("completed", (), None)
        assert [absence.site for absence in summary.held_out.absent] == ["alder", "cedar", "all"]
        assert begun.party.exchanges(3) == {"A"}

    @pytest.mark.parametrize("weight", [0, 2])
    def test_a_hospital_that_sends_nonsense_costs_the_figures_and_not_the_model(self, study, weight):
        begun = study("rounds=2")

        def nonsense(site, request):
            sent = words(site, request)
            if site == "birch" and not isinstance(request, TrainRequest):
                sent[0] = weight
            return sent

        summary = begun.play(words=nonsense)
        assert (summary.status, summary.held_out.healthy) == ("completed", ())
        (absence,) = summary.held_out.absent
        assert (absence.site, f"a total weight of {weight + 3}" in absence.reason) == ("all", True)
        assert (begun.folder / "models" / "final.safetensors").exists()

    @pytest.mark.parametrize("sent", [False, True], ids=["before", "after"])
    @pytest.mark.parametrize("exchange", ["A", "B", "C"])
    def test_it_is_told_once_more_in_the_same_bytes_whatever_becomes_of_the_coordinator(
        self, study, tmp_path, on_grid, exchange, sent
    ):
        dropout = in_round(3, "cedar") if exchange == "C" else {}
        begun = study("rounds=2")
        begun.killed(dropout, 3, exchange, sent)
        told = begun.play(dropout, resume=True).held_out
        other = Study(tmp_path / "other", on_grid, "rounds=2").play(dropout).held_out
        assert told.hospitals == other.hospitals
        assert (told.healthy, told.diseased, told.auc) == (other.healthy, other.diseased, other.auc)
