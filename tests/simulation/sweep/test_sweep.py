import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from federation.errors import ConfigError
from server_app.record import Measurement
from simulation.sweep import run as sweep
from simulation.sweep.expansion import expand, folder_names
from simulation.sweep.record import JobRecord, SweepRecord
from simulation.sweep.report import render
from simulation.sweep.workers import core_shares

CORES = sorted(os.sched_getaffinity(0))[:2]


# The values of settings.


@pytest.mark.parametrize(
    ("override", "values"),
    [
        ("seed=1,2", ["1", "2"]),
        ("seed=choice(1,2)", ["1", "2"]),
        ("rounds=range(1,4)", ["1", "2", "3"]),
        ("++federation.patience=1,2.5", ["1", "2.5"]),
        ("task.classes=[a,b],[c,d]", ["[a,b]", "[c,d]"]),
        ("strategy=glob(fedav*)", ["fedavg", "fedavgm"]),
        ("study='a b',c", ["'a b'", "c"]),
    ],
)
def test_several_values_are_several_runs(override, values):
    key = override.lstrip("+").split("=")[0]
    prefix = override.split("=")[0]
    assert expand([override]) == [({key: value}, (f"{prefix}={value}",)) for value in values]


@pytest.mark.parametrize("override", ["rounds=3", "task.classes=[a,b]", "a={b: 1, c: 2}", "~a.b", "a='1,2'"])
def test_one_value_is_one_run(override):
    assert expand([override]) == [({}, (override,))]


def test_runs_are_the_product_in_order_and_the_last_setting_changes_fastest():
    runs = expand(["seed=1,2", "rounds=5", "federation=a,b"])
    assert [lines for _, lines in runs] == [
        (f"seed={seed}", "rounds=5", f"federation={federation}") for seed in (1, 2) for federation in "ab"
    ]
    assert [settings for settings, _ in runs][1] == {"seed": "1", "federation": "b"}


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["run_dir=a,b"], "run_dir cannot be swept"),
        (["resume=a,b"], "resume cannot be swept"),
        (["strategy=glob(x*)"], "has no values"),
        (["rounds=interval(1,3)"], "an interval has no end of values"),
        (["rounds"], "settings are KEY=VALUE"),
    ],
)
def test_what_cannot_be_swept_is_refused(overrides, reason):
    with pytest.raises(ConfigError, match=reason):
        expand(overrides)


def test_what_is_said_twice_means_the_second():
    assert [lines for _, lines in expand(["seed=1,2", "rounds=5", "seed=3,4"])] == [
        ("rounds=5", "seed=3"),
        ("rounds=5", "seed=4"),
    ]
    assert expand(["seed=1,2", "seed=3"]) == [({}, ("seed=3",))]


def test_folders_are_named_by_what_differs_and_are_safe_and_distinct():
    assert folder_names([{"privacy.epsilon": "1", "federation": "simulation_4"}]) == [
        "epsilon=1,federation=simulation_4"
    ]
    assert folder_names([{"a.seed": "1", "b.seed": "2"}]) == ["a.seed=1,b.seed=2"]
    names = folder_names([{"x": value} for value in ("../a b", "..'a b", "x" * 300, "x" * 301)])
    assert len(set(names)) == 4
    assert all("/" not in name and " " not in name and len(name) < 200 for name in names)
    assert folder_names([{}]) == ["as-set"]


# What is refused before anything runs.


def test_a_mistake_in_the_last_run_stops_even_the_first(simulate):
    done = simulate("--multirun", "rounds=1,2", "strategy=fedavg,fedavgn")
    assert (done.code, done.out) == (1, "")
    assert "strategy='fedavgn' does not exist in conf/strategy; did you mean 'fedavg" in done.err
    assert not done.folder.exists()


def test_a_mistake_in_one_hospitals_settings_stops_all(simulate):
    done = simulate("-m", "rounds=1,2", "+federation.sites.birch.polcy={}")
    assert done.code == 1
    assert "polcy" in done.err
    assert not done.folder.exists()


@pytest.mark.parametrize(
    "override", ["rounds=1,2", "federation=simulation_4,simulation_10", "rounds=range(1,3)"]
)
def test_several_values_without_multirun_say_what_to_do(simulate, override):
    done = simulate(override)
    assert done.code == 1
    assert done.err.startswith(f"ConfigError: {override} has several values; --multirun runs each of them")
    assert not done.folder.exists()


