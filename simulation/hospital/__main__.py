"""``python -m simulation.hospital FOLDER PART [MOST]``: a hospital that runs until it is stopped.

Below FOLDER, whose name is the hospital's, are its ``site.yaml`` and all that its servers write; it is there
as soon as everybody is in PACS and record.
"""

import signal
import sys
from pathlib import Path

from federation.files import write_whole
from simulation.hospital.fhir import start_fhir
from simulation.hospital.nodule_patients import patients_of
from simulation.hospital.orthanc import start_orthanc
from simulation.hospital.records import MRN
from simulation.programs import ROOT, Programs

_SITE = """\
name: {name}
description: nodules of LIDC-IDRI as a PACS and a record hold them
declared_patients: 100
data: {{folder: {store}, parts: [0], of: 1}}
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
  folder: {folder}/custodian
  relay: {folder}/relay/relay.sock
  admin: {folder}/admin/admin.sock
ingest:
  folder: {folder}/ingest
  store: {store}
  cohort: {cohort}
  pacs: {{kind: dicomweb, url: {pacs}, credentials: {folder}/pacs.credentials}}
  fhir: {{url: {fhir}, patient_system: "{system}"}}
  consent: {{policy: opt_in}}
"""


def main(folder: Path, part: int, most: int | None) -> None:
    """Start, fill, and wait."""
    folder.mkdir(parents=True, exist_ok=True)
    with Programs(folder) as programs:
        pacs, fhir = start_orthanc(programs, "orthanc", {}), start_fhir(programs, "fhir")
        for patient in patients_of(part, most):
            pacs.store(patient.files())
            fhir.post(patient.record())
        write_whole(folder / "pacs.credentials", f"Basic {':'.join(pacs.user)}\n".encode(), mode=0o600)
        site = _SITE.format(
            name=folder.name,
            folder=folder,
            store=folder.parent / "stores" / folder.name,
            cohort=ROOT / "conf/cohort/lung_nodule.yaml",
            pacs=f"{pacs.url}/dicom-web",
            fhir=fhir.url,
            system=MRN,
        )
        write_whole(folder / "site.yaml", site.encode())
        signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main(Path(sys.argv[1]).absolute(), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None)
