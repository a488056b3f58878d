"""``python -m benchmarks NAME``, which ``./scripts/bench`` calls."""

import sys

from benchmarks import (
    accounting,
    accuracy,
    chest_xray,
    custodian,
    deidentification,
    deployment,
    dp,
    faults,
    ingest,
    nodule_ct,
    secure_sum,
    simulation,
    sites,
)
from benchmarks.table import publish

BENCHMARKS = {
    "accounting": accounting.run,
    "accuracy": accuracy.run,
    "chest_xray": chest_xray.run,
    "custodian": custodian.run,
    "deidentify": deidentification.run,
    "deployment": deployment.run,
    "dp": dp.run,
    "faults": faults.run,
    "ingest": ingest.run,
    "nodule_ct": nodule_ct.run,
    "secure_sum": secure_sum.run,
    "simulation": simulation.run,
    "sites": sites.run,
}


def main(arguments: list[str]) -> int:
    """Run the named benchmark; returns the exit code."""
    if len(arguments) != 1 or arguments[0] not in BENCHMARKS:
        sys.stderr.write(f"usage: ./scripts/bench NAME, one of: {', '.join(BENCHMARKS)}\n")
        return 2
    publish(arguments[0], BENCHMARKS[arguments[0]]())
    return 0


sys.exit(main(sys.argv[1:]))
