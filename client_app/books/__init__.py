"""A hospital's ledger and audit log as its people and auditors read them; nothing here writes to either."""
