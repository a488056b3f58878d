"""What the way from the PACS costs: studies per second from a real Orthanc, beside plain tools in one run.

DICOMweb is held against a plain download of the same body, C-GET and C-MOVE against dcmtk's getscu and
movescu, one study after the other. Ours lists each study first, checks every file and forces it to the disk;
the plain tools do none of that. dcmtk's start a process for each study, some hundredths of a second.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree, which
from statistics import median
from tempfile import TemporaryDirectory

import httpx
import numpy as np

from benchmarks.processes import FailedError
from benchmarks.table import Row
from client_app.data.pacs.archive import archive
from client_app.data.pacs.settings import DicomwebSettings, DimseSettings, Settings
from client_app.data.pacs.source import StudyRef
from simulation.hospital.ct_series import CtStudy, Patient, all_bytes
from simulation.hospital.orthanc import Orthanc, missing, start_orthanc
from simulation.programs import Programs, free_ports

TITLE = "WARDROUND"
RUNS = 3


@dataclass(frozen=True)
class Load:
    """Studies of one series.

    Attributes:
        studies: how many.
        slices: of each.
        size: rows and columns.
    """

    studies: int
    slices: int
    size: int

    @property
    def name(self) -> str:
        """For the table."""
        return f"{self.slices} slices of {self.size}²"

    @property
    def uids(self) -> list[str]:
        """Of the studies."""
        return [study.uid for study in self._made]

    def files(self) -> Iterator[bytes]:
        """Noise, which nothing makes smaller."""
        noise = np.random.default_rng(0)
        shape = (self.slices, self.size, self.size)
        for study in self._made:
            values = noise.integers(-1024, 3072, shape, dtype=np.int16)
            yield from all_bytes([replace(study, values=values)])

    @property
    def _made(self) -> list[CtStudy]:
        """Without their pixels."""
        numbers = range(1000 * self.size, 1000 * self.size + self.studies)
        return [CtStudy(number, Patient(number), self.slices) for number in numbers]


LOADS = (Load(studies=4, slices=40, size=512), Load(studies=6, slices=24, size=64))


def run() -> list[Row]:
    """Medians over runs, in turns."""
    if reason := missing() or (_dcmtk("getscu") is None and "dcmtk is not installed; apt-get install dcmtk"):
        return [Row("ingest", reason, None, "")]
    with TemporaryDirectory() as scratch, Programs(Path(scratch)) as programs:
        (own_port,) = free_ports(1)
        orthanc = start_orthanc(programs, "orthanc", {TITLE: own_port})
        return [row for load in LOADS for row in _compared(load, orthanc, own_port, programs)]


def _compared(load: Load, orthanc: Orthanc, own_port: int, programs: Programs) -> list[Row]:
    orthanc.store(load.files())
    ways = _ways(orthanc, own_port, programs, load)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(RUNS):
        for name, way in ways.items():
            seconds[name].append(_timed(way, programs.folder / "in", load))
    rates = {name: load.studies / median(taken) for name, taken in seconds.items()}
    rows = []
    for ours, plain in (("DICOMweb", "plain download"), ("C-GET", "getscu"), ("C-MOVE", "movescu")):
        rows.append(Row(f"{load.name}, {plain}", "studies a second", rates[plain], "1/s"))
        ratio = rates[ours] / rates[plain]
        rows.append(Row(f"{load.name}, {ours}", "studies a second", rates[ours], "1/s", plain, ratio))
    return rows


Way = Callable[[Path], int | None]


def _ways(orthanc: Orthanc, own_port: int, programs: Programs, load: Load) -> dict[str, Way]:
    """By name: to fetch all studies into a folder; returned is the number of files, where it is known."""
    credentials = programs.folder / "credentials"
    credentials.write_text("Basic " + ":".join(orthanc.user))
    credentials.chmod(0o600)
    web = DicomwebSettings(url=f"{orthanc.url}/dicom-web", credentials=credentials)
    get = DimseSettings(host="localhost", port=orthanc.dimse, title=orthanc.title, own_title=TITLE)
    move = get.model_copy(update={"retrieve": "move", "own_port": own_port})
    peer = ("-aet", TITLE, "-aec", orthanc.title, "localhost", orthanc.dimse)

    def ours(settings: Settings) -> Way:
        def way(folder: Path) -> None:
            with archive(settings) as source:
                for uid in load.uids:
                    list(source.fetch(StudyRef(uid), folder / uid))

        return way

    def plain(program: str, *options: object) -> Way:
        def way(folder: Path) -> None:
            for uid in load.uids:
                (folder / uid).mkdir()
                keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={uid}")
                programs.run(_dcmtk(program), "-S", *options, "-od", folder / uid, *keys, *peer)

        return way

    def download(folder: Path) -> int:
        accept = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
        with httpx.Client(base_url=web.url, auth=orthanc.user, timeout=60, trust_env=False) as client:
            for uid in load.uids:
                with (
                    client.stream("GET", f"/studies/{uid}", headers=accept) as answer,
                    (folder / uid).open("wb") as file,
                ):
                    for chunk in answer.iter_bytes():
                        file.write(chunk)
        return load.studies * load.slices

    return {
        "plain download": download,
        "DICOMweb": ours(web),
        "getscu": plain("getscu", "+B"),
        "C-GET": ours(get),
        "movescu": plain("movescu", "-aem", TITLE, "+P", own_port),
        "C-MOVE": ours(move),
    }


def _dcmtk(program: str) -> str | None:
    """Pynetdicom installs programs of the same names beside Python."""
    return which(program, path="/usr/bin:/usr/local/bin")


def _timed(way: Way, folder: Path, load: Load) -> float:
    """Seconds for all studies; that all of their files are there is seen to."""
    folder.mkdir()
    begun = time.monotonic()
    count = way(folder)
    taken = time.monotonic() - begun
    found = count or sum(path.is_file() and not path.name.startswith(".") for path in folder.rglob("*"))
    rmtree(folder)
    if found != load.studies * load.slices:
        raise FailedError(f"{found} files came, of {load.studies * load.slices}")
    return taken
