import json
import os
import re
import shutil
import signal
from hashlib import sha256
from html import unescape

import pytest

from client_app.custodian.work import Training
from federation.errors import DataError
from simulation.simulate import main

SITES = ["alder", "birch", "cedar", "dogwood"]
KINDS = ("json", "safetensors")


@pytest.fixture(scope="module")
def nodules(simulate_in, tmp_path_factory):
    """A seeded run over nodules."""
    return simulate_in(tmp_path_factory.mktemp("nodules") / "run", "seed=5", on="nodules")


@pytest.fixture(scope="module")
def real(simulate_in, tmp_path_factory):
    """A run with each site's own secret."""
    return simulate_in(tmp_path_factory.mktemp("real") / "run")


@pytest.fixture(scope="module")
def compared(simulate_in, tmp_path_factory):
    """A seeded run beside the same without the federation."""
    folder = tmp_path_factory.mktemp("compared") / "run"
    return simulate_in(
        folder, "seed=5", "compare=true", "audit=true", "++privacy.epsilon=3", "training.learning_rate=0.01"
    )


def keys_of(value, where=""):
    """Every key of a record with its place, and the type of what stands there."""
    if isinstance(value, dict):
        return {(where, key) for key in value} | {
            found for key, inner in value.items() for found in keys_of(inner, f"{where}.{key}")
        }
    return {(where, type(value).__name__)}


def files_of(folder):
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_run_leaves_a_summary_with_everything_that_a_reader_looks_for(nodules):
    assert nodules.code == 0
    summary = nodules.summary
    assert {"study_id", "model_version", "rounds", "seconds", "sites", "pooled", "baselines"} <= set(summary)
    assert list(summary["sites"]) == SITES
    for site in summary["sites"].values():
        assert {"patients", "steps", "epsilon", "delta", "auc"} <= set(site)
        assert site["patients"] > 20
        assert site["steps"] == 4
        assert 7.9 < site["epsilon"] <= 8
        assert site["delta"] == 1e-5
        assert site["auc_interval"][0] <= site["auc"] <= site["auc_interval"][1]
    assert (summary["status"], summary["rounds"]) == ("completed", 2)
    assert summary["seconds"] > 0
    assert summary["simulation"] is summary["rendered"] is True


def test_the_summary_names_the_study_and_the_model_by_their_content(nodules):
    final = sha256(nodules.models["final.safetensors"]).hexdigest()
    assert nodules.summary["model_version"] == f"nodule_ct-final-{final[:12]}"
    study = sha256((nodules.folder / "study.json").read_bytes()).hexdigest()
    assert nodules.summary["study_id"] == study


def test_beside_the_model_stands_what_the_lesions_area_alone_does(nodules):
    summary = nodules.summary
    (area,) = summary["baselines"].values()
    assert area["auc"] == pytest.approx(0.945, abs=0.002)
    assert area["stratum"]["images"] == summary["pooled"]["stratum"]["images"] > 100
    assert summary["pooled"]["stratum"]["label"] == "5–15 mm"


def test_a_run_leaves_these_files(nodules):
    files = {str(file.relative_to(nodules.folder)) for file in files_of(nodules.folder)}
    assert {file for file in files if not file.startswith("sites/")} == {
        "audit-heads.jsonl",
        "audit-heads.lock",
        "checkpoint.safetensors",
        "lock",
        "run.json",
        "study.json",
        "summary.json",
        "metrics.jsonl",
        "model_card.md",
        "report.html",
        "roster.json",
        "roster.lock",
        "secure-sum.json",
        "run.log",
        "samples.png",
        *(f"models/{name}.{kind}" for name in ("round-001", "round-002", "final") for kind in KINDS),
    }


def test_each_model_is_measured_and_the_initial_one_too(nodules):
    lines = [json.loads(line) for line in (nodules.folder / "metrics.jsonl").read_text().splitlines()]
    assert [(line["event"], line["round"]) for line in lines] == [
        ("evaluation", 0),
        ("round", 1),
        ("evaluation", 1),
        ("round", 2),
        ("evaluation", 2),
    ]
    for line in lines[::2]:
        assert list(line["sites"]) == SITES
        assert line["pooled"]["images"] == sum(site["images"] for site in line["sites"].values())


