"""One hospital's ledger: its file, and the three books in it."""

from pathlib import Path

from client_app.custodian.ledger.budget import Budget
from client_app.custodian.ledger.consent import Consent
from client_app.custodian.ledger.database import Database
from client_app.custodian.ledger.studies import Studies


class Ledger:
    """See the module.

    Args:
        path: of the file; made if there is none.
        owner: fingerprint of the key by which patients' pseudonyms are made.

    Raises:
        LedgerError: it is not whole, or not this site's.

    Attributes:
        studies: what was asked for, and who approved it.
        budget: what each patient has spent.
        consent: who has withdrawn.
    """

    def __init__(self, path: Path, owner: str) -> None:
        self._database = Database(path, owner)
        self.studies = Studies(self._database)
        self.budget = Budget(self._database)
        self.consent = Consent(self._database)

    def check(self) -> None:
        """Look at the whole file.

        Raises:
            LedgerError: it is damaged.
        """
        self._database.check()

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()
