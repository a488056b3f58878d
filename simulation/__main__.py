"""``python -m simulation``, which ``./scripts/simulate`` calls."""

import sys

from simulation.simulate import main

sys.exit(main(sys.argv[1:]))