def test_a_used_folder_is_left_alone(simulate, tmp_path):
    other = tmp_path / "runs" / "run" / "other.txt"
    other.parent.mkdir(parents=True)
    other.write_text("mine")
    done = simulate("-m", "rounds=1,2")
    assert (done.code, list(other.parent.iterdir())) == (1, [other])
    assert "is not empty" in done.err


def test_resume_belongs_to_a_single_run():
    with pytest.raises(ConfigError, match="resume continues a single run"):
        sweep.plan(["seed=1,2", "resume=true"])


def test_runs_leave_out_comparisons_unless_told():
    assert [job.run.options.compare for job in sweep.plan(["seed=1,2"])] == [False, False]
    assert [job.run.options.compare for job in sweep.plan(["seed=1,2", "compare=true"])] == [True, True]


def test_with_distributed_noise_a_run_has_a_round_for_each_step_and_says_whose_its_epsilon_is():
    jobs = sweep.plan(["study=heart_disease", "privacy=local_3,distributed"])
    assert [(job.run.study.rounds, job.run.study.training.steps) for job in jobs] == [(10, 5), (50, 1)]
    assert [sweep._planned(job).distributed for job in jobs] == [False, True]


@pytest.mark.parametrize(("varied", "made"), [("privacy.epsilon=1,2", 1), ("pretraining.seed=0,1", 0)])
def test_an_initial_model_that_runs_share_is_made_once_before_them(monkeypatch, varied, made):
    calls = []
    monkeypatch.setattr(sweep, "initial_model", calls.append)
    monkeypatch.setattr(sweep, "load_cohorts", lambda run: None)
    sweep.prepare([job.run for job in sweep.plan([varied])])
    assert len(calls) == made


def test_each_core_is_dealt_out_once(monkeypatch):
    monkeypatch.setattr("simulation.sweep.workers.usable_cores", lambda: {2, 3, 5, 7, 11})
    assert core_shares(2) == [{2, 5, 11}, {3, 7}]
    assert core_shares(9) == [{2}, {3}, {5}, {7}, {11}]


# Real sweeps.


@pytest.fixture(autouse=True)
def _processes_import_the_tiny_task(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))


@pytest.fixture
def two_cores():
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, CORES)
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.deployment
def test_a_sweep_is_its_runs_side_by_side(simulate, tmp_path, two_cores):
    done = simulate("--multirun", "seed=5", "privacy.epsilon=2,8", "rounds=1,2", name="sweep")
    assert (done.code, done.err) == (0, "")
    record = SweepRecord.model_validate(done.read("sweep.json"))
    assert record.swept == {"privacy.epsilon": ("2", "8"), "rounds": ("1", "2")}
    assert [job.status for job in record.jobs] == ["completed"] * 4
    # The same as singly, to the bit.
    single = simulate("seed=5", "privacy.epsilon=8", "rounds=2", name="single")
    same = done.folder / "epsilon=8,rounds=2"
    assert {file.name: file.read_bytes() for file in same.glob("models/*.safetensors")} == single.models
    last = record.jobs[-1]
    assert (last.folder, last.epsilon, last.seed, last.hospitals) == (same.name, 8.0, 5, 4)
    assert (last.auc, last.measured.auc_interval) == (
        single.summary["pooled"]["auc"],
        tuple(single.summary["pooled"]["auc_interval"]),
    )
    # As many at once as there are cores, and no more.
    rounded = 0.002  # to milliseconds, so that one may seem to end after the next began
    spans = [(job.began, job.began + job.seconds - rounded) for job in record.jobs]
    at_once = [sum(begin <= moment < end for begin, end in spans) for moment, _ in spans]
    assert max(at_once) == record.at_once == len(CORES)
    # A line as each ends, then where everything is.
    lines = done.out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:-2]] == ["1/4", "2/4", "3/4", "4/4"]
    assert all("AUC 0." in line for line in lines[1:-2])
    assert lines[-2:] == [f"report: {done.folder / 'report.html'}", str(done.folder)]
    page = (done.folder / "report.html").read_text()
    for job in record.jobs:
        assert f'href="{job.folder.replace("=", "%3D").replace(",", "%2C")}/report.html"' in page
        assert (done.folder / job.folder / "report.html").exists()
        low, high = job.measured.auc_interval
        assert f"{job.auc:.2f} ({low:.2f}–{high:.2f})" in page
    assert not (done.folder.parent / "latest").exists() or (done.folder.parent / "latest").readlink() == Path(
        "single"
    )


