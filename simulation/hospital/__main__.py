"""``python -m simulation.hospital FOLDER PART [MOST]``: a hospital that is open until it is ended.

All that it and its servers write is below FOLDER. Its ``site.yaml`` is there while everybody is in PACS and
record; its list of opt-outs is empty, and stays as it is edited.
"""

import json
import math
import shlex
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click
import httpx

from federation.command_line import run
from federation.files import write_whole
from simulation.hospital.fhir import FhirServer, start_fhir
from simulation.hospital.nodule_patients import NodulePatient, patients_of
from simulation.hospital.orthanc import Orthanc, start_orthanc
from simulation.hospital.records import MRN
from simulation.programs import ROOT, Programs
from tasks.nodule_ct.protocol import PROTOCOLS

_SITE = """\
name: hospital_{part}
description: nodules of LIDC-IDRI as a PACS and a record hold them
declared_patients: 100
data: {{folder: "{folder}/store", parts: [0], of: 1}}
policy:
  purposes: ["demonstration*"]
  tasks: [tasks.ct_lesion]
  task_options:
    {{label: [malignancy], classes: ["benign,malignant"], covariates: ["area_mm2,diameter_mm"],
      modality: [CT], plane: [axial], spacing: [0.75], size: [64], low: [-1000.0], high: [400.0]}}
  networks: ["monai.*"]
  privacy_modes: [local]
  aggregation: [secure]
  metrics: [score_histograms]
  maximum_epsilon: 8.0
  maximum_delta: 1.0e-4
  lifetime: {{epsilon: 20.0, delta: 1.0e-5, against: everybody}}
  minimum_patients: 20
  minimum_hospitals: 2
  consent_hours: 24
service:
  folder: "{folder}/custodian"
  relay: "{folder}/relay/relay.sock"
  admin: "{folder}/admin/admin.sock"
ingest:
  folder: "{folder}/ingest"
  store: "{folder}/store"
  cohort: "{root}/conf/cohort/lung_nodule.yaml"
  pacs: {{kind: dicomweb, url: {pacs}/dicom-web, credentials: "{folder}/pacs.credentials"}}
  fhir: {{url: {fhir}, patient_system: "{system}"}}
  consent: {{policy: opt_in, opt_outs: "{folder}/opt_outs.csv"}}
"""


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.argument("part", type=click.IntRange(0, len(PROTOCOLS) - 1))
@click.argument("most", type=click.IntRange(1), required=False)
def main(folder: Path, part: int, most: int | None) -> None:
    """Open a hospital in FOLDER, until Ctrl-C: PACS and record of PART's patients, or of MOST of them."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        _keep_open(folder.absolute(), part, most)


def _keep_open(folder: Path, part: int, most: int | None) -> None:
    """Start, fill, and wait.

    Raises:
        RunError: a server does not start, or has ended.
    """
    folder.mkdir(parents=True, exist_ok=True)
    site, opt_outs = folder / "site.yaml", folder / "opt_outs.csv"
    site.unlink(missing_ok=True)  # of servers that are gone
    with Programs(folder, steady=True) as programs:
        pacs, fhir = start_orthanc(programs, "orthanc", {}), start_fhir(programs, "fhir")
        people = patients_of(part, most)
        click.echo(f"{len(people)} patients go into PACS and record ...")
        try:
            _fill(pacs, fhir, people)
        except httpx.TransportError:
            programs.until(
                lambda: False, "an answer of PACS and record", 5
            )  # raises, and names who has ended
        write_whole(folder / "pacs.credentials", f"Basic {':'.join(pacs.user)}\n".encode(), mode=0o600)
        if not opt_outs.exists():
            write_whole(opt_outs, b"patient\n", mode=0o600)
        write_whole(site, _site(folder, part, pacs, fhir).encode())
        click.echo(f"open: wardround-site ingest check --config {shlex.quote(str(site))}; Ctrl-C ends it")
        programs.until(lambda: False, "its end", math.inf)


def _fill(pacs: Orthanc, fhir: FhirServer, people: Sequence[NodulePatient]) -> None:
    for patient in people:
        pacs.store(patient.files())
        fhir.post(patient.record())


def _site(folder: Path, part: int, pacs: Orthanc, fhir: FhirServer) -> str:
    """Paths are between quotation marks, as YAML has them from JSON."""
    inside, root = (json.dumps(str(path), ensure_ascii=False)[1:-1] for path in (folder, ROOT))
    return _SITE.format(folder=inside, root=root, part=part, pacs=pacs.url, fhir=fhir.url, system=MRN)


if __name__ == "__main__":
    run(main)
