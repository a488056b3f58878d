"""Paediatric chest X-rays: normal or pneumonia.

Two collections, see ``CARD.md``: PneumoniaMNIST (28 x 28 pixels, no patient ids, so an image stands for a
patient), and any folder of images whose names or a CSV tell the patient.
"""

from collections.abc import Mapping
from pathlib import Path

from federation.tasks import Option, Task
from tasks.chest_xray.settings import Settings


def create(options: Mapping[str, Option], folder: Path) -> Task:
    """The task; its options are the fields of ``Settings``.

    Raises:
        ConfigError: an option or its value is unknown.
    """
    settings = Settings.of(options)
    # Image libraries take a while to load; whoever only checks options should not wait for them.
    from tasks.chest_xray.task import ChestXrayTask  # noqa: PLC0415

    return ChestXrayTask(settings, folder)
