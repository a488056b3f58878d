"""Compressed frames, decompressed by a process of their own.

Decoders are large C and C++ libraries, and a frame is whatever somebody sent. In a process with a limit of
memory and of time, and with nothing else in it, a frame that makes one grow, hang or crash costs that frame.
"""

import atexit
import json
import os
import subprocess
import sys
from functools import lru_cache
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock
from typing import Self

import numpy as np
from numpy.typing import NDArray

from client_app.data.dicom.decoding_child import READY
from client_app.data.dicom.layout import Layout
from client_app.data.refusal import Refused
from federation.errors import RunError

_PROGRAM = Path(__file__).with_name("decoding_child.py")
_START = 120.0  # seconds, on a busy machine
_TYPES = {f"{order}{kind}" for order in "<>|" for kind in ("u1", "i1", "u2", "i2", "u4", "i4")}


class Decoder:
    """Starts its process when it is first needed, and again when that has died.

    Args:
        memory: bytes that one frame may take.
        seconds: that one frame may take.
    """

    def __init__(self, *, memory: int = 1 << 30, seconds: float = 60.0) -> None:
        self._memory, self._seconds = memory, seconds
        self._turn = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def frame(self, layout: Layout, content: bytes) -> NDArray[np.generic]:
        """One frame, ``[rows, columns]``, or ``[rows, columns, samples]`` where a pixel has several.

        Raises:
            RunError: the process does not start.
            Refused: nobody here decodes it (``not-decodable``), it grew or crashed (``decoder-died``), or it
                took too long (``decoder-hung``).
        """
        with self._turn:
            pipe = self._running()
            try:
                pipe.send_bytes(json.dumps(_options(layout)).encode())
                pipe.send_bytes(content)
                if not pipe.poll(self._seconds):
                    self.close()
                    raise Refused(
                        "decoder-hung",
                        f"a frame was not decoded within {self._seconds:g} seconds",
                        passing=True,
                    )
                told = json.loads(pipe.recv_bytes(1000))
                if not told:
                    raise Refused(
                        "not-decodable", f"no decoder reads a frame of transfer syntax {layout.syntax}"
                    )
                values = pipe.recv_bytes(4 * layout.frame_bytes + 1000)
            except (OSError, EOFError, ValueError):
                self.close()
                raise Refused(
                    "decoder-died",
                    f"a frame of transfer syntax {layout.syntax} took its decoder down",
                    passing=True,
                ) from None
        return _array(layout, told, values)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None

    def _running(self) -> Connection:
        if self._pipe is not None:
            return self._pipe
        ours, theirs = Pipe()
        with theirs:
            try:
                # Isolated from our environment and modules: it needs neither.
                self._process = subprocess.Popen(  # noqa: S603 (our own program)
                    [sys.executable, "-I", str(_PROGRAM), str(theirs.fileno()), str(self._memory)],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PATH": os.defpath},
                )
            except OSError as error:
                ours.close()
                raise RunError(
                    f"the process that decompresses images does not start ({error.strerror}); see what this "
                    "machine lacks, and run again"
                ) from None
        self._pipe = ours
        try:
            if ours.poll(_START) and ours.recv_bytes(len(READY)) == READY:
                return ours
        except (OSError, EOFError):
            pass
        self.close()
        raise RunError(
            "the process that decompresses images does not start; python-gdcm, pyjpegls and "
            "pylibjpeg-openjpeg must be installed"
        )


@lru_cache(maxsize=1)
def shared_decoder() -> Decoder:
    """The decoder of this process; its own process ends with this one."""
    decoder = Decoder()
    atexit.register(decoder.close)
    return decoder


def _options(layout: Layout) -> dict[str, str | int]:
    return {
        "syntax": layout.syntax,
        "rows": layout.rows,
        "columns": layout.columns,
        "number_of_frames": 1,
        "samples_per_pixel": layout.samples,
        "bits_allocated": layout.allocated,
        "bits_stored": layout.stored,
        "pixel_representation": int(layout.signed),
        "photometric_interpretation": layout.photometric,
        "planar_configuration": int(layout.planar),
        "pixel_keyword": "PixelData",
        "correct_unused_bits": False,  # whoever asks sees to them
    }


def _array(layout: Layout, told: dict[str, object], values: bytes) -> NDArray[np.generic]:
    """What the process answered, believed only where it is what was asked for."""
    shape = (layout.rows, layout.columns) + ((layout.samples,) if layout.samples > 1 else ())
    kind = np.dtype(str(told["type"])) if told.get("type") in _TYPES else None
    if kind is None or told.get("shape") != list(shape) or len(values) != int(np.prod(shape)) * kind.itemsize:
        raise Refused("not-decodable", "a frame is of another size than the file says")
    return np.frombuffer(values, dtype=kind).reshape(shape)
