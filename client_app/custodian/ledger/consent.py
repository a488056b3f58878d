"""Who has withdrawn: out of every later round and evaluation, whatever is under way."""

from collections.abc import Collection
from datetime import UTC, datetime

from client_app.custodian.ledger.database import Database


class Consent:
    """The list of those who have withdrawn, by pseudonym.

    Args:
        database: where it is kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def withdraw(self, pseudonyms: Collection[str]) -> int:
        """Leave patients out from now on, known here or not; returns how many had not withdrawn before.

        What they have spent stays spent. What studies had set aside for them and not used comes back.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self._database.writing() as rows:
            count = 0
            for pseudonym in sorted(set(pseudonyms)):
                count += rows.execute(
                    "INSERT INTO patients (pseudonym, withdrawn) VALUES (?, ?) ON CONFLICT (pseudonym) "
                    "DO UPDATE SET withdrawn = excluded.withdrawn WHERE withdrawn IS NULL",
                    (pseudonym, now),
                ).rowcount
            # A round under way was charged, and counts.
            rows.execute(
                "UPDATE cohorts SET left_before = (SELECT ifnull(max(number), 0) + 1 FROM spends) "
                "WHERE left_before IS NULL "
                "AND patient IN (SELECT number FROM patients WHERE withdrawn IS NOT NULL)"
            )
        return count

    @property
    def withdrawn(self) -> frozenset[str]:
        """Everybody who has withdrawn."""
        with self._database.reading() as rows:
            return frozenset(
                row[0] for row in rows.execute("SELECT pseudonym FROM patients WHERE withdrawn IS NOT NULL")
            )
