"""`python -m campaigns.powercut.lossyfs MOUNTPOINT`: a `Disk` as a file system, for processes to be cut off from.

One flat directory, in memory, one thread. It is told what to do by lines of JSON written to `.control`, whose answer
is read back from there; what is written to `.told` enters the recorded operations as words at that moment. At a cut the
process that was named dies by SIGKILL first, and from then on everything is refused until `power` comes back:
nothing that was still on its way can reach a disk without power.
"""

# ruff: noqa: ARG002  libfuse gives each call all its arguments

import errno
import os
import signal
import stat
import sys
from pathlib import Path
from typing import Any

import mfusepy
import msgspec

from campaigns.powercut.disk import (
    AnyOp,
    Create,
    Cut,
    Disk,
    Model,
    Rename,
    Sync,
    SyncFailed,
    SyncNames,
    Told,
    Truncate,
    Unlink,
    Write,
)

CONTROL, TOLD = "/.control", "/.told"
_SPECIAL = {CONTROL: 1, TOLD: 2}
_HANDLES_FROM = 10


class Order(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the campaign wants. `do` is one of: wipe, arm, cut, power, lie, fail_syncs, save.

    arm: at the `at`-th call that changes the disk, kill `pid` and cut. cut: kill `pid` and cut now. lie: fsync answers
    well and does nothing (0 ends it). fail_syncs: let `at` calls to fsync pass, fail the next `times`. save: the
    recorded operations into the file `path`, and begin a new recording.
    """

    do: str
    at: int = 0
    times: int = 0
    pid: int = 0
    model: Model = "lose"
    seed: str = ""
    path: str = ""


class Answer(msgspec.Struct, frozen=True):
    """Since the disk was new: its changes, of which fsyncs; cuts; failed fsyncs. And whether it has power."""

    changes: int
    syncs: int
    cuts: int
    failed: int
    powered: bool


def _refused(code: int) -> OSError:
    return OSError(code, os.strerror(code))


class LossyFs(mfusepy.Operations):
    """The file system calls, each turned into operations of the disk."""

    use_ns = True

    def __init__(self) -> None:
        self._next_handle = _HANDLES_FROM
        self._handles: dict[int, int] = {}
        self._new_disk()

    def _new_disk(self) -> None:
        self._disk = Disk()
        self._recorded: list[AnyOp] = []
        self._handles.clear()
        self._armed: Order | None = None
        self._left = 0
        self._lies = False
        self._syncs_to_pass = self._syncs_to_fail = 0
        self._powered = True
        self._changes = self._syncs = self._cuts = self._failed = 0

    # --- Orders

    def _obey(self, order: Order) -> None:
        match order.do:
            case "wipe":
                self._new_disk()
            case "arm":
                self._armed, self._left = order, order.at
            case "cut":
                self._cut(order)
            case "power":
                self._powered, self._armed = True, None
            case "lie":
                self._lies = bool(order.at)
            case "fail_syncs":
                self._syncs_to_pass, self._syncs_to_fail = order.at, order.times
            case "save":
                Path(order.path).write_bytes(msgspec.msgpack.encode(self._recorded))
                self._recorded = []
            case _:
                raise _refused(errno.EINVAL)

    def _cut(self, order: Order) -> None:
        if order.pid:
            os.kill(order.pid, signal.SIGKILL)
        self._do(Cut(order.model, order.seed))
        self._handles.clear()
        self._armed, self._powered = None, False
        self._syncs_to_fail = 0
        self._cuts += 1

    def _do(self, op: AnyOp) -> None:
        self._disk.apply(op)
        self._recorded.append(op)

    def _changing(self) -> None:
        """Count a call that is about to change the disk; the armed one is the last thing its process does."""
        self._need_power()
        self._changes += 1
        if self._armed is not None:
            self._left -= 1
            if self._left <= 0:
                self._cut(self._armed)
                raise _refused(errno.EIO)

    def _need_power(self) -> None:
        if not self._powered:
            raise _refused(errno.EIO)

    def _sync_works(self) -> bool:
        """Whether this fsync does its work; raises EIO when it is one that shall fail."""
        self._syncs += 1
        if self._syncs_to_pass:
            self._syncs_to_pass -= 1
        elif self._syncs_to_fail:
            self._syncs_to_fail -= 1
            self._failed += 1
            return False
        return True

    # --- The file system

    def _inode(self, path: str, handle: int | None = None) -> int:
        self._need_power()
        if handle is not None and handle >= _HANDLES_FROM:
            if handle not in self._handles:
                raise _refused(errno.EIO)  # opened before the cut, by a process that is no more
            return self._handles[handle]
        if path[1:] not in self._disk.names:
            raise _refused(errno.ENOENT)
        return self._disk.names[path[1:]]

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        """stat(2)."""
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o700, "st_nlink": 2}
        if path in _SPECIAL:
            return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": 4096}
        size = len(self._disk.files[self._inode(path, fh)].live)
        return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": size}

    def readdir(self, path: str, fh: int) -> list[str]:
        """The names; `.control` and `.told` are not among them."""
        return [".", "..", *self._disk.names]

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        """open(2) with O_CREAT."""
        self._changing()
        self._do(Create(path[1:], self._disk.next_inode))
        return self.open(path, 0)

    def open(self, path: str, flags: int) -> int:
        """open(2)."""
        if path in _SPECIAL:
            return _SPECIAL[path]
        inode = self._inode(path)
        self._next_handle += 1
        self._handles[self._next_handle] = inode
        return self._next_handle

    def release(self, path: str, fh: int) -> int:
        """The last close(2)."""
        self._handles.pop(fh, None)
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        """pread(2)."""
        if path == CONTROL:
            answer = Answer(self._changes, self._syncs, self._cuts, self._failed, self._powered)
            return msgspec.json.encode(answer)[offset : offset + size]
        return bytes(self._disk.files[self._inode(path, fh)].live[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        """pwrite(2)."""
        if path == CONTROL:
            self._obey(msgspec.json.decode(data, type=Order))
        elif path == TOLD:
            self._need_power()
            self._recorded.append(Told(data.decode()))
        else:
            inode = self._inode(path, fh)
            self._changing()
            self._do(Write(inode, offset, bytes(data)))
        return len(data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        """ftruncate(2)."""
        if path not in _SPECIAL:
            inode = self._inode(path, fh)
            self._changing()
            self._do(Truncate(inode, length))
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        """fsync(2) and fdatasync(2) of a file."""
        inode = self._inode(path, fh)
        self._changing()
        if not self._sync_works():
            self._do(SyncFailed(inode))
            raise _refused(errno.EIO)
        if not self._lies:
            self._do(Sync(inode))
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        """fsync(2) of the directory."""
        self._changing()
        if not self._sync_works():
            raise _refused(errno.EIO)
        if not self._lies:
            self._do(SyncNames())
        return 0

    def rename(self, old: str, new: str) -> int:
        """rename(2)."""
        self._inode(old)
        self._changing()
        self._do(Rename(old[1:], new[1:]))
        return 0

    def unlink(self, path: str) -> int:
        """unlink(2)."""
        self._inode(path)
        self._changing()
        self._do(Unlink(path[1:]))
        return 0

    def chmod(self, path: str, mode: int) -> int:
        """Nobody asks for the mode."""
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        """Nor for the owner."""
        return 0

    def utimens(self, path: str, times: Any = None) -> int:
        """Nor for the time."""
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        """Room without end: a full disk is another campaign's."""
        return {
            "f_bsize": 4096,
            "f_frsize": 4096,
            "f_blocks": 1 << 20,
            "f_bavail": 1 << 19,
            "f_bfree": 1 << 19,
        }


if __name__ == "__main__":
    mfusepy.FUSE(
        LossyFs(),
        sys.argv[1],
        foreground=True,
        nothreads=True,
        fsname="lossyfs",
        attr_timeout=0,
        entry_timeout=0,
        negative_timeout=0,
        hard_remove=True,  # else libfuse renames a file that is still open, which no disk does
    )
