"""A disk that forgets what was never forced onto it: what a power cut leaves of a recorded folder.

What is sure after a cut is what POSIX says, and no more: of a file's content and size what stood there at its
last fsync or fdatasync, of a folder's names those at the folder's own last fsync. Of all that came later any
part may be there: writes in any order or none, each sector of 512 bytes by itself, and names without content
(Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014). What is not modelled: a disk that
answers an fsync too early, and stale sectors in place of zeros.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Literal

SECTOR = 512
_ROOT = 0


@dataclass(frozen=True)
class Write:
    """Bytes in a file."""

    node: int
    offset: int
    data: bytes


@dataclass(frozen=True)
class Resize:
    """A file's new size."""

    node: int
    size: int


@dataclass(frozen=True)
class Name:
    """In folder ``node``, ``name`` stands for ``target`` from now on; and no longer ``was``, if it moved."""

    node: int
    name: str
    target: int | None
    was: str | None = None


@dataclass(frozen=True)
class Sync:
    """A file or a folder is forced onto the disk."""

    node: int


@dataclass(frozen=True)
class Say:
    """Something leaves the hospital."""

    text: str


Operation = Write | Resize | Name | Sync | Say
# What of that which is not sure is still there: nothing, all (which is what kill -9 leaves), all that came
# before some moment, or any part.
Luck = Literal["nothing", "all", "beginning", "any"]
LUCKS: tuple[Luck, ...] = ("nothing", "all", "beginning", "any")


@dataclass
class Recording:
    """All that was done to a folder, in order.

    Attributes:
        operations: each of them.
        folders: the nodes that are folders.
    """

    operations: list[Operation] = field(default_factory=list)
    folders: set[int] = field(default_factory=lambda: {_ROOT})

    def said(self, before: int) -> list[str]:
        """The lines that had left before operation ``before``."""
        said = (op.text for op in self.operations[:before] if isinstance(op, Say))
        return "".join(said).splitlines()

    def until(self, before: int) -> "Recording":
        """What was done before operation ``before``, where the process was killed."""
        done = self.operations[:before]
        named = {op.target for op in done if isinstance(op, Name)}
        return Recording(done, {_ROOT} | {node for node in self.folders if node in named})

    def leave(self, folder: Path, before: int, luck: Luck = "all", seed: int = 0) -> None:
        """Make ``folder`` as it is after a crash just before operation ``before``."""
        contents, names = self._survivors(before, luck, Random(seed))  # noqa: S311 -- luck is to repeat
        self._make(folder, _ROOT, contents, names)

    def _survivors(
        self, before: int, luck: Luck, random: Random
    ) -> tuple[dict[int, bytearray], dict[int, dict[str, int]]]:
        done = self.operations[:before]
        synced = {op.node: place for place, op in enumerate(done) if isinstance(op, Sync)}
        unsure = [
            place
            for place, op in enumerate(done)
            if isinstance(op, Write | Resize | Name) and place > synced.get(op.node, -1)
        ]
        kept = _kept(unsure, luck, random)
        contents: dict[int, bytearray] = {}
        names: dict[int, dict[str, int]] = {}
        for place, op in enumerate(done):
            share = kept.get(place, 1.0)
            match op:
                case Write():
                    _write(contents.setdefault(op.node, bytearray()), op, share, random)
                case Resize() if share:
                    content = contents.setdefault(op.node, bytearray())
                    del content[op.size :]
                    content.extend(bytes(op.size - len(content)))
                case Name() if share:
                    _rename(names.setdefault(op.node, {}), op)
        return contents, names

    def _make(
        self,
        path: Path,
        node: int,
        contents: dict[int, bytearray],
        names: dict[int, dict[str, int]],
    ) -> None:
        if node not in self.folders:
            path.touch(mode=0o600)
            path.write_bytes(contents.get(node, b""))
            return
        path.mkdir(mode=0o700, exist_ok=True)
        for name, target in names.get(node, {}).items():
            self._make(path / name, target, contents, names)


