"""What clipping patient by patient costs: a step of DP-SGD by every engine beside a plain step of SGD.

The plain step is forward, mean loss and one backward, without clipping; no step of the optimiser and no noise
is in either. Each measurement has a process of its own. ``auto`` is the engine that a site would choose. Its
targets, in processor time of the plain step: small CNN 1.15, ResNet18 3.1, DenseNet121 3.0, UNet 3D 1.25.

ESTIMATE of what cannot be avoided. Of a plain step's multiplications a third each are the forward, the
gradients of activations and those of weights. Book-keeping does the first two as they are. The last third
becomes, where weights are few and positions many, as many multiplications grouped by image, and a patient's
gradient is written, squared and weighted: 12 bytes of memory traffic for each of its numbers. Where positions
are few, the third stays as it is, and Gram matrices add (inputs + outputs) * positions / (inputs * outputs)
of it, a few per cent in the deepest layers of a ResNet. What norm layers see is normalised once more for the
gradient of their weights, a few passes over the activations. So 1.1 to 1.2 is the floor for wide networks;
small ones and those of many thin layers pay for calls besides, about ten microseconds for each operation.
"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.dp_step import CASES, WAYS, Step
from benchmarks.processes import FailedError, run_watched
from benchmarks.table import Row
from federation.config import CONF

_HERE = {"PYTHONPATH": str(CONF.parent)}


def run() -> list[Row]:
    """Medians of steps, beside those of the plain step."""
    with TemporaryDirectory() as scratch:
        return [row for case in CASES for row in _rows(case, Path(scratch))]


def _rows(case: str, scratch: Path) -> list[Row]:
    plain, *others = [(way, _step(case, way, scratch)) for way in WAYS]
    baseline = plain[1]
    if isinstance(baseline, str):
        raise FailedError(f"{case}: {baseline}")
    rows = _figures(case, plain[0], baseline, None)
    for way, step in others:
        if isinstance(step, str):
            rows.append(Row(f"{case}, {way}", f"skipped: {step}", None, ""))
        else:
            rows += _figures(case, way, step, baseline)
    return rows


def _step(case: str, way: str, scratch: Path) -> Step | str:
    """What a step took, or why there was none."""
    file = scratch / f"{case}-{way}.json"
    try:
        run_watched(
            [sys.executable, "-m", "benchmarks.dp_step", case, way, str(file)],
            _HERE,
        )
    except FailedError as failure:
        return str(failure)
    return Step(**json.loads(file.read_text()))


def _figures(case: str, way: str, step: Step, plain: Step | None) -> list[Row]:
    name = f"{case}, {way}" + (f" ({step.engine})" if way == "auto" else "")
    figures = [("a step, CPU", "ms", step.cpu * 1e3), ("memory of steps", "MiB", step.memory / 2**20)]
    if plain is None:
        return [Row(name, metric, value, unit) for metric, unit, value in figures]
    before = (plain.cpu * 1e3, plain.memory / 2**20)
    rows = [
        Row(name, metric, value, unit, WAYS[0], value / base)
        for (metric, unit, value), base in zip(figures, before, strict=True)
    ]
    return rows[:1] if way == "auto" else rows  # choosing takes memory of its own
