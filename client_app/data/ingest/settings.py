"""Where a hospital's patients come from; stands under ``ingest`` in ``site.yaml``."""

from pathlib import Path
from typing import Self

from pydantic import model_validator

from client_app.data.deidentify.options import Options
from client_app.data.fhir.consent import ConsentRules
from client_app.data.fhir.settings import FhirSettings
from client_app.data.pacs.settings import PacsSettings
from federation.schema import Frozen


class IngestSettings(Frozen):
    """See the module.

    Attributes:
        folder: the key of pseudonyms, the journal and files on their way; only the ingest may see it.
        store: the site store, which the custodian reads.
        pacs: the archive of images.
        fhir: the record.
        cohort: the YAML that says who is in, and what is known of them.
        consent: whose data may be used.
        deidentify: what de-identification lets through.
    """

    folder: Path
    store: Path
    pacs: PacsSettings
    fhir: FhirSettings
    cohort: Path
    consent: ConsentRules = ConsentRules()
    deidentify: Options = Options()

    @model_validator(mode="after")
    def _apart(self) -> Self:
        for name in ("folder", "store"):
            if not getattr(self, name).is_absolute():
                raise ValueError(f"{name}={getattr(self, name)} is relative; give the whole path, from /")
        # Whoever reads the store must not find the key of its pseudonyms beside it.
        if self.folder == self.store or self.store in self.folder.parents:
            raise ValueError(f"folder={self.folder} is in the store, which others read; put it elsewhere")
        return self