def _kept(unsure: list[int], luck: Luck, random: Random) -> dict[int, float]:
    """Of each operation that is not sure, how likely each of its sectors is still there."""
    match luck:
        case "nothing":
            return dict.fromkeys(unsure, 0.0)
        case "all":
            return dict.fromkeys(unsure, 1.0)
        case "beginning":
            end = random.randint(0, len(unsure))
            torn = {unsure[end]: 0.5} if end < len(unsure) else {}
            return dict.fromkeys(unsure[:end], 1.0) | dict.fromkeys(unsure[end:], 0.0) | torn
        case "any":
            likely = random.choice((0.2, 0.5, 0.8))
            return {place: random.choice((1.0, 0.5)) if random.random() < likely else 0.0 for place in unsure}


def _write(content: bytearray, op: Write, share: float, random: Random) -> None:
    start, end = op.offset, op.offset + len(op.data)
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        if share == 1.0 or random.random() < share:
            content.extend(bytes(max(0, stop - len(content))))
            content[start:stop] = op.data[start - op.offset : stop - op.offset]
        start = stop


def _rename(names: dict[str, int], op: Name) -> None:
    names.pop(op.was or op.name, None)
    if op.target is not None:
        names[op.name] = op.target


_CALL = re.compile(r"^(?:\d+ +)?(\w+)\((.*)\) += (-?\d+)(.*)$")
_TEXT = r'"((?:\\x[0-9a-f]{2})*)"'
_OPEN_FILE = r"(-?\d+|AT_FDCWD)<((?:\\x[0-9a-f]{2})*)>(\(deleted\))?"


def read_trace(lines: Iterable[str], folder: Path, told: Path, after: Recording | None = None) -> Recording:
    """What strace wrote down, of ``folder`` and of the file ``told``.

    Args:
        lines: of strace.
        folder: that was worked in; empty at first, or as it is with all of ``after``.
        told: what is written to it leaves.
        after: what had been done to the folder before, in another process that has ended.

    Raises:
        ValueError: something was done to the folder that is not modelled.
    """
    return _Reader(folder, told, Recording() if after is None else after).read(lines)


