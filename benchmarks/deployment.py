"""What a round costs through both gateways, beside Flower's own launcher with torch in its ClientApp.

Hospitals and a coordinator as real processes on loopback, with a tiny model, so that what is measured is
the way of a message: SuperLink, nginx, a hospital's gateway, SuperNode, launcher, custodian, and back.
Everything is warm: first rounds do not count. Two hospitals take part, and three where sums are secure, which
fewer cannot have. Then one secure round of a model of 100 MB, with the most memory that each process takes.
"""

import json
import tempfile
from pathlib import Path
from signal import SIGTERM
from statistics import median

import psutil

from benchmarks.hospitals import Hospitals
from benchmarks.processes import Tree
from benchmarks.table import Row
from federation.errors import RunError
from simulation.programs import BIN, ROOT, Programs

_ROUNDS = 7
_SITES = ("alder", "birch", "cedar")
_PLAIN = {"federation": "pair", "aggregation": "plain", "rounds": _ROUNDS, "evaluation": "null"}
_LARGE = {  # 24.7 million numbers
    "federation": "patient",
    "model.trainable": "all",
    "model.arguments.channels": "[8,256,1400]",
    "model.arguments.strides": "[4,4,2]",
    "model.arguments.num_res_units": 2,
    "training.steps": 1,
    "rounds": 1,
    "evaluation": "null",
}
_SECURE = {"rounds": _ROUNDS, "secure_sum.colluding": 0, "secure_sum.dropouts": 0}


def run() -> list[Row]:
    """Medians of seconds, of one exchange and of a secure round with evaluation."""
    with tempfile.TemporaryDirectory(prefix="wardround-") as scratch, Programs(Path(scratch)) as programs:
        hospitals = Hospitals(programs, _SITES).set_up()
        hospitals.federation("pair", _SITES[:2])
        exchange = _rounds(hospitals, _PLAIN)
        round_, evaluation = _with_evaluation(hospitals)
        large = _large(hospitals)
        stock = _stock(hospitals)
    whole = round_ + evaluation
    return [
        Row("Flower's own, torch in its ClientApp", "an exchange", stock, "s"),
        Row("Wardround", "an exchange (plain round)", exchange, "s", "Flower's own", exchange / stock),
        Row("Wardround", "a secure round", round_, "s"),
        Row("Wardround", "the secure evaluation after it", evaluation, "s"),
        Row("Wardround", "a secure round with evaluation", whole, "s"),
        *large,
    ]


def _rounds(hospitals: Hospitals, changes: dict[str, object]) -> float:
    run = hospitals.approved_run(**changes)
    hospitals.ended(run)
    return _median_round(hospitals, run)


def _median_round(hospitals: Hospitals, run: int) -> float:
    # The first round of a study waits for what opens it at each hospital.
    return median(float(line["seconds"]) for line in hospitals.rounds(run)[1:])


def _with_evaluation(hospitals: Hospitals) -> tuple[float, float]:
    run = hospitals.approved_run(**_SECURE)
    hospitals.ended(run)
    folder = hospitals.run_folder(run)
    times = [(folder / name).stat().st_mtime for name in ("models/final.json", "summary.json")]
    return _median_round(hospitals, run), times[1] - times[0]


def _large(hospitals: Hospitals) -> list[Row]:
    programs = hospitals.programs
    hospitals.federation("patient", hospitals.sites, deadline=900)  # each rehearses such a study for a while
    run = hospitals.approved_run(**_LARGE)
    trees = {name: Tree(psutil.Process(programs.pid(name))) for name in programs.names}

    def over() -> bool:
        for tree in trees.values():
            tree.look()
        return "status" in hospitals.summary(run)

    programs.until(over, "the end of a round of 100 MB", 900)
    summary = hospitals.summary(run)
    if summary["status"] != "completed":
        raise RunError(f"the round of 100 MB: {summary['reason']}")
    seconds = float(hospitals.rounds(run)[0]["seconds"])
    case = f"100 MB, {len(hospitals.sites)} hospitals"
    memory = [
        Row(case, f"most memory, {name}", tree.memory / 2**20, "MiB") for name, tree in sorted(trees.items())
    ]
    return [Row(case, "a secure round, training included", seconds, "s"), *memory]


def _stock(hospitals: Hospitals) -> float:
    """The same federation with Flower's SuperNodes and launchers in the place of ours."""
    programs = hospitals.programs
    folder = hospitals.coordinator / "superlink"
    programs.kill("coordinator")
    _superexec(
        programs,
        hospitals.superlink_port,
        folder / "launcher.secret",
        "--root-certificates",
        folder / "inside.crt",
    )
    programs.kill("cedar-supernode", SIGTERM)
    for name in _SITES[:2]:
        for part in ("launcher", "supernode"):
            programs.kill(f"{name}-{part}", SIGTERM)
        connection = hospitals.connection(name)
        secret = connection / "launcher.secret"
        programs.start(
            f"{name}-stock",
            *(BIN / "flower-supernode", "--superlink", f"127.0.0.1:{hospitals.gateway_port(name)}"),
            *("--root-certificates", connection / "inside.crt"),
            *("--auth-supernode-private-key", connection / "node.key", "--isolation", "process"),
            *("--superexec-auth-secret-file", secret),
            *("--host", "127.0.0.1", "--port", hospitals.runtime_port(name)),
        )
        programs.until_listening(hospitals.runtime_port(name))
        _superexec(programs, hospitals.runtime_port(name), secret, "--insecure")
    record = hospitals.folder / "stock.json"
    config = f'rounds={_ROUNDS} values=1000 record="{record}"'
    programs.run(BIN / "flwr", "run", ROOT / "benchmarks/stock_app", "trial", "--run-config", config)
    programs.until(record.exists, "the stock app's end", 900)
    seconds: list[float] = json.loads(record.read_text())
    return median(seconds[1:])


def _superexec(programs: Programs, port: int, secret: Path, *trust: object) -> None:
    command = (BIN / "flower-superexec", *trust, "--runtime-api-address", f"127.0.0.1:{port}")
    programs.start(f"superexec-{port}", *command, "--superexec-auth-secret-file", secret)
