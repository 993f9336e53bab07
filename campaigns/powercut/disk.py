"""A disk that holds only what was fsynced. Pure: operations in, the files that a power cut would leave out.

Every file is its durable bytes and the writes and truncates that no fsync covered yet; the one directory is the same:
names as last fsynced, and names as they look now. Stricter than ext4 in two ways, so that nothing leans on luck: an
fsync of a file makes its bytes durable, but not its name, and names that were not fsynced may or may not survive each
on its own. The same operations drive the file system under a real process (`lossyfs`) and the enumeration of every
crash point in memory (`crashpoints`).
"""

import random
from collections.abc import Sequence
from typing import Literal, get_args

import msgspec

SECTOR = 512

# What a cut does to what was not fsynced. lose: all of it is gone. keep: all of it had reached the disk (a process
# crash). prefix: of each file a first part. subset: any sectors, in any mix. torn: the same, some cut within.
Model = Literal["lose", "keep", "prefix", "subset", "torn"]
MODELS: tuple[Model, ...] = get_args(Model)

Image = dict[str, bytes]


class Op(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """One thing that a process, or the power, did to the disk."""


class Create(Op, frozen=True, array_like=True, tag=True):
    """A name for a new, empty file."""

    name: str
    inode: int


class Write(Op, frozen=True, array_like=True, tag=True):
    """Bytes at an offset."""

    inode: int
    offset: int
    data: bytes


class Truncate(Op, frozen=True, array_like=True, tag=True):
    """A new length."""

    inode: int
    size: int


class Sync(Op, frozen=True, array_like=True, tag=True):
    """An fsync that worked."""

    inode: int


class SyncFailed(Op, frozen=True, array_like=True, tag=True):
    """An fsync that failed as on Linux: its pages count as clean, the cache shows them, the disk never gets them."""

    inode: int


class SyncNames(Op, frozen=True, array_like=True, tag=True):
    """An fsync of the directory."""


class Rename(Op, frozen=True, array_like=True, tag=True):
    """Another name for a file, over one that may exist."""

    old: str
    new: str


class Unlink(Op, frozen=True, array_like=True, tag=True):
    """A name taken away."""

    name: str


class Told(Op, frozen=True, array_like=True, tag=True):
    """Not of the disk: what the process told the world at this moment."""

    words: str


class Cut(Op, frozen=True, array_like=True, tag=True):
    """The power went, and came back."""

    model: Model
    seed: str


AnyOp = Create | Write | Truncate | Sync | SyncFailed | SyncNames | Rename | Unlink | Told | Cut
Change = Write | Truncate


class File:
    """One file: what the process sees, what is durable, and what lies between the two."""

    __slots__ = ("durable", "live", "pending")

    def __init__(self, content: bytes = b"") -> None:
        self.live = bytearray(content)
        self.durable = content
        self.pending: list[Change] = []

    def arrived(self) -> bytes:
        """The content once the disk had got everything that was sent to it."""
        return self.with_changes(self.pending)

    def with_changes(self, survived: Sequence[Change]) -> bytes:
        """The durable content with some changes on top."""
        if not survived:
            return self.durable
        content = bytearray(self.durable)
        for op in survived:
            change(content, op)
        return bytes(content)


class Disk:
    """The state after some operations."""

    def __init__(self) -> None:
        self.files: dict[int, File] = {}
        self.next_inode = 1
        self.names: dict[str, int] = {}
        self.durable_names: dict[str, int] = {}

    def apply(self, op: AnyOp) -> None:
        """Do one operation. It must be possible (the name or inode is there)."""
        match op:
            case Create(name, inode):
                self.files[inode] = File()
                self.names[name] = inode
                self.next_inode = inode + 1
            case Write(inode) | Truncate(inode):
                file = self.files[inode]
                change(file.live, op)
                file.pending.append(op)
            case Sync(inode):
                file = self.files[inode]
                file.durable = file.arrived()
                file.pending.clear()
            case SyncFailed(inode):
                self.files[inode].pending.clear()
            case SyncNames():
                self.durable_names = dict(self.names)
            case Rename(old, new):
                self.names[new] = self.names.pop(old)
            case Unlink(name):
                del self.names[name]
            case Cut(model, seed):
                self.become(self.after_cut(model, random.Random(seed)))
            case Told():
                pass

    def after_cut(self, model: Model, rng: random.Random) -> Image:
        """The files that a cut at this moment leaves."""
        return {
            name: self.files[inode].with_changes(survivors(self.files[inode].pending, model, rng))
            for name, inode in self._names_after(model, rng).items()
        }

    def become(self, image: Image) -> None:
        """Hold these files and nothing else, all durable. Their inodes are new: handles of before lead nowhere."""
        first = self.next_inode
        self.files = {first + index: File(content) for index, content in enumerate(image.values())}
        self.names = {name: first + index for index, name in enumerate(image)}
        self.durable_names = dict(self.names)
        self.next_inode = first + len(image)

    def _names_after(self, model: Model, rng: random.Random) -> dict[str, int]:
        if model in ("lose", "keep"):
            return self.durable_names if model == "lose" else self.names
        names = {}
        for name in sorted(self.names.keys() | self.durable_names.keys()):
            now, before = self.names.get(name), self.durable_names.get(name)
            inode = now if now == before or rng.random() < 0.5 else before
            if inode is not None:
                names[name] = inode
        return names


def change(content: bytearray, op: Change) -> None:
    """Write or truncate in place; a gap fills with zeros."""
    match op:
        case Write(_, offset, data):
            content.extend(bytes(max(0, offset - len(content))))
            content[offset : offset + len(data)] = data
        case Truncate(_, size):
            del content[size:]
            content.extend(bytes(size - len(content)))


def survivors(pending: Sequence[Change], model: Model, rng: random.Random) -> Sequence[Change]:
    """What of the changes that no fsync covered had reached the disk all the same."""
    match model:
        case "lose":
            return ()
        case "keep":
            return pending
        case "prefix":
            return pending[: rng.randint(0, len(pending))]
        case "subset" | "torn":
            kept = [part for op in pending for part in sectors(op) if rng.random() < 0.5]
            return kept if model == "subset" else [_torn(part, rng) for part in kept]


def sectors(op: Change) -> list[Change]:
    """A write in the pieces that a disk does not tear: cut where a sector ends. A truncate is one piece."""
    if isinstance(op, Truncate):
        return [op]
    pieces: list[Change] = []
    start, end = op.offset, op.offset + len(op.data)
    while start < end:
        stop = min(end, start - start % SECTOR + SECTOR)
        pieces.append(Write(op.inode, start, op.data[start - op.offset : stop - op.offset]))
        start = stop
    return pieces


def _torn(op: Change, rng: random.Random) -> Change:
    if isinstance(op, Truncate) or rng.random() >= 0.1:
        return op
    return Write(op.inode, op.offset, op.data[: rng.randint(1, len(op.data))])
