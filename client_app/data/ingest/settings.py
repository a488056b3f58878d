"""Where a hospital's patients come from; stands under ``ingest`` in ``site.yaml``."""

from pathlib import Path
from typing import Self

from pydantic import model_validator

from client_app.data.deidentify.options import Options
from client_app.data.fhir.consent import ConsentRules
from client_app.data.fhir.settings import FhirSettings
from client_app.data.pacs.settings import PacsSettings
from federation.errors import ConfigError
from federation.schema import Frozen


class IngestSettings(Frozen):
    """See the module.

    Attributes:
        folder: the key of pseudonyms, the journal and files on their way; only the ingest may see it.
        store: the site store, which the custodian reads.
        pacs: the archive of images; None where they are in a folder, with a table.
        fhir: the record; None where there is none to ask.
        cohort: the YAML that says who is in, and what is known of them; of archive and record.
        consent: whose data may be used.
        deidentify: what de-identification lets through.
    """

    folder: Path
    store: Path
    pacs: PacsSettings | None = None
    fhir: FhirSettings | None = None
    cohort: Path | None = None
    consent: ConsentRules = ConsentRules()
    deidentify: Options = Options()

    @property
    def key(self) -> Path:
        """Where the key of pseudonyms lies."""
        return self.folder / "pseudonyms.key"

    @model_validator(mode="after")
    def _apart(self) -> Self:
        for name in ("folder", "store"):
            if not getattr(self, name).is_absolute():
                raise ValueError(f"{name}={getattr(self, name)} is relative; give the whole path, from /")
        # Whoever reads the store must not find the key of its pseudonyms beside it.
        if self.folder == self.store or self.store in self.folder.parents:
            raise ValueError(f"folder={self.folder} is in the store, which others read; put it elsewhere")
        return self

    @model_validator(mode="after")
    def _somebody_to_ask(self) -> Self:
        if self.fhir is None and self.consent.policy == "opt_in":
            raise ValueError(
                "consent.policy=opt_in, and there is no fhir, where permissions are; give fhir, or opt_out"
            )
        return self


def not_given(name: str) -> ConfigError:
    """What is wrong where a command needs a setting that the hospital has not given."""
    return ConfigError(
        f"site.yaml has no ingest.{name}, which this command needs; docs/from-pacs-to-store.md shows one"
    )
