"""What the ledger's tables are; each migration takes a file to its next version, and is never changed.

``noise_everybody`` and ``noise_coordinator`` are the two events of a spend: the noise multiplier that stands
between a patient and everybody, and the one between the patient and the coordinator with its colluding sites.
NULL is no noise at all, hence no bound.
"""

MIGRATIONS = (
    (
        "CREATE TABLE owner (fingerprint TEXT NOT NULL) STRICT",
        """
        CREATE TABLE studies (
            id TEXT PRIMARY KEY,
            json TEXT NOT NULL,
            asked TEXT NOT NULL,
            approver TEXT,
            approved TEXT,
            until TEXT,
            epsilon_cap REAL,
            release TEXT,
            revoker TEXT,
            revoked TEXT
        ) STRICT
        """,
        """
        CREATE TABLE patients (
            number INTEGER PRIMARY KEY,
            pseudonym TEXT NOT NULL UNIQUE,
            withdrawn TEXT
        ) STRICT
        """,
        # What a study may cost the patients of one part of its cohort, held until it has ended.
        """
        CREATE TABLE reservations (
            study TEXT NOT NULL REFERENCES studies,
            part TEXT NOT NULL CHECK (part IN ('train', 'test')),
            steps INTEGER NOT NULL,
            sampling_rate REAL NOT NULL,
            noise_everybody REAL,
            noise_coordinator REAL,
            started TEXT NOT NULL,
            ended TEXT,
            PRIMARY KEY (study, part)
        ) STRICT
        """,
        # Who is in it; left_before is the first spend that a patient who withdrew is no longer part of.
        """
        CREATE TABLE cohorts (
            study TEXT NOT NULL,
            part TEXT NOT NULL,
            patient INTEGER NOT NULL REFERENCES patients,
            left_before INTEGER,
            PRIMARY KEY (study, part, patient),
            FOREIGN KEY (study, part) REFERENCES reservations
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX cohorts_of_patients ON cohorts (patient)",
        # What was charged, before anything was computed; released says that it left. Beside it stands where
        # the audit log then ended, so that neither can be put back without the other.
        """
        CREATE TABLE spends (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            study TEXT NOT NULL,
            part TEXT NOT NULL,
            round INTEGER NOT NULL,
            asked TEXT NOT NULL,
            steps INTEGER NOT NULL,
            sampling_rate REAL NOT NULL,
            noise_everybody REAL,
            noise_coordinator REAL,
            log_sequence INTEGER NOT NULL,
            log_hash TEXT NOT NULL,
            reserved TEXT NOT NULL,
            released TEXT,
            sha256 TEXT,
            UNIQUE (study, part, round),
            FOREIGN KEY (study, part) REFERENCES reservations
        ) STRICT
        """,
    ),
)
