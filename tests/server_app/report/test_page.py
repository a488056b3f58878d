"""The page as a whole: from a run's folder to one file that needs nothing else."""

import re
from html import unescape
from html.parser import HTMLParser

import pytest

from federation.errors import MessageError
from server_app.record import RoundLine
from server_app.report import write_report

SITES = ("alder", "birch", "cedar", "dogwood")


class Tags(HTMLParser):
    """All elements of a page with their attributes, and whether they nest."""

    VOID = frozenset({"meta", "link", "img", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def page_of(run_dir) -> str:
    return write_report(run_dir).read_text()


def test_the_page_asks_for_nothing(write_run, summary):
    page = page_of(write_run(summary, samples=True))
    tags = Tags(page)
    assert tags.open == []
    assert "script" not in {tag for tag, _ in tags.found}
    for _, attributes in tags.found:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
    assert "http:" not in page
    assert "https:" not in page
    assert "@import" not in page
    assert all(target.startswith("#") for target in re.findall(r"url\((.*?)\)", page))


def test_ids_are_unique_so_that_one_figure_cannot_clip_another(write_run, summary):
    ids = [
        attributes["id"] for _, attributes in Tags(page_of(write_run(summary))).found if "id" in attributes
    ]
    assert ids
    assert len(ids) == len(set(ids))


def test_every_figure_has_a_description_and_every_header_a_scope(write_run, summary):
    tags = Tags(page_of(write_run(summary, samples=True))).found
    pictures = [attributes for tag, attributes in tags if tag == "svg"]
    assert len(pictures) == 6
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in pictures)
    assert all(attributes["alt"] for tag, attributes in tags if tag == "img")
    assert all(attributes.get("scope") for tag, attributes in tags if tag == "th")


def test_every_site_and_every_absence_is_told(write_run, summary, rounds):
    page = page_of(write_run(summary, rounds("scanner network down")))
    for site in SITES:
        assert f'<th scope="row" role="rowheader">{site}<small>scanner of {site}' in page
    assert "scanner network down" in page
    assert "cedar took part in 2, absent in 2" in page


def test_a_site_that_only_rounds_name_is_not_lost(write_run, summary):
    kept = {name: site for name, site in summary.sites.items() if name != "cedar"}
    assert "in the rounds, but not in the summary" in page_of(
        write_run(summary.model_copy(update={"sites": kept}))
    )


def test_a_site_that_took_part_in_nothing_is_told(write_run, summary, rounds):
    kept = {name: site for name, site in summary.sites.items() if name != "cedar"}
    lines = [
        line.model_copy(update={"participants": tuple(site for site in line.participants if site != "cedar")})
        for line in rounds()[::2]
    ]
    page = page_of(write_run(summary.model_copy(update={"sites": kept}), lines))
    assert "cedar<small>took part in no round" in page


def test_text_from_a_site_stays_text(write_run, summary, rounds):
    attack = "<script>alert(1)</script>\"'&"
    hostile = summary.model_copy(
        update={
            "title": attack,
            "status": "failed",
            "reason": attack,
            "sites": summary.sites | {f"elm {attack} $x^$": summary.sites["alder"]},
            "baselines": {attack: summary.baselines["lesion area"]},
        }
    )
    page = page_of(write_run(hostile, rounds(attack)))
    assert "<script" not in page
    assert attack in unescape(page)
    assert Tags(page).open == []


def test_a_failed_run_says_so_on_top(write_run, summary):
    failed = summary.model_copy(update={"status": "failed", "reason": "the disk is full"})
    page = page_of(write_run(failed))
    assert "<h1>This run failed after 3 rounds: the disk is full.</h1>" in page


def test_a_run_that_fell_over_before_its_first_round_has_a_page(write_run, summary):
    run_dir = write_run(
        summary.model_copy(
            update={
                "status": "failed",
                "reason": "nobody came",
                "pooled": None,
                "baselines": {},
                "comparison": None,
            }
        )
    )
    (run_dir / "metrics.jsonl").unlink()
    assert "after 0 of 3 rounds: nobody came." in page_of(run_dir)


def test_a_real_federation_shows_no_scores_and_no_images(write_run, summary, rounds):
    sites = {
        name: site.model_copy(update={"auc": None, "auc_interval": None, "measurement": None})
        for name, site in summary.sites.items()
    }
    real = summary.model_copy(
        update={"simulation": False, "pooled": None, "baselines": {}, "comparison": None, "sites": sites}
    )
    page = page_of(write_run(real, [line for line in rounds() if isinstance(line, RoundLine)], samples=True))
    assert "data:image/png" not in page
    assert "was left out: no image leaves a hospital" in page
    assert "Scores stay at the hospitals." in page
    assert ">sensitivity<" not in page


def test_simulation_is_marked_and_samples_are_called_rendered(write_run, summary):
    page = page_of(write_run(summary, samples=True))
    assert "Simulation: in a real federation these figures stay at the hospital." in page
    assert "Rendered sample images, each with its label: drawn by a computer." in page


def test_acquired_images_are_not_called_rendered(write_run, summary):
    page = page_of(write_run(summary.model_copy(update={"rendered": False}), samples=True))
    assert "Sample images of the collection, each with its label." in page
    assert "Rendered" not in page


def test_a_baseline_that_beats_the_model_is_said_plainly(write_run, summary, measure):
    beaten = summary.model_copy(update={"baselines": {"lesion area": measure(0.97, 0.95)}})
    page = page_of(write_run(beaten))
    assert "A ruler does as well: lesion area alone reaches 0.97, the model 0.94." in page


def test_the_same_record_gives_the_same_bytes(write_run, summary):
    run_dir = write_run(summary, samples=True)
    assert write_report(run_dir).read_bytes() == write_report(run_dir).read_bytes()


def test_without_privacy_there_is_no_bound_to_draw(write_run, summary):
    privacy = summary.privacy.model_copy(update={"mode": "none", "epsilon": None, "delta": None})
    page = page_of(write_run(summary.model_copy(update={"privacy": privacy})))
    assert "Nothing was promised." in page
    assert "How often can a guess" not in page


class TestWhomItHoldsAgainst:
    """A page of shared noise names all who may look, at what ε, resting on what."""

    @staticmethod
    def unsaid(page, privacy):
        """What of a promise's numbers a page keeps to itself."""
        text = unescape(page)
        return [
            told
            for each in privacy.guarantees
            for told in (
                f"Against {each.title}: {f'epsilon {each.epsilon:g}' if each.epsilon else 'no bound'}.",
                each.assumption,
            )
            if told not in text
        ]

    def test_all_three_stand_on_it_with_what_they_rest_on(self, write_run, shared):
        page = page_of(write_run(shared))
        assert not self.unsaid(page, shared.privacy)
        assert "Whom the promise holds against" in page
        assert "every other ε on this page is against\nthe coordinator with 1 of 4 hospitals." in page
        assert "leaves possible to the coordinator with 1 of 4 hospitals" in page
        assert "nobody can do better" not in page, "everybody together can"
        assert Tags(page).open == []

    @pytest.mark.parametrize("kept", [0, 1, 2])
    def test_a_page_that_leaves_one_out_is_caught(self, write_run, shared, kept):
        fewer = shared.privacy.model_copy(update={"guarantees": shared.privacy.guarantees[:kept]})
        page = page_of(write_run(shared.model_copy(update={"privacy": fewer})))
        assert self.unsaid(page, shared.privacy)
        assert ("does not say against whom its ε holds" in page) == (kept == 0)

    def test_noise_of_one_s_own_needs_no_picture(self, write_run, summary):
        page = page_of(write_run(summary))
        assert "Whom the promise holds against" not in page
        assert "Whom it holds against: everybody together." in page
        assert "leaves possible to anybody" in page

    def test_a_lost_round_is_told_with_its_reason_in_words_and_in_the_picture(
        self, write_run, summary, losing
    ):
        page = page_of(write_run(summary, losing))
        assert "Round 2 came to nothing: 2 hospitals are in the sum, quorum 3." in page
        assert "Came to nothing: 2." in page
        assert "came to nothing" not in page_of(write_run(summary))


class TestWrongRecords:
    def test_no_summary(self, tmp_path):
        with pytest.raises(MessageError, match=r"summary\.json does not exist: has the run ended"):
            write_report(tmp_path)

    def test_a_completed_run_without_metrics(self, write_run, summary):
        run_dir = write_run(summary)
        (run_dir / "metrics.jsonl").unlink()
        with pytest.raises(MessageError, match=r"metrics\.jsonl does not exist"):
            write_report(run_dir)

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ('{"event": "party", "round": 4}', "line 7: event='party' is unknown"),
            ('{"event": ["round"]}', "is unknown"),
            ('{"event": "round", "round": 4, "par', "was the file cut off"),
            ("[]", "no JSON object with an 'event'"),
            ('{"event": "round", "round": 4}', "line 7: seconds: Field required"),
        ],
    )
    def test_a_line_that_is_no_record(self, write_run, summary, line, message):
        run_dir = write_run(summary)
        with (run_dir / "metrics.jsonl").open("a") as file:
            file.write(line + "\n")
        with pytest.raises(MessageError, match=re.escape(message)):
            write_report(run_dir)

    def test_a_round_told_twice(self, write_run, summary, rounds):
        with pytest.raises(MessageError, match="round 1 is written twice"):
            write_report(write_run(summary, rounds() + rounds()[:1]))

    def test_samples_that_are_no_png(self, write_run, summary):
        run_dir = write_run(summary)
        (run_dir / "samples.png").write_text("<svg>")
        with pytest.raises(MessageError, match="is no PNG"):
            write_report(run_dir)

    def test_an_audit_that_is_none(self, write_run, summary):
        run_dir = write_run(summary)
        (run_dir / "privacy-audit.json").write_text("[]")
        with pytest.raises(MessageError, match="is no privacy audit"):
            write_report(run_dir)

    def test_a_wrong_record_leaves_the_old_page_whole(self, write_run, summary):
        run_dir = write_run(summary)
        before = write_report(run_dir).read_bytes()
        (run_dir / "summary.json").write_text("{}")
        with pytest.raises(MessageError):
            write_report(run_dir)
        assert (run_dir / "report.html").read_bytes() == before


def test_what_the_hospitals_tell_of_held_out_patients_has_its_picture(write_run, summary, held_out):
    page = page_of(write_run(summary.model_copy(update={"held_out": held_out()})))
    assert "What the hospitals themselves say" in page
    assert "noise alone" in page
    assert "What the hospitals themselves say" not in page_of(write_run(summary))
