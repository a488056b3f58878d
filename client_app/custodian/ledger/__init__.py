"""The ledger: what was asked for and approved here, who withdrew, what each patient has spent."""
