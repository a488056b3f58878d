"""Weakened custodians, each of which breaks a promise after some crash."""

import os
from contextlib import contextmanager

from client_app.custodian.answers import Answers
from client_app.custodian.custodian import Custodian
from client_app.custodian.ledger.consent import Consent
from client_app.custodian.ledger.database import Database
from federation.files import sync_folder


class NeverForced(Database):
    """Leaves it to the operating system when a commit reaches the disk."""

    def __init__(self, path, owner):
        super().__init__(path, owner)
        self._connection.execute("PRAGMA synchronous = OFF")


def append_only(path, line):
    """Appends a line of the log, and doesn't wait for the disk."""
    with path.open("ab") as file:
        file.write(f"{line}\n".encode())


class RemembersLate(Answers):
    """Has an answer on disk only when it was released."""

    _late = None

    @property
    def last(self):
        return self._late or super().last

    def remember(self, answer):
        self._late = answer

    @contextmanager
    def alone(self):
        with super().alone():
            yield
            if self._late is not None:
                super().remember(self._late)


class ChargesLate(Custodian):
    """Trains, and charges for it when it is done."""

    def _carry_out(self, opened, request, work):
        answers = Answers(self._folder, request.study.id, work.part)
        last = answers.last
        if last is None or last.round < work.round:
            answers.remember(self._computed(opened, work, last))
        return super()._carry_out(opened, request, work)


class WithdrawsLater(Consent):
    """Acknowledges a withdrawal, and commits it when it next looks."""

    _waiting = ()

    def withdraw(self, pseudonyms):
        self._waiting = pseudonyms
        return len(pseudonyms)

    @property
    def withdrawn(self):
        if self._waiting:
            super().withdraw(self._waiting)
            self._waiting = ()
        return super().withdrawn


def draw_in_place(path):
    """Writes a key where it will lie, so that half of it may."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(os.urandom(32))
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def leave_all(folder, *, but):
    """Takes for sure what lies in a folder."""


def leave_folder(folder):
    """Leaves it to the operating system when a name reaches the disk."""