@pytest.mark.deployment  # for its time
def test_latest_leads_to_the_newest_run_but_only_in_runs(nodules, simulate):
    assert not (nodules.folder.parent / "latest").exists()
    first = simulate("rounds=1", name="first")
    assert (first.folder.parent / "latest").resolve() == first.folder
    second = simulate("rounds=1", name="second")
    assert (second.folder.parent / "latest").resolve() == second.folder


def test_two_runs_with_one_seed_give_the_same_models_bit_by_bit_and_another_seed_others(nodules, simulate):
    again, other = simulate("seed=5", on="nodules"), simulate("seed=6", on="nodules", name="other")
    assert sorted(nodules.models) == ["final.safetensors", "round-001.safetensors", "round-002.safetensors"]
    assert again.models == nodules.models
    assert again.summary["model_version"] == nodules.summary["model_version"]
    assert all(other.models[name] != content for name, content in nodules.models.items())


@pytest.mark.deployment  # for its time
def test_without_a_seed_the_noise_differs_and_the_record_has_the_same_format(real, simulate):
    again, seeded = simulate(), simulate("seed=5", name="seeded")
    assert all(again.models[name] != content for name, content in real.models.items())
    assert keys_of(again.summary) == keys_of(real.summary)
    assert keys_of(seeded.summary) ^ keys_of(real.summary) == {(".seed", "int"), (".seed", "NoneType")}
    for one, another in zip(seeded.rounds, real.rounds, strict=True):
        assert keys_of(one) == keys_of(another)


def test_the_record_says_where_the_noise_came_from(real, nodules):
    assert real.summary["privacy"]["secret"] == "operating system"  # noqa: S105
    assert real.summary["seed"] is None
    assert (real.folder / "sites" / "alder" / "keys" / "noise").stat().st_mode & 0o777 == 0o600
    assert "it protects nobody" not in (real.folder / "model_card.md").read_text()
    assert nodules.summary["privacy"]["secret"] == "simulation seed"  # noqa: S105
    assert nodules.summary["seed"] == 5
    assert "it protects nobody" in (nodules.folder / "model_card.md").read_text()


def test_without_privacy_nothing_is_promised_and_nothing_counted(simulate):
    summary = simulate("privacy=none", "rounds=1").summary
    assert summary["privacy"]["mode"] == "none"
    assert summary["privacy"]["epsilon"] is summary["privacy"]["noise_multiplier"] is None
    assert {site["epsilon"] for site in summary["sites"].values()} == {None}


@pytest.mark.deployment  # for its time
@pytest.mark.parametrize("strategy", ["fedprox", "fedavgm", "fedadam", "fedyogi"])
def test_every_strategy_runs(simulate, strategy):
    assert simulate(f"strategy={strategy}").summary["status"] == "completed"


def test_the_comparison_has_each_hospital_alone_and_everybody_pooled_with_and_without_privacy(compared):
    comparison = compared.summary["comparison"]
    assert list(comparison) == ["alone", "pooled", "without_privacy"]
    without = comparison["without_privacy"]
    assert list(comparison["alone"]) == list(without["alone"]) == SITES
    everybody = compared.summary["pooled"]["patients"]
    for measured in (
        *comparison["alone"].values(),
        comparison["pooled"],
        *without["alone"].values(),
        without["together"],
        without["pooled"],
    ):
        assert measured["patients"] == everybody, "all are measured on everybody's test patients"


def test_its_audit_lies_beside_the_report_which_leads_to_it(compared):
    audit = compared.read("privacy-audit.json")
    assert audit["study_id"] == compared.summary["study_id"]
    assert audit["rehearsal"] is not None
    assert audit["membership"]["version"] == compared.summary["model_version"]
    page = (compared.folder / "report.html").read_text()
    assert audit["headline"] in page
    assert 'href="privacy-audit.html"' in page
    assert (compared.folder / "privacy-audit.html").exists()


def test_the_comparison_differs_from_the_run_in_nothing_but_who_and_the_promise(compared):
    private = compared.read("comparison/pooled/study.json")
    public = compared.read("comparison/pooled-without/study.json")
    assert private["participants"] == public["participants"] == ["alone"]
    assert compared.read("comparison/together-without/study.json")["participants"] == SITES
    assert (private["privacy"]["mode"], public["privacy"]["mode"]) == ("local", "none")
    assert private["privacy"] == compared.read("study.json")["privacy"]
    assert private["privacy"]["epsilon"] == 3
    for same in ("task", "model", "training", "rounds", "tail", "strategy", "pretraining"):
        assert private[same] == public[same] == compared.read("study.json")[same]


