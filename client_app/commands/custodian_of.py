"""The custodian that a site's config speaks of, for the commands that ask it something."""

from pathlib import Path

from client_app.desk.client import AdminClient
from client_app.site import hospital


def custodian_of(file: Path) -> AdminClient:
    """The custodian behind the admin socket of ``site.yaml``.

    Raises:
        ConfigError: the config cannot be read.
    """
    return AdminClient(hospital(file).service.admin)