@pytest.mark.deployment
def test_a_run_that_fails_is_named_and_the_others_go_on(simulate):
    done = simulate(
        "-m", "-q", "+federation.sites.birch.policy={minimum_patients: 1000}", "quorum=4,3,2", name="sweep"
    )
    assert (done.code, done.out) == (1, f"{done.folder}\n")
    first, *others = done.read("sweep.json")["jobs"]
    assert first["status"] == "failed"
    assert first["reason"].startswith("QuorumError: 3 of at least 4 hospitals will take part. birch: refused")
    assert [job["status"] for job in others] == ["completed"] * 2
    assert done.err == f"quorum=4: {first['reason']}; see {done.folder / 'quorum=4' / 'run.log'}\n"
    page = (done.folder / "report.html").read_text()
    assert "The run with quorum 4 failed: QuorumError: 3 of at least 4" in page


def running(process, folder, count):
    """The runs of a sweep, once each has finished a round."""
    end = time.monotonic() + 120
    while len(
        [file for file in folder.glob("*/metrics.jsonl") if '"round","round":1' in file.read_text()]
    ) < (count):
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.2)
    return psutil.Process(process.pid).children(recursive=True)


@pytest.fixture
def endless(start):
    """A sweep of three runs without end, on two cores."""
    prefix = ("taskset", "-c", ",".join(map(str, CORES)))
    process, folder = start("-m", "privacy.epsilon=2,4,8", "rounds=60000", prefix=prefix)
    return process, folder, running(process, folder, len(CORES))


@pytest.mark.deployment
def test_ctrl_c_ends_all_and_leaves_a_report_of_what_there_is(endless):
    process, folder, runs = endless
    assert sorted(run.cpu_affinity() for run in runs) == [[core] for core in CORES]
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "stopped by hand; what was finished is in the run's folder\n")
    assert not any(run.is_running() for run in runs)
    jobs = json.loads((folder / "sweep.json").read_text())["jobs"]
    assert [job["status"] for job in jobs].count("interrupted") == len(CORES)
    assert [job["status"] for job in jobs].count("not run") == 3 - len(CORES)
    for job in jobs[: len(CORES)]:
        assert json.loads((folder / job["folder"] / "summary.json").read_text())["status"] == "interrupted"
    assert "Stopped by hand before 3 runs ended" in (folder / "report.html").read_text()


@pytest.mark.deployment
def test_runs_end_with_a_sweep_that_is_killed(endless):
    process, folder, runs = endless
    process.kill()
    _, alive = psutil.wait_procs(runs, timeout=60)
    assert not alive
    statuses = [json.loads(file.read_text())["status"] for file in folder.glob("*/summary.json")]
    assert statuses == ["interrupted"] * len(CORES)


# The report.


def job(number, epsilon, auc, **changes):
    measured = Measurement(
        patients=50, images=50, positives=20, auc=auc, auc_interval=(auc - 0.02, auc + 0.02)
    )
    values = {
        "folder": f"job{number}",
        "settings": {},
        "overrides": ("study=x",),
        "status": "completed",
        "epsilon": epsilon,
        "seed": None,
        "hospitals": 4,
        "measured": measured,
        "seconds": 3.0,
    }
    return JobRecord(**{**values, **changes})


def page_of(jobs, **swept):
    record = SweepRecord(
        titles=("A study",),
        swept={key.replace("__", "."): values for key, values in swept.items()},
        at_once=2,
        rendered=False,
        started="2026-01-01T00:00:00Z",
        seconds=9.0,
        jobs=tuple(jobs),
    )
    return render(record, {"job0"}).replace("\u00a0", " ")


def test_the_headline_goes_from_the_strongest_promise_to_none():
    jobs = [
        job(0, 1.0, 0.7, settings={"privacy.epsilon": "1"}),
        job(1, 8.0, 0.8, settings={"privacy.epsilon": "8"}),
    ]
    page = page_of(jobs, privacy__epsilon=("1", "8"))
    assert "<h1>AUC is 0.70 at ε = 1 and 0.80 at ε = 8.</h1>" in page
    assert "(0.68–0.72) and at ε = 8 (0.78–0.82) do not overlap" in page
    assert "add up to ε = 9" in page
    assert page.count("job0/report.html") == 1
    assert "job1/report.html" not in page
    page = page_of([*jobs, job(2, None, 0.83, settings={"privacy.epsilon": "null"})], privacy__epsilon=("1",))
    assert "<h1>AUC is 0.70 at ε = 1 and 0.83 without privacy.</h1>" in page
    assert ">no privacy</text>" in page


