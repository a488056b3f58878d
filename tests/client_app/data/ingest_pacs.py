"""``ingest pacs`` in a process of its own: ``ingest_pacs.py SETTINGS.json``."""

import sys
from pathlib import Path

from client_app.data.ingest.hospital import HospitalIngest
from client_app.data.ingest.settings import IngestSettings

if __name__ == "__main__":
    settings = IngestSettings.model_validate_json(Path(sys.argv[1]).read_bytes())
    HospitalIngest(settings).pacs(lambda _: None)
