"""What a round costs through both gateways, beside Flower's own launcher with torch in its ClientApp.

Hospitals and a coordinator as real processes on loopback, with a tiny model, so that what is measured is
the way of a message: SuperLink, nginx, a hospital's gateway, SuperNode, launcher, custodian, and back.
Everything is warm: first rounds do not count. Two hospitals take part, and three where sums are secure, which
fewer cannot have.
"""

import json
import tempfile
from pathlib import Path
from signal import SIGTERM
from statistics import median

from benchmarks.hospitals import Hospitals
from benchmarks.programs import BIN, ROOT, Programs
from benchmarks.table import Row

_ROUNDS = 7
_SITES = ("alder", "birch", "cedar")
_PLAIN = {"federation": "pair", "aggregation": "plain", "rounds": _ROUNDS, "evaluation": "null"}
_SECURE = {"rounds": _ROUNDS, "secure_sum.colluding": 0, "secure_sum.dropouts": 0}


def run() -> list[Row]:
    """Medians of seconds, of one exchange and of a secure round with evaluation."""
    with tempfile.TemporaryDirectory(prefix="wardround-") as scratch, Programs(Path(scratch)) as programs:
        hospitals = Hospitals(programs, _SITES).set_up()
        hospitals.federation("pair", _SITES[:2])
        exchange = _rounds(hospitals, _PLAIN)
        round_, evaluation = _with_evaluation(hospitals)
        stock = _stock(hospitals)
    whole = round_ + evaluation
    return [
        Row("Flower's launcher, torch in its ClientApp", "an exchange", stock, "s"),
        Row("Wardround", "an exchange (plain round)", exchange, "s", "Flower's launcher", exchange / stock),
        Row("Wardround", "a secure round", round_, "s"),
        Row("Wardround", "the secure evaluation after it", evaluation, "s"),
        Row("Wardround", "a secure round with evaluation", whole, "s"),
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


def _stock(hospitals: Hospitals) -> float:
    """The same federation with Flower's launchers in the place of ours."""
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
        programs.kill(f"{name}-launcher")
        secret = hospitals.connection(name) / "launcher.secret"
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
