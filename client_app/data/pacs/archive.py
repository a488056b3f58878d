"""The archive that a hospital's settings lead to."""

from client_app.data.pacs.dicomweb import DicomwebSource
from client_app.data.pacs.dimse import DimseSource
from client_app.data.pacs.folder import FolderSource
from client_app.data.pacs.meter import Meter, Told
from client_app.data.pacs.quiet import silence_libraries
from client_app.data.pacs.settings import DicomwebSettings, DimseSettings, Settings
from client_app.data.pacs.source import Source
from client_app.data.patience import Waits, in_silence


def archive(settings: Settings, told: Told = lambda _: None, waits: Waits = in_silence) -> Source:
    """The archive of the settings, for a ``with`` block; the libraries under it log nothing from here on.

    Args:
        settings: where and how.
        told: called with the counts so far, from any thread, after each change.
        waits: called before each wait for an archive that does not answer.

    Raises:
        ConfigError: a certificate, a key or the credentials cannot be used.
    """
    silence_libraries()
    meter = Meter(settings.rate, told, waits)
    if isinstance(settings, DicomwebSettings):
        return DicomwebSource(settings, meter)
    if isinstance(settings, DimseSettings):
        return DimseSource(settings, meter)
    return FolderSource(settings, meter)
