"""A small but whole run: four hospitals, three rounds, one of them absent once."""

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from server_app.record import (
    Absence,
    Comparison,
    EvaluationLine,
    Guarantee,
    HeldOut,
    Measurement,
    PrivacyStatement,
    RoundLine,
    SiteSummary,
    Stratum,
    Summary,
    WithoutPrivacy,
)

SITES = ("alder", "birch", "cedar", "dogwood")
ALONE = (0.91, 0.90, 0.88, 0.87)
ALL_THE_NOISE = "Holds since each hospital adds all of the noise itself."
# One transparent pixel.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)

RunWriter = Callable[..., Path]
Measure = Callable[..., Measurement]


def measured(auc: float | None, harder: float | None = None) -> Measurement:
    """A measurement around ``auc``, with ``harder`` on the small nodules."""
    return Measurement(
        patients=153,
        images=313,
        positives=104,
        auc=auc,
        auc_interval=None if auc is None else (auc - 0.03, min(1.0, auc + 0.03)),
        sensitivity=0.83,
        specificity=0.91,
        calibration_error=0.06,
        roc=None if auc is None else ((0.0, 0.1, 1.0), (0.0, 0.85, 1.0)),
        stratum=None
        if harder is None
        else Stratum(label="5–15 mm", images=191, auc=harder, auc_interval=(harder - 0.05, harder + 0.05)),
    )


def a_summary() -> Summary:
    """A completed simulation at ε = 8 with everything in it."""
    return Summary(
        study="nodule_ct",
        title="Lung nodules",
        study_id="9f2c" * 16,
        model_version="nodule-ct-v1",
        status="completed",
        started="2026-03-02T09:14:07+00:00",
        seconds=200.0,
        rounds=3,
        rendered=True,
        simulation=True,
        seed=None,
        classes=("benign", "malignant"),
        privacy=PrivacyStatement(
            mode="local",
            guarantees=(
                Guarantee(
                    against="everybody", title="everybody together", epsilon=8.0, assumption=ALL_THE_NOISE
                ),
            ),
            epsilon=8.0,
            delta=1e-5,
            noise_multiplier=0.73,
            clipping_norm=1.0,
            sampling_rate=0.1,
            secret="operating system",  # noqa: S106 - says where noise came from
        ),
        sites={
            site: SiteSummary(
                description=f"scanner of {site}",
                patients=160,
                steps=24,
                rounds=3,
                epsilon=7.981,
                delta=1e-5,
                auc=0.93,
                auc_interval=(0.87, 0.98),
                measurement=measured(0.93),
            )
            for site in SITES
        },
        pooled=measured(0.94, 0.90),
        baselines={"lesion area": measured(0.80, 0.70)},
        comparison=Comparison(
            alone={site: measured(auc, auc - 0.05) for site, auc in zip(SITES, ALONE, strict=True)},
            pooled=measured(0.95, 0.91),
            without_privacy=WithoutPrivacy(
                alone={site: measured(auc + 0.01) for site, auc in zip(SITES, ALONE, strict=True)},
                together=measured(0.955, 0.915),
                pooled=measured(0.96, 0.92),
            ),
        ),
    )


def some_rounds(reason: str = "no answer for 60 s") -> list[RoundLine | EvaluationLine]:
    """Three rounds, each evaluated; cedar misses the second."""
    lines: list[RoundLine | EvaluationLine] = []
    for number in (1, 2, 3):
        absent = (Absence(site="cedar", reason=reason),) if number == 2 else ()
        away = {absence.site for absence in absent}
        lines.append(
            RoundLine(
                round=number,
                seconds=4.0,
                participants=tuple(site for site in SITES if site not in away),
                absent=absent,
                epsilon=dict.fromkeys(SITES, 2.6 * number),
                model_sha256=f"{number:064x}",
            )
        )
        auc = 0.8 + 0.04 * number
        lines.append(
            EvaluationLine(
                round=number, pooled=measured(auc), sites={site: measured(auc - 0.01) for site in SITES}
            )
        )
    return lines


@pytest.fixture
def summary() -> Summary:
    return a_summary()


@pytest.fixture
def shared(summary: Summary) -> Summary:
    """The same with noise that all hospitals share, in secure sums, and three numbers."""
    found = (
        Guarantee(
            against="coordinator",
            title="the coordinator with 1 of 4 hospitals",
            epsilon=7.98,
            assumption="Rests on two honest hospitals.",
        ),
        Guarantee(
            against="peer",
            title="a single other hospital",
            epsilon=7.5,
            assumption="Rests on its being in league with nobody.",
        ),
        Guarantee(
            against="everybody",
            title="everybody together",
            epsilon=None,
            assumption="Rests on the hospital's own share & nobody else.",
        ),
    )
    changes = {
        "mode": "distributed",
        "aggregation": "secure",
        "travel": "in secure sums over at least 3 of 4 hospitals",
        "guarantees": found,
    }
    return summary.model_copy(update={"privacy": summary.privacy.model_copy(update=changes)})


@pytest.fixture
def losing(rounds: Callable[..., list[RoundLine | EvaluationLine]]) -> list[RoundLine | EvaluationLine]:
    """Three rounds of which the second came to nothing."""
    return [
        line.model_copy(update={"lost": "2 hospitals are in the sum, quorum 3", "participants": ()})
        if isinstance(line, RoundLine) and line.round == 2
        else line
        for line in rounds()
    ]


@pytest.fixture
def held_out() -> Callable[..., HeldOut]:
    """What three of four hospitals tell, with changes."""

    def told(**changes: object) -> HeldOut:
        values = {
            "hospitals": SITES[:3],
            "absent": (Absence(site="dogwood", reason="too few"),),
            "epsilon": 2.0,
            "delta": 1e-5,
            "noise": 4.2,
            "healthy": (90.0, 40.0, 12.0, 3.0, -2.5, 4.0, 1.0, 2.0, -1.0, 3.0),
            "diseased": (1.0, -2.0, 3.0, 2.0, 4.0, 8.0, 10.0, 30.0, 60.0, 20.0),
            "auc": 0.93,
            "auc_interval": (0.88, 0.96),
        }
        return HeldOut.model_validate(values | changes)

    return told


@pytest.fixture
def measure() -> Measure:
    return measured


@pytest.fixture
def rounds() -> Callable[..., list[RoundLine | EvaluationLine]]:
    return some_rounds


@pytest.fixture
def write_run(tmp_path: Path) -> RunWriter:
    """Writes a run's folder as a run does."""

    def write(
        summary: Summary, lines: list[RoundLine | EvaluationLine] | None = None, samples: bool = False
    ) -> Path:
        lines = some_rounds() if lines is None else lines
        (tmp_path / "summary.json").write_text(summary.model_dump_json())
        (tmp_path / "metrics.jsonl").write_text("".join(line.model_dump_json() + "\n" for line in lines))
        if samples:
            (tmp_path / "samples.png").write_bytes(PNG)
        return tmp_path

    return write
