"""The job through ``flwr run``, on one SuperLink: ``python -m benchmarks.flower_rounds FOLDER RUNS``.

Each run leaves its folder ``FOLDER/0``, ``FOLDER/1``, ... with a ``usage.json``. As in the simulation's own
way through Flower, this process follows the record and measures each round's model.
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import torch

from benchmarks import job
from benchmarks.marks import Marks
from benchmarks.processes import Tree, Usage
from federation.config import CONF, RunConfig, compose_run
from federation.overrides import quoted
from federation.run_config import flower_run_config
from simulation.engine import load_cohorts
from simulation.flower_engine import _environment, _superlink
from simulation.follower import Follower
from simulation.observer import Judge, Recorder

_LOOK = 0.1  # seconds between two looks


def flower_clock(folder: Path, marks: Marks) -> None:
    """Start and stop ``marks`` as the record in a run's folder says: at the first burn, and a round's end."""
    if not marks.begun and any(folder.glob("sites/*/studies/*/progress.json")):
        marks.begin()
    metrics = folder / "metrics.jsonl"
    evaluated = metrics.read_bytes().count(b'"event":"evaluation"') if metrics.exists() else 0
    if not marks.ended and evaluated > job.ROUNDS:
        marks.end()


def _submit(home: Path, overrides: list[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    config = home / "run.toml"
    values = flower_run_config(overrides).items()
    config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values))
    command = ["flwr", "run", str(CONF.parent), "--stream", "--run-config", str(config)]
    command += ["--federation-config", f"num-supernodes={job.SITES} client-resources-num-cpus=1"]
    with (home / "run.log").open("ab") as output:
        return subprocess.Popen(command, cwd=home, env=environment, stdout=output, stderr=output)  # noqa: S603


def _run(home: Path, folder: Path, run: RunConfig, environment: Mapping[str, str]) -> None:
    judge = Judge(run.study, load_cohorts(run))
    tree = Tree(psutil.Process())
    tree.look()
    before, begun = tree.cpu, time.monotonic()
    marks = Marks(lambda: tree.cpu)
    follower = Follower(run, folder, [Recorder(judge, folder)])
    follower.begin()
    client = _submit(home, [*run.overrides, f"run_dir={quoted(folder)}"], environment)
    while client.poll() is None:
        follower.follow()
        tree.look()
        flower_clock(folder, marks)
        time.sleep(_LOOK)
    follower.follow()
    tree.look()
    flower_clock(folder, marks)
    follower.end()
    usage = Usage(tree.cpu - before, time.monotonic() - begun, tree.memory)
    (folder / "usage.json").write_text(json.dumps({**asdict(usage), "rounds": marks.rounds.cpu}))


def main(folder: Path, runs: int) -> None:
    """Submit one run after another."""
    torch.set_num_threads(1)
    with TemporaryDirectory(prefix="wardround-", ignore_cleanup_errors=True) as home:
        environment = _environment(Path(home))
        with _superlink(Path(home), environment):
            for number in range(runs):
                run = compose_run(job.overrides())
                _run(Path(home), folder / str(number), run, environment)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
