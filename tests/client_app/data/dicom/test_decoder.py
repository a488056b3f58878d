"""The process that decompresses frames grows, hangs and dies, and only the frame that did it is lost."""

import os
import signal
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from client_app.data.dicom.decoder import Decoder
from client_app.data.dicom.door import read_instance
from client_app.data.dicom.layout import layout_of
from client_app.data.refusal import Refused
from federation.errors import RunError
from tests.client_app.data.dicom.conftest import SAMPLES

PROJECT = Path(__file__).resolve().parents[4]
BOMB = "a compressed frame takes the memory or the process of whoever decodes it"


@pytest.fixture
def true():
    """A compressed file's layout and its one frame."""
    dataset = read_instance(SAMPLES / "MR_small_RLE.dcm")
    (frame,) = pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)
    return layout_of(dataset), frame


@pytest.fixture
def decoder():
    with Decoder() as decoder:
        yield decoder


def rle_bomb(megabytes):
    """A frame of RLE whose second segment is so long when unpacked, a sixty-fourth of that."""
    return struct.pack("<16L", 2, 64, 66, *[0] * 13) + b"\x81\0" * ((megabytes << 13) + 1)


def j2k_bomb():
    """A true JPEG 2000 frame that says of itself that it is 60000 x 60000."""
    dataset = pydicom.dcmread(SAMPLES / "MR_small_jp2klossless.dcm")
    (frame,) = pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)
    size = frame.index(b"\xff\x51") + 6
    tiles = size + 16
    big = struct.pack(">2L", 60000, 60000)
    return frame[:size] + big + frame[size + 8 : tiles] + big + frame[tiles + 8 :]


def in_memory(process):
    """The most that a process has had in memory, in MiB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) >> 10


def refusal(act, *args):
    with pytest.raises(Refused) as refused:
        act(*args)
    return refused.value.rule


@pytest.mark.attack(BOMB, held_by="a process with a limit of memory, and another one when it dies")
def test_a_frame_that_grows_without_end_is_refused_and_the_next_one_decoded(true):
    layout, frame = true
    with Decoder(memory=200 << 20) as decoder:
        for bomb in (rle_bomb(1000), j2k_bomb()):
            assert refusal(decoder.frame, layout, bomb) in ("not-decodable", "decoder-died")
            assert decoder.frame(layout, frame).shape == (64, 64)
            assert in_memory(decoder._process) < 400


@pytest.mark.mutant(BOMB, how="no limit of memory")
def test_without_a_limit_it_grows(true):
    layout, _ = true
    with Decoder(memory=8 << 30) as decoder:
        refusal(decoder.frame, layout, rle_bomb(1000))
        assert decoder._process is None or in_memory(decoder._process) > 900


@pytest.mark.attack(BOMB, held_by="a process with a limit of memory, and another one when it dies")
def test_a_frame_that_takes_its_decoder_down_is_refused_and_the_next_one_decoded(true, decoder):
    layout, frame = true
    decoder.frame(layout, frame)
    decoder._process.send_signal(signal.SIGSEGV)
    decoder._process.wait()
    assert refusal(decoder.frame, layout, frame) == "decoder-died"
    assert decoder.frame(layout, frame).shape == (64, 64)


@pytest.mark.mutant(BOMB, how="frames are decoded in the process that asks")
def test_decoded_in_our_own_process_a_crash_is_ours():
    program = (
        "import os, pydicom.pixels.decoders.rle as rle, sys\n"
        "rle._decode_frame = lambda *args: os.kill(os.getpid(), 11)\n"
        "from pydicom import dcmread\n"
        "from pydicom.pixels.decoders import RLELosslessDecoder as decoder\n"
        "decoder._available = {'pydicom': rle._decode_frame}\n"
        "decoder.as_array(dcmread(sys.argv[1]))\n"
    )
    path = str(SAMPLES / "MR_small_RLE.dcm")
    ended = subprocess.run([sys.executable, "-c", program, path], check=False, capture_output=True)
    assert ended.returncode == -signal.SIGSEGV


def test_a_frame_that_hangs_is_refused_and_the_next_one_decoded(true):
    layout, frame = true
    with Decoder(seconds=0.5) as decoder:
        decoder.frame(layout, frame)
        decoder._process.send_signal(signal.SIGSTOP)
        assert refusal(decoder.frame, layout, frame) == "decoder-hung"
        decoder._seconds = 60
        assert decoder.frame(layout, frame).shape == (64, 64)


def test_a_frame_of_another_size_than_said_is_refused(true, decoder):
    layout, frame = true
    other = replace(layout, rows=32, columns=128)
    assert decoder.frame(other, frame).shape == (32, 128)  # RLE does not say its shape
    assert refusal(decoder.frame, replace(layout, rows=65), frame) == "not-decodable"


def test_one_process_decodes_many_frames_and_ends_with_its_decoder(true, decoder):
    layout, frame = true
    decoder.frame(layout, frame)
    number = decoder._process.pid
    for _ in range(20):
        decoder.frame(layout, frame)
    assert decoder._process.pid == number
    decoder.close()
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_the_process_ends_when_whoever_asked_is_gone(tmp_path):
    program = (
        "import os\n"
        "from client_app.data.dicom.decoder import shared_decoder\n"
        "shared_decoder()._running()\n"
        "print(shared_decoder()._process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    left = Path(f"/proc/{int(told.stdout)}")
    while left.exists() and "zombie" not in (left / "status").read_text():
        pass


def test_a_process_that_does_not_start_is_our_fault_and_not_the_files(true, monkeypatch):
    layout, frame = true
    monkeypatch.setattr("client_app.data.dicom.decoder._PROGRAM", Path("/nowhere.py"))
    with Decoder() as decoder, pytest.raises(RunError, match="pyjpegls"):
        decoder.frame(layout, frame)


def test_what_is_decoded_is_what_pydicom_decodes(true, decoder):
    layout, frame = true
    assert np.array_equal(
        decoder.frame(layout, frame), pydicom.dcmread(SAMPLES / "MR_small_RLE.dcm").pixel_array
    )
