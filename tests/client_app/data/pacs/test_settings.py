"""What a hospital may write under ``ingest.pacs``."""

import pytest

from client_app.data.pacs.settings import DicomwebSettings, DimseSettings, FolderSettings, PacsSettings
from federation.errors import ConfigError
from federation.schema import Frozen, validated

WEB = {"kind": "dicomweb", "url": "https://pacs.example/dicom-web"}
DIMSE = {"kind": "dimse", "host": "pacs", "port": 104, "title": "PACS", "own_title": "WARDROUND"}


class Ingest(Frozen):
    pacs: PacsSettings


def read(values):
    return validated(Ingest, {"pacs": values}, "ingest").pacs


def test_the_kind_says_which_settings_there_are():
    assert isinstance(read(WEB), DicomwebSettings)
    assert isinstance(read(DIMSE), DimseSettings)
    assert isinstance(read({"kind": "folder", "folder": "/import"}), FolderSettings)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "ingest.pacs.kind is missing; one of dicomweb, dimse, folder"),
        ({"kind": "ftp"}, "ingest.pacs.kind='ftp' is not known; one of dicomweb, dimse, folder"),
        ({"kind": "dicomweb", "ulr": "http://a"}, "ingest.pacs.ulr is not a setting; did you mean 'url'?"),
        ({"kind": "dicomweb"}, "ingest.pacs.url is missing"),
        (WEB | {"url": "pacs.example"}, "url"),
        (WEB | {"url": "https://me:secret@pacs.example/"}, "url"),
        (WEB | {"port": 1}, "ingest.pacs.port is not a setting"),
        (WEB | {"rate": {"studies_per_minute": 0}}, "studies_per_minute"),
        (WEB | {"tls": {"certificate": "/a.pem"}}, "certificate and key come together"),
        (DIMSE | {"title": "PACS*"}, "title"),
        (DIMSE | {"own_title": "A" * 17}, "own_title"),
        (DIMSE | {"retrieve": "move"}, "own_port"),
        (DIMSE | {"retrieve": "move", "own_port": 104, "tls": {}}, "to listen with"),
        (DIMSE | {"retries": 1000}, "retries"),
    ],
)
def test_a_mistake_is_named(values, said):
    with pytest.raises(ConfigError) as error:
        read(values)
    assert said in str(error.value)
