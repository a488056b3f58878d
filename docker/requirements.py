"""What pyproject.toml asks for, without the simulation of flwr (Ray), which no deployed program starts."""

import sys
import tomllib
from pathlib import Path

for requirement in tomllib.loads(Path(sys.argv[1]).read_text())["project"]["dependencies"]:
    sys.stdout.write(requirement.replace("flwr[simulation]", "flwr") + "\n")
