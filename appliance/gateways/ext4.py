"""Read a box's files out of an ext4 that is not mounted, by Debian's `debugfs` (e2fsprogs). Never writes. Blocks.

What ext4 itself still had to write when the power failed stands only in its own journal, which is not replayed here:
`unclean` tells that files may be older than the card is.
"""

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from appliance.domain.errors import NotFound

WANTED = re.compile(r"(journal\.db(\.aside-\d+)?(-wal)?|head)")
_ENTRY = re.compile(r"/(\d+)/(\d{6})/\d+/\d+/([^/]+)/\d*/")
_ASKED = re.compile(r"debugfs: +ls -p <(\d+)>")
_ROOT, _FOLDER = 2, "04"
# A damaged tree may be endless.
_FOLDERS_MAX, _DEPTH_MAX = 200_000, 24
# Where copies of the superblock stand (mke2fs, sparse_super): the second group, by the size of a block.
_SUPERBLOCKS: tuple[Sequence[str], ...] = ((), ("-b", "4096", "-s", "32768"), ("-b", "1024", "-s", "8193"))
_SUPERBLOCK_AT, _INCOMPAT_AT, _NEEDS_RECOVERY = 1024, 0x60, 0x04


class NoReader(NotFound):
    """There is no debugfs here."""


def copy_states(card: Path, begin: int, into: Path) -> list[Path]:
    """Copy the journals in the ext4 that begins there, with their head files; the folders that hold the copies.

    Empty when the file system cannot be read, or has none. Raises NoReader.
    """
    into.mkdir()
    for superblock in _SUPERBLOCKS:
        reader = _Reader(card, begin, superblock, into)
        if states := reader.states():
            return [reader.copy(number, files) for number, files in enumerate(states)]
    return []


def unclean(card: Path, begin: int) -> bool:
    """Whether the ext4 was in use when its card was taken out, or the power failed."""
    with card.open("rb") as file:
        file.seek(begin + _SUPERBLOCK_AT + _INCOMPAT_AT)
        return bool(int.from_bytes(file.read(4), "little") & _NEEDS_RECOVERY)


class _Reader:
    def __init__(self, card: Path, begin: int, superblock: Sequence[str], into: Path) -> None:
        self._card = card
        self._begin = begin
        self._superblock = superblock
        self._into = into

    def states(self) -> list[dict[str, int]]:
        """The files of each folder that holds a journal: their inodes by name."""
        found, seen, level = [], {_ROOT}, [_ROOT]
        for _ in range(_DEPTH_MAX):
            below: list[int] = []
            for files, folders in self._list(level):
                if any(name.startswith("journal.db") for name in files):
                    found.append(files)
                below += [inode for inode in folders if inode not in seen]
                seen.update(folders)
            if not below or len(seen) > _FOLDERS_MAX:
                break
            level = list(dict.fromkeys(below))
        return found

    def copy(self, number: int, files: dict[str, int]) -> Path:
        """Copy these files into a folder of their own."""
        folder = self._into / f"state-{number}"
        folder.mkdir()
        self._ask([f"dump <{inode}> {name}" for name, inode in files.items()], folder)
        return folder

    def _list(self, inodes: list[int]) -> list[tuple[dict[str, int], list[int]]]:
        """What stands in each of these folders: the files that are ours, and the folders."""
        listed: list[tuple[dict[str, int], list[int]]] = []
        for line in self._ask([f"ls -p <{inode}>" for inode in inodes], self._into):
            if _ASKED.fullmatch(line):
                listed.append(({}, []))
            elif listed and (entry := _ENTRY.fullmatch(line)):
                inode, mode, name = int(entry[1]), entry[2], entry[3]
                if mode.startswith(_FOLDER) and name not in (".", ".."):
                    listed[-1][1].append(inode)
                elif WANTED.fullmatch(name):
                    listed[-1][0][name] = inode
        return listed

    def _ask(self, requests: list[str], folder: Path) -> list[str]:
        with self._card.open("rb") as file:
            # By its descriptor: a name may hold signs that mean something to debugfs.
            device = f"/proc/self/fd/{file.fileno()}" + (f"?offset={self._begin}" if self._begin else "")
            command = ["debugfs", "-c", *self._superblock, "-f", "/dev/stdin", device]
            try:
                done = subprocess.run(  # noqa: S603  a fixed program; the requests hold numbers and names of ours
                    command,
                    input="".join(request + "\n" for request in requests).encode(),
                    capture_output=True,
                    check=False,
                    cwd=folder,
                    pass_fds=(file.fileno(),),
                    env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "PAGER": "cat"},
                )
            except FileNotFoundError as error:
                raise NoReader("debugfs is not here: install e2fsprogs") from error
        return done.stdout.decode(errors="replace").splitlines()
