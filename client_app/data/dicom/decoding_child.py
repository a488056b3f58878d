"""The process that decompresses frames, run as a script by `decoder`: it may crash, hang or grow, alone.

Of each frame it is told how it is laid out (JSON) and its bytes, and answers with the array's type and shape
(JSON; empty if it cannot be decoded) and bytes. It writes no files, and has the rights of whoever starts it.
"""

import json
import resource
import sys
import warnings
from importlib import import_module
from multiprocessing.connection import Connection

from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder

READY = b"ready"


def main() -> None:
    """Answer until the other side is gone: ``decoding_child.py DESCRIPTOR MEMORY_BYTES``."""
    warnings.simplefilter("ignore")
    pipe, memory = Connection(int(sys.argv[1])), int(sys.argv[2])
    # Loaded before the limit, which is for frames alone.
    for library in ("gdcm", "jpeg_ls", "openjpeg", "numpy"):
        import_module(library)

    for what, limit in (
        (resource.RLIMIT_AS, memory + _mapped()),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        resource.setrlimit(what, (limit, limit))
    pipe.send_bytes(READY)
    while True:
        try:
            options, frame = json.loads(pipe.recv_bytes()), pipe.recv_bytes()
        except EOFError:
            return
        try:
            decoder = get_decoder(options.pop("syntax"))
            array, _ = decoder.as_array(encapsulate([frame]), raw=True, index=0, **options)
        except Exception:
            pipe.send_bytes(b"{}")
            continue
        pipe.send_bytes(json.dumps({"type": array.dtype.str, "shape": array.shape}).encode())
        pipe.send_bytes(array.tobytes())


def _mapped() -> int:
    """Bytes of address space that this process has now."""
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    main()