@pytest.mark.deployment  # for its time
@pytest.mark.parametrize("setting", ["privacy=distributed", "aggregation=secure"])
def test_beside_sums_stand_hospitals_that_need_none_with_the_same_promise(setting, simulate):
    """In as many rounds of as many steps, too, where each step of the run is a sum of its own."""
    run = simulate(setting, "privacy.epsilon=2", "secure_sum.dropouts=0", "seed=5", "compare=true")
    assert (run.code, run.err) == (0, "")
    ours = run.read("study.json")
    assert (ours["aggregation"], ours["secure_sum"]["dropouts"]) == ("secure", 0)
    private, public = [*SITES, "pooled"], [f"{name}-without" for name in (*SITES, "together", "pooled")]
    for name in (*private, *public):
        study = run.read(f"comparison/{name}/study.json")
        assert (study["aggregation"], study.get("secure_sum")) == ("plain", None)
        for same in ("task", "model", "training", "rounds", "tail", "strategy", "pretraining"):
            assert study[same] == ours[same]
        if name in private:
            assert study["privacy"] == ours["privacy"] | {"mode": "local"}
        else:
            assert study["privacy"] == {"mode": "none", "sampling_rate": ours["privacy"]["sampling_rate"]}
    assert run.summary["comparison"]["pooled"]["patients"] == run.summary["pooled"]["patients"]


def test_pooled_has_the_patients_of_all_and_alone_those_of_one(compared):
    patients = {
        name: compared.read(f"comparison/{name}/summary.json")["sites"]["alone"]["patients"]
        for name in ("pooled", "alder")
    }
    assert patients == {"pooled": 120, "alder": 30}


def test_without_a_terminal_progress_is_plain_lines(compared):
    assert "\x1b" not in compared.out
    said = compared.out.splitlines()
    assert said[0].startswith("Malignancy of CT lung nodules: study ")
    for line in (
        r"  alder +about 30 patients, noise 0.* \(size taken from the data\)$",
        r"round 1/2  ε so far \d\.\d\d  AUC 0\.\d{3}  .* alder,",
        r"released .*: test AUC .*, ε = \d\S* per patient \(add or remove one patient\) at δ = 1e-05$",
        r"  updates travel in secure sums over at least 3 of 4 hospitals$",
        r"promised to each patient: ε = 3 against everybody together$",
    ):
        assert any(re.match(line, one) for one in said), line
    assert said[-1] == str(compared.folder)
    assert compared.err == ""


def test_with_shared_noise_the_last_words_are_three_numbers(simulate):
    shared = simulate("privacy=distributed", "training.steps=1")
    assert shared.code == 0, shared.err
    assert (
        "promised to each patient: ε = 3 against the coordinator with 1 of 4 hospitals, "
        "ε = 3 against a single other hospital, ε = "
    ) in shared.out
    assert "  updates travel in secure sums over at least 3 of 4 hospitals\n" in shared.out
    page = (shared.folder / "report.html").read_text()
    for each in shared.summary["privacy"]["guarantees"]:
        assert each["title"] in page
        assert each["assumption"] in unescape(page)


def test_a_round_that_two_hospitals_spoil_is_told_while_it_runs_and_in_the_report(simulate, monkeypatch):
    compute, failed = Training.compute, []

    def failing(work, opened, before):
        if work.round == 2 and len(failed) < 2:
            failed.append(work)
            raise DataError("the disk is away")
        return compute(work, opened, before)

    monkeypatch.setattr(Training, "compute", failing)
    spoilt = simulate("privacy=distributed", "training.steps=1", "rounds=3")
    assert spoilt.code == 0, spoilt.err
    said = "2 sites of the cohort sent a vector of round 2"
    assert f"round 2/3 came to nothing: {said}" in spoilt.out
    page = (spoilt.folder / "report.html").read_text()
    assert f"Round 2 came to nothing: {said}" in page
    assert "of 3 planned; 1 came to nothing" in page