def test_local_and_distributed_noise_are_not_averaged_even_at_one_epsilon():
    jobs = [
        job(0, 3.0, 0.7, settings={"privacy": "local_3"}),
        job(1, 3.0, 0.8, settings={"privacy": "distributed"}, distributed=True),
    ]
    page = page_of(jobs, privacy=("local_3", "distributed"))
    assert "<h1>AUC lies between 0.70 (privacy local_3) and 0.80 (privacy distributed).</h1>" in page
    assert "add up to ε = 6 against the coordinator" in page
    assert ">3 against the coordinator<" in page
    assert "ε holds against the coordinator and the hospitals that may be in league with it" in page
    without = job(2, None, 0.9, settings={"privacy": "none"})
    page = page_of([*jobs, without], privacy=("local_3", "distributed", "none"))
    assert (
        "<h1>AUC is 0.70 at ε = 3 with local noise; 0.80 at ε = 3 with distributed noise; "
        "0.90 without privacy.</h1>"
    ) in page
    assert "local noise: at ε = 3 0.70 (0.68–0.72); distributed noise: at ε = 3 0.80" in page
    assert ">distributed</text>" in page, "whole, beside its line"
    alone = page_of([jobs[1], without], privacy=("distributed", "none"))
    assert "<h1>AUC is 0.80 at ε = 3 and 0.90 without privacy.</h1>" in alone


def test_seeds_are_averaged_and_their_spread_is_told():
    jobs = [
        job(number, epsilon, auc, seed=seed, settings={"privacy.epsilon": f"{epsilon:g}", "seed": str(seed)})
        for number, (epsilon, seed, auc) in enumerate(
            [(1.0, 1, 0.6), (1.0, 2, 0.7), (8.0, 1, 0.8), (8.0, 2, 0.88)]
        )
    ]
    page = page_of(jobs, privacy__epsilon=("1", "8"), seed=("1", "2"))
    assert "<h1>AUC is 0.65 at ε = 1 and 0.84 at ε = 8, on average over 2 seeds.</h1>" in page
    assert "at ε = 1 0.65 (0.60–0.70), at ε = 8 0.84 (0.80–0.88)" in page
    assert "average over 2 seeds" in page
    assert "protects nobody" in page


def test_each_combination_of_other_settings_has_its_line():
    jobs = [
        job(
            number,
            epsilon,
            auc,
            hospitals=hospitals,
            settings={"privacy.epsilon": f"{epsilon:g}", "federation": f},
        )
        for number, (epsilon, f, hospitals, auc) in enumerate(
            [(1.0, "a", 4, 0.6), (1.0, "b", 10, 0.7), (8.0, "a", 4, 0.8), (8.0, "b", 10, 0.9)]
        )
    ]
    page = page_of(jobs, privacy__epsilon=("1", "8"), federation=("a", "b"))
    assert "0.60 at ε = 1 and 0.80 at ε = 8 with 4 hospitals; 0.70 at ε = 1 and 0.90 at ε = 8 with 10" in page
    assert ">4 hospitals</text>" in page


def test_without_epsilon_runs_stand_side_by_side():
    jobs = [
        job(0, 3.0, 0.6, settings={"strategy": "fedavg"}),
        job(1, 3.0, 0.7, settings={"strategy": "fed<b>"}),
    ]
    page = page_of(jobs, strategy=("fedavg", "fed<b>"))
    assert "AUC lies between 0.60 (strategy fedavg) and 0.70 (strategy fed&lt;b&gt;)" in page
    assert "Which setting does how well?" in page
    assert "fed<b>" not in page


def test_a_sweep_without_results_has_a_page():
    failed = job(0, 3.0, 0.6, status="failed", reason="RunError: <no>", measured=None, settings={"seed": "1"})
    page = page_of(
        [failed, job(1, 3.0, 0.5, status="not run", measured=None, settings={"seed": "2"})], seed=("1",)
    )
    assert "None of 2 runs has an AUC." in page
    assert "The run with seed 1 failed: RunError: &lt;no&gt;" in page
    assert "Stopped by hand before 1 run ended: seed 2." in page
