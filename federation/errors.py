"""The one tree of errors.

WardroundError
├── ConfigError        a configuration is misspelt, out of range or contradicts itself
├── DataError          patients' or public data cannot be used as they are
├── PrivacyError       a privacy guarantee cannot be given as asked
├── AuditError         an audit log is not what was signed
├── SecureSumError     a party to a secure sum does not keep to the protocol
├── MessageError       a record from the other side is not what the contract says
├── LedgerError        a hospital's ledger is not whole, or is not its own
├── ReleaseError       something was about to leave a hospital that may not
├── RefusedError       a hospital, or the coordinator, says no, and by which rule
├── RunError           a run cannot go on
│   ├── MembershipError    a participant is unknown or did not come
│   └── QuorumError        too few hospitals returned a valid update
└── StorageError       the disk did not take a file; the old file is still whole

Every message names the thing, its value, and what to do about it.
"""


class WardroundError(Exception):
    """Anything Wardround refuses or cannot do; the text is meant for the person who asked."""


class ConfigError(WardroundError):
    """A configuration is misspelt, out of range or contradicts itself."""


class DataError(WardroundError):
    """Patients' or public data cannot be used as they are."""


class PrivacyError(WardroundError):
    """A privacy guarantee cannot be given as asked."""


class AuditError(WardroundError):
    """An audit log is broken, or is not what its hospital once signed."""


class SecureSumError(WardroundError):
    """A party to a secure sum does not keep to the protocol; nothing was revealed to it.

    Attributes:
        check: the short identifier of the check that failed, e.g. ``"survivors"``.
        site: whom it failed on; empty where it concerns nobody in particular.
    """

    def __init__(self, check: str, site: str, reason: str) -> None:
        super().__init__(f"{site}: {reason}" if site else reason)
        self.check = check
        self.site = site


class MessageError(WardroundError):
    """A record from the other side is not what the contract says."""


class LedgerError(WardroundError):
    """A hospital's ledger is not whole, or is not its own; then it refuses everything."""


class ReleaseError(WardroundError):
    """Something was about to leave a hospital that may not."""


class RefusedError(WardroundError):
    """A hospital, or the coordinator, says no.

    Attributes:
        rule: the short identifier of the rule that decided, e.g. ``"cohort-too-small"``.
    """

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


class RunError(WardroundError):
    """A run cannot go on."""


class MembershipError(RunError):
    """A participant is unknown, or did not come before the deadline."""


class QuorumError(RunError):
    """Too few hospitals returned a valid update in a round."""


class StorageError(WardroundError):
    """The disk did not take a file; what was there before is still whole."""
