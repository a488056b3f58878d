"""The settings of a hospital's ingest, for the commands that need them."""

from pathlib import Path
from typing import TYPE_CHECKING

from federation.errors import ConfigError

if TYPE_CHECKING:
    from client_app.data.ingest.settings import IngestSettings


def ingest_settings(file: Path) -> "IngestSettings":
    """``ingest`` of the hospital's ``site.yaml``.

    Raises:
        ConfigError: the hospital has none, or its settings are wrong.
    """
    from client_app.site import hospital  # noqa: PLC0415

    settings = hospital(file).ingest
    if settings is None:
        raise ConfigError("site.yaml has no ingest; conf/site/hospital.yaml shows one")
    return settings
