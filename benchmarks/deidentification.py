"""Planted identifiers that de-identification leaves, and its speed, beside other tools on the same files.

Each tool is its own program, as it comes, with its defaults; one that is not on the PATH is left out, and
said to be. A tool that keeps what its makers think may be kept is not wrong for that: its count says what a
hospital would have to configure. Speed is of the files beyond the first, so that starting up does not count.
Only Wardround's looks at the pixels, and searches what it has written.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.planted_files import META, STANDARD, Planted, planted_ct
from benchmarks.table import Row

_FILES = 41
_RUNS = 3
_SIZE = 512
_OURS = "from client_app.commands.deidentify import deidentify; deidentify()"


@dataclass(frozen=True)
class Tool:
    """A program that de-identifies a folder into another.

    Attributes:
        name: what it is called.
        program: what is looked for on the PATH; empty for ours.
        command: what is run, with ``{python}``, ``{program}``, ``{files}`` (one word for each), ``{folder}``,
            ``{to}`` and ``{key}`` in it.
    """

    name: str
    program: str
    command: tuple[str, ...]

    def words(self, folder: Path, to: Path) -> list[str] | None:
        """The command as it is run; None where the tool is not here."""
        program = shutil.which(self.program) if self.program else sys.executable
        if program is None:
            return None
        python = sys.executable if not self.program else str(Path(program).with_name("python"))
        named = {"{python}": python, "{program}": program, "{folder}": str(folder), "{to}": str(to)}
        named["{key}"] = str(to.with_name("key"))
        files = [str(path) for path in sorted(folder.iterdir())]
        words = (files if each == "{files}" else [named.get(each, each)] for each in self.command)
        return [word for several in words for word in several]


TOOLS = (
    Tool("Wardround", "", ("{python}", "-c", _OURS, "{files}", "--to", "{to}", "--key", "{key}")),
    Tool("dicom-anonymizer", "dicom-anonymizer", ("{program}", "{folder}", "{to}")),
    Tool("dicognito", "dicognito", ("{python}", "-m", "dicognito", "{folder}", "-o", "{to}")),
    Tool(
        *("deid", "deid"),
        ("{program}", "--outfolder", "{to}", "identifiers", "--input", "{folder}", "--action", "all"),
    ),
)


def run() -> list[Row]:
    """What each tool leaves of every planted identifier, and its MB/s."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="wardround-") as scratch:
        for tool in TOOLS:
            rows += _of_tool(tool, Path(scratch) / tool.name)
    return rows


def _of_tool(tool: Tool, scratch: Path) -> list[Row]:
    few, many = scratch / "few", scratch / "many"
    size = _fill(many, _FILES) - _fill(few, 1)
    if tool.words(many, scratch / "to") is None:
        return [Row(tool.name, f"not compared: {tool.program} is not on the PATH", None, "")]
    seconds = []
    for number in range(_RUNS):
        first = _seconds(tool, few, scratch / f"few-{number}")
        seconds.append(_seconds(tool, many, scratch / f"many-{number}") - first)
    _, planted = planted_ct(size=_SIZE)
    written = sorted(path for path in (scratch / "few-0").rglob("*") if path.is_file())
    if len(written) != 1:
        return [Row(tool.name, f"wrote {len(written)} files of 1", None, "")]
    left = [_kind(each) for each in planted if each.left_in(written[0].read_bytes())]
    return [
        Row(tool.name, f"identifiers left, of {len(planted)}", len(left), ""),
        *(Row(tool.name, f"of them {kind}", count, "") for kind, count in sorted(Counter(left).items())),
        Row(tool.name, "speed", size / 1e6 / median(seconds), "MB/s"),
    ]


def _fill(folder: Path, files: int) -> int:
    """Write that many slices of one patient; their bytes."""
    folder.mkdir(parents=True)
    contents = [planted_ct(number, _SIZE)[0] for number in range(files)]
    for number, content in enumerate(contents):
        (folder / f"{number:03}.dcm").write_bytes(content)
    return sum(map(len, contents))


def _seconds(tool: Tool, folder: Path, to: Path) -> float:
    to.mkdir()
    words: Sequence[str] = tool.words(folder, to) or ()
    started = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True)  # noqa: S603 - tools that the caller installed
    return time.perf_counter() - started


def _kind(planted: Planted) -> str:
    if planted.place in META or planted.place == "preamble":
        return "around the data set"
    return "in attributes of the standard" if planted.place in STANDARD else planted.place
