"""Files on their way: they name patients, so none stays longer than it has to."""

import shutil
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from federation.errors import StorageError
from federation.files import make_folder


class Incoming:
    """A folder for each study that is being fetched.

    Args:
        folder: of the ingest alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, study: str) -> Path:
        """Where a study's files come to, by its pseudonym; nobody else on the machine can look there.

        Raises:
            StorageError: the folder above cannot be made.
        """
        try:
            make_folder(self._folder, 0o700)
        except OSError as error:
            raise StorageError(
                f"{self._folder} cannot be made ({error.strerror}); mend the rights of the folder above "
                "it, and run again"
            ) from error
        return self._folder / study

    def keep_only(self, studies: Collection[str]) -> None:
        """Remove whatever is of no study of these.

        Raises:
            StorageError: something cannot be removed.
        """
        self._remove(path for path in self._folder.glob("*") if path.name not in studies)

    def remove(self, study: str) -> None:
        """Remove a study's files, if there are any.

        Raises:
            StorageError: they cannot be removed.
        """
        self._remove([self._folder / study])

    def _remove(self, paths: Iterable[Path]) -> None:
        try:
            for path in paths:
                with suppress(FileNotFoundError):
                    shutil.rmtree(path)
        except OSError as error:
            raise StorageError(
                f"files below {self._folder}, which name patients, cannot be removed ({error.strerror}); "
                "mend the folder's rights, and run again"
            ) from error