def test_in_a_terminal_it_is_drawn(simulate, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    done = simulate()
    assert "\x1b[" in done.out
    assert "2/2" in done.out


def test_a_quiet_run_prints_only_its_folder(simulate):
    done = simulate("-q", "rounds=1")
    assert done.out == f"{done.folder}\n"
    assert done.err == ""


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_says_how_to_use_it(flag, capsys):
    assert main([flag]) == 0
    assert "usage: ./scripts/simulate [-q] [-m] [KEY=VALUE ...]" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name",
    [
        'it\'s "a" run, $HOME',
        *(
            pytest.param(name, marks=pytest.mark.deployment)
            for name in ("a=b,c {x} [1]", "ünï~code", "back\\slash", "end\\")
        ),
    ],
)
def test_a_run_goes_where_it_was_told_whatever_the_folder_is_called(simulate, name):
    done = simulate("rounds=1", "-q", name=name)
    assert done.out == f"{done.folder}\n"
    assert (done.folder / "report.html").exists()
    assert (done.folder / "sites" / "alder").exists()
    assert sorted(file.name for file in done.folder.parent.iterdir()) == sorted([name, "latest"])


MISTAKES = {
    "unknown study": (["study=lungs"], "ConfigError: study='lungs' does not exist"),
    "unknown task": (["task=chest"], "ConfigError: task='chest' does not exist"),
    "unknown federation": (["federation=simulation_5"], "did you mean 'simulation_4'?"),
    "misspelt key": (
        ["privacy.epsilom=3"],
        "privacy.epsilom is not a setting; did you mean 'privacy.epsilon'?",
    ),
    "misspelt new key": (["+training.stepps=3"], "did you mean 'steps'?"),
    "ε = 0": (["privacy.epsilon=0"], "privacy.epsilon=0"),
    "ε < 0": (["privacy.epsilon=-1"], "privacy.epsilon=-1"),
    "ε = nan": (["privacy.epsilon=nan"], "privacy.epsilon=nan"),
    "no steps": (["training.steps=0"], "training.steps=0"),
    "no rounds": (["rounds=0"], "rounds=0"),
    "quorum above sites": (["quorum=5"], "quorum=5 can never be met by 4 participants"),
    "unknown network": (["model.network=os.system"], "model.network='os.system' is not allowed"),
    "unknown engine": (["engine=ray"], "engine='ray'"),
    "misspelt site setting": (
        ["+federation.sites.birch={policy: {minimum_patient: 3}}"],
        "'minimum_patients'",
    ),
    "strange site name": (["+federation.sites.Elm={}"], "Elm"),
    "missing package": (["task.package=tasks.nothing"], "task.package='tasks.nothing' cannot be imported"),
    "wrong image size": (["task.image_size=[9,9]"], "mend task.channels and task.image_size"),
    "more sites than data": (
        ["+federation.sites.elm={}", "+federation.sites.fir={}"],
        "DataError: 6 hospitals were asked for",
    ),
}


