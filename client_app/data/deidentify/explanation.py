"""What is done with a file, as a table for people; no value is in it."""

import os
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from client_app.data.deidentify.options import Options
from client_app.data.deidentify.profile import deidentify, explain
from client_app.data.deidentify.rules import Action
from client_app.data.dicom.door import read_instance
from client_app.data.keys import Pseudonyms
from client_app.data.refusal import Refused
from federation.key_files import KEY_BYTES

_WORDS = {
    Action.REMOVE: "removed",
    Action.EMPTY: "emptied",
    Action.DUMMY: "a dummy",
    Action.UID: "a keyed UID",
    Action.KEEP: "kept",
    Action.CLEAN: "cleaned",
    Action.SHIFT: "shifted",
    Action.PSEUDONYM: "the pseudonym",
}


def explained(file: Path, options: Options) -> Table:
    """A row for each attribute of ``file``; its title says whether the file is taken.

    Raises:
        Refused: it cannot be read at all.
    """
    dataset = read_instance(file)
    try:
        # Of any key: nothing that depends on it is shown.
        deidentify(dataset, Pseudonyms(os.urandom(KEY_BYTES)), options)
        title = "taken"
    except Refused as error:
        title = f"refused ({error.rule}): {error}"
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left")
    for heading in ("attribute", "name", "code", "what is done", "why"):
        table.add_column(heading, overflow="fold")
    for row in explain(dataset):
        table.add_row(row.tag, row.name, row.action.split()[0], _WORDS[row.action], row.reason)
    return table