class _Reader:
    def __init__(self, folder: Path, told: Path, after: Recording) -> None:
        self._folder = folder
        self._told = told
        self._recording = Recording(list(after.operations), set(after.folders))
        self._names: dict[int, dict[str, int]] = {node: {} for node in after.folders}
        self._sizes: dict[int, int] = {}
        self._places: dict[str, int | None] = {}  # of open files; None is always the end
        for op in after.operations:
            match op:
                case Name():
                    _rename(self._names[op.node], op)
                    if op.target is not None:
                        self._sizes.setdefault(op.target, 0)
                case Write():
                    self._sizes[op.node] = max(self._sizes[op.node], op.offset + len(op.data))
                case Resize():
                    self._sizes[op.node] = op.size

    def read(self, lines: Iterable[str]) -> Recording:
        for line in lines:
            if "unfinished ..." in line or "resumed>" in line:
                raise ValueError(f"two threads at once: {line[:200]}")
            call = _CALL.match(line)
            if call is not None and int(call[3]) >= 0:
                self._take(call[1], call[2], int(call[3]), call[4])
        return self._recording

    def _take(self, call: str, arguments: str, result: int, rest: str) -> None:
        paths = [path for path in self._paths(call, arguments, rest) if self._concerned(path)]
        if not paths:
            return
        if paths[0] == self._told:
            if call == "write":
                self._recording.operations.append(Say(_texts(arguments)[0].decode()))
            return
        handle: Callable[[list[Path], str, int], Iterable[Operation]] | None
        handle = getattr(self, f"_{call}", None)
        if handle is None:
            raise ValueError(f"{call}({arguments[:200]}) is not modelled")
        self._recording.operations += handle(paths, arguments, result)

    def _paths(self, call: str, arguments: str, rest: str) -> Iterator[Path]:
        """Every path that a call names: as text, or as what an open file lies under."""
        opened = [Path(_bytes(path).decode()) for _, path, _ in re.findall(_OPEN_FILE, arguments)]
        if call in ("write", "pwrite64"):
            yield from opened
            return
        texts = _texts(arguments)
        base = opened[0] if opened else Path("/")
        yield from (base / text.decode() for text in texts) if texts else opened

    def _concerned(self, path: Path) -> bool:
        """SQLite makes its index of the log (-shm) anew after a crash, so it is none of ours."""
        return path == self._told or (path.is_relative_to(self._folder) and not path.name.endswith("-shm"))

    def _node(self, path: Path) -> int:
        node = _ROOT
        for name in path.relative_to(self._folder).parts:
            node = self._names[node][name]
        return node

    def _named(self, path: Path, target: int | None, was: Path | None = None) -> Name:
        folder = self._node(path.parent)
        if was is not None and was.parent != path.parent:
            raise ValueError(f"{was} moved to another folder, which is not modelled")
        op = Name(folder, path.name, target, None if was is None else was.name)
        _rename(self._names[folder], op)
        return op

    def _new(self) -> int:
        self._sizes[len(self._sizes) + 1] = 0
        return len(self._sizes)

    def _openat(self, paths: list[Path], arguments: str, result: int) -> Iterator[Operation]:
        path = paths[0]
        if path == self._folder:
            return
        if path.name not in self._names[self._node(path.parent)]:
            yield self._named(path, self._new())
        node = self._node(path)
        self._places[str(result)] = None if "O_APPEND" in arguments else 0
        if "O_TRUNC" in arguments and self._sizes[node]:
            self._sizes[node] = 0
            yield Resize(node, 0)

    def _write(self, paths: list[Path], arguments: str, result: int) -> Iterator[Operation]:
        opened, node = _handle(arguments), self._node(paths[0])
        place = self._places[opened]
        start = self._sizes[node] if place is None else place
        if place is not None:
            self._places[opened] = start + result
        yield self._written(node, start, _texts(arguments)[0][:result])

    def _pwrite64(self, paths: list[Path], arguments: str, result: int) -> Iterator[Operation]:
        offset = int(arguments.rsplit(", ", 1)[1])
        yield self._written(self._node(paths[0]), offset, _texts(arguments)[0][:result])

    def _written(self, node: int, offset: int, data: bytes) -> Write:
        self._sizes[node] = max(self._sizes[node], offset + len(data))
        return Write(node, offset, data)

    def _lseek(self, paths: list[Path], arguments: str, result: int) -> Iterator[Operation]:
        opened = _handle(arguments)
        if self._places.get(opened) is not None:
            self._places[opened] = result
        yield from ()

    def _ftruncate(self, paths: list[Path], arguments: str, result: int) -> Iterator[Operation]:
        node, size = self._node(paths[0]), int(arguments.rsplit(", ", 1)[1])
        self._sizes[node] = size
        yield Resize(node, size)

    def _rename(self, paths: list[Path], arguments: str, result: int) -> Iterator[Operation]:
        was, path = paths
        yield self._named(path, self._node(was), was)

    def _link(self, paths: list[Path], arguments: str, result: int) -> Iterator[Operation]:
        yield self._named(paths[1], self._node(paths[0]))

    _linkat = _link

    def _unlink(self, paths: list[Path], arguments: str, result: int) -> Iterator[Operation]:
        yield self._named(paths[0], None)

    def _mkdir(self, paths: list[Path], arguments: str, result: int) -> Iterator[Operation]:
        node = self._new()
        self._names[node] = {}
        self._recording.folders.add(node)
        yield self._named(paths[0], node)

    def _fsync(self, paths: list[Path], arguments: str, result: int) -> Iterator[Operation]:
        yield Sync(self._node(paths[0]))

    _fdatasync = _fsync

    def _mmap(self, paths: list[Path], arguments: str, result: int) -> Iterator[Operation]:
        if "MAP_SHARED" in arguments and "PROT_WRITE" in arguments:
            raise ValueError(f"{paths[0]} is written through memory, which is not modelled")
        yield from ()


def _handle(arguments: str) -> str:
    return arguments.partition("<")[0]


def _texts(arguments: str) -> list[bytes]:
    return [_bytes(text) for text in re.findall(_TEXT, arguments)]


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