@pytest.mark.parametrize(("arguments", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_clear_line_and_leaves_nothing_behind(simulate, arguments, words):
    done = simulate(*arguments)
    assert done.code == 1
    assert done.out == ""
    assert words in done.err
    assert len(done.err.splitlines()) == 1
    assert not done.folder.parent.exists()


def test_what_is_no_setting_at_all_is_named(simulate):
    done = simulate("nonsense")
    assert done.code == 1
    assert done.err.startswith("ConfigError: ")
    assert "'nonsense'" in done.err
    assert "Traceback" not in done.err


def test_more_sites_than_nodules_have_protocols_is_said(simulate):
    done = simulate("+federation.sites.elm={}", "+federation.sites.fir={}", on="nodules")
    assert done.code == 1
    assert "DataError: 6 hospitals were asked for, but nodule_ct has 5" in done.err
    assert not done.folder.exists()


def test_a_folder_that_holds_a_run_is_not_written_over(real, simulate_in):
    before = files_of(real.folder)
    again = simulate_in(real.folder)
    assert again.code == 1
    assert f"ConfigError: run_dir={real.folder} already holds a run; choose another folder" in again.err
    assert files_of(real.folder) == before


def test_a_folder_that_cannot_be_made_is_named(simulate, tmp_path):
    (tmp_path / "runs").write_text("a file")
    done = simulate()
    assert done.code == 1
    assert done.err == f"StorageError: run_dir={done.folder} cannot be written (Not a directory)\n"


@pytest.mark.parametrize(
    ("argument", "rule"),
    [
        ("+federation.sites.birch.policy={minimum_patients: 1000}", "cohort-too-small"),
        ("+task.options.one_class=1", "cohort-of-one-class"),
        ("+federation.sites.birch.policy={maximum_epsilon: 1}", "epsilon-too-large"),
        ("+federation.sites.birch.policy={tasks: [other]}", "task-not-allowed"),
    ],
)
def test_a_hospital_that_refuses_is_left_out_by_name_with_its_rule(simulate, argument, rule):
    done = simulate(argument)
    assert done.code == 0
    assert f"birch        stays out: refused by {rule}" in done.out
    for line in done.rounds:
        assert line["participants"] == ["alder", "cedar", "dogwood"]
        (absence,) = line["absent"]
        assert absence["site"] == "birch"
        assert f"refused by {rule}" in absence["reason"]
    assert list(done.summary["sites"]) == ["alder", "cedar", "dogwood"]
    assert not (done.folder / "sites" / "birch" / "studies").exists(), "nothing was trained there"
    assert "birch" in (done.folder / "report.html").read_text()


def test_when_that_leaves_too_few_the_run_fails_and_the_record_says_why(simulate):
    done = simulate("+federation.sites.birch.policy={minimum_patients: 1000}", "quorum=4")
    assert done.code == 1
    assert done.err.startswith("QuorumError: 3 of at least 4 hospitals will take part. birch: refused by")
    assert len(done.err.splitlines()) == 1
    assert done.summary["status"] == "failed"
    assert "birch: refused by cohort-too-small" in done.summary["reason"]
    assert done.summary["simulation"] is True
    assert not (done.folder / "models").exists()
    assert (done.folder / "report.html").exists()


@pytest.mark.deployment  # for its time
def test_a_damaged_cache_is_named_and_rendered_again_to_the_same_models(
    nodules, simulate, tmp_path, monkeypatch, caplog
):
    mine = tmp_path / "cache"
    shutil.copytree(os.environ["WARDROUND_CACHE"], mine, ignore=shutil.ignore_patterns("*phantoms*", "init*"))
    monkeypatch.setenv("WARDROUND_CACHE", str(mine))
    file = max(mine.glob("nodule_ct-malignancy-2-*"), key=lambda one: one.stat().st_mtime)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    done = simulate("seed=5", on="nodules")
    assert done.code == 0
    assert f"cache file {file} is damaged" in caplog.text
    assert file.read_bytes() == content
    assert done.models == nodules.models


@pytest.mark.deployment  # for its time
def test_a_full_disk_at_a_checkpoint_fails_the_run_and_leaves_nothing_half_written(start):
    """A real fault: no file may grow past 1 MiB. This network's model is larger; hospitals' files are not."""
    limited = ("bash", "-c", 'ulimit -f 1024; exec "$@"', "limited")
    process, folder = start("model.arguments.channels=[128,256]", "model.trainable=head", prefix=limited)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err == (
        f"StorageError: {folder / 'models' / 'round-001.safetensors'} could not be written (File too large); "
        "free space and run again\n"
    )
    assert list((folder / "models").iterdir()) == []
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "failed"
    assert "round-001.safetensors could not be written" in summary["reason"]
    assert (folder / "report.html").read_text().rstrip().endswith("</html>")
    assert not [file for file in folder.rglob("*") if file.name.startswith(".")]
    assert out.endswith(f"{folder}\n")


@pytest.mark.deployment  # for its time
def test_ctrl_c_ends_cleanly_with_the_record_of_what_was_finished(start):
    process, folder = start("rounds=60000", "privacy=none")
    for line in process.stdout:
        if line.startswith("round 3/"):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "stopped by hand; what was finished is in the run's folder\n"
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["status"], summary["reason"]) == ("interrupted", "stopped by hand")
    assert summary["simulation"] is True
    assert (folder / "report.html").exists()
    assert out.endswith(f"{folder}\n")
    models = sorted((folder / "models").iterdir())
    assert len(models) >= 6
    for model, manifest in zip(models[1::2], models[::2], strict=False):
        assert sha256(model.read_bytes()).hexdigest() == json.loads(manifest.read_text())["sha256"]
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        json.loads(line)


@pytest.mark.parametrize("part", ["baseline", "stratum"])
def test_a_covariate_that_the_task_does_not_have_is_named_before_anything_is_trained(simulate, part):
    done = simulate(f"task.{part}.covariate=sise")
    assert done.code == 1
    assert "has no covariate 'sise' but [" in done.err
    assert not done.folder.exists()
