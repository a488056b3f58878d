"""A process that fetches studies, SETTINGS FOLDER UID...; prints counts of files, and its memory in KiB."""

import json
import resource
import sys
from hashlib import sha256
from pathlib import Path

from pydantic import TypeAdapter

from client_app.data.pacs.archive import archive
from client_app.data.pacs.settings import PacsSettings
from client_app.data.pacs.source import Wanted


def told(progress):
    sys.stdout.write(f"{progress.instances}\n")
    sys.stdout.flush()


def main(settings, folder, *uids):
    with archive(TypeAdapter(PacsSettings).validate_python(json.loads(settings)), told) as source:
        for ref in source.find(Wanted(studies=uids)):
            list(source.fetch(ref, Path(folder) / sha256(ref.uid.encode()).hexdigest()[:8]))

    sys.stderr.write(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
