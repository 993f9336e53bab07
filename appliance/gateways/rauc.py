"""RAUC on this machine, by its command: what a bundle is, which slots there are, and what is done to them. As root.

Everything blocks: it is called by the small root units alone.
"""

import subprocess
from pathlib import Path
from typing import Any

import msgspec

from appliance.domain.errors import StoreboxError
from appliance.domain.update import BundleInfo, SlotsBusy, SlotsView

# Reading a signature takes a moment; writing a slot minutes, on a card that dies many.
ASK_S, WRITE_S = 60.0, 3_600.0
# Its service does one thing at a time, and goes on when whoever asked it is gone.
BUSY = b"already processing a different method"


class RaucFailed(StoreboxError):
    """RAUC said no."""

    code, title = "rauc-failed", "RAUC could not do it"


class _Slot(msgspec.Struct, frozen=True):
    bootname: str | None = None
    state: str = ""


class _Status(msgspec.Struct, frozen=True):
    compatible: str
    booted: str | None
    slots: list[dict[str, _Slot]]


class _Info(msgspec.Struct, frozen=True):
    compatible: str
    version: str | None


class Rauc:
    """Implements services.slots.Slots. Each call raises RaucFailed, with RAUC's last words, or SlotsBusy."""

    def __init__(self, system: Path, program: str = "rauc") -> None:
        self._command = [program, f"--conf={system}"]

    def info(self, bundle: Path) -> BundleInfo:
        """What a bundle says of itself, once its signature holds."""
        said = self._json(["info", "--output-format=json", str(bundle)], _Info)
        return BundleInfo(said.compatible, said.version or "")

    def slots(self) -> SlotsView:
        """The slot that runs, and the other one, by their boot names."""
        said = self._json(["status", "--output-format=json"], _Status)
        names = [slot.bootname for row in said.slots for slot in row.values() if slot.bootname]
        others = [name for name in names if name != said.booted]
        if said.booted is None or len(others) != 1:
            raise RaucFailed(f"RAUC knows no two slots: {said.booted} of {sorted(names)}")
        return SlotsView(said.compatible, said.booted, others[0])

    def install(self, bundle: Path) -> None:
        """Write the other slot; what RAUC does not take is refused here."""
        self._run(["install", str(bundle)], WRITE_S)

    def try_other(self) -> None:
        """Have the other slot started once, at the next restart."""
        self._run(["status", "mark-active", "other"], ASK_S)

    def keep(self) -> None:
        """Have the slot that runs started from now on."""
        self._run(["status", "mark-good", "booted"], ASK_S)

    def give_up(self) -> None:
        """Never have the slot that runs started again by itself."""
        self._run(["status", "mark-bad", "booted"], ASK_S)

    def _json(self, arguments: list[str], kind: Any) -> Any:
        answer = self._run(arguments, ASK_S)
        try:
            return msgspec.json.decode(answer, type=kind)
        except msgspec.DecodeError as error:
            raise RaucFailed(f"RAUC's answer cannot be read: {error}") from error

    def _run(self, arguments: list[str], timeout_s: float) -> bytes:
        command = [*self._command, *arguments]
        try:
            done = subprocess.run(  # noqa: S603  a fixed program, and no shell reads the arguments
                command, capture_output=True, timeout=timeout_s, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RaucFailed(f"{arguments[0]}: {error}") from error
        if done.returncode != 0:
            said = f"{arguments[0]}: {_last_words(done.stdout, done.stderr)}"
            busy = BUSY in (done.stdout + done.stderr).lower()
            raise SlotsBusy(said) if busy else RaucFailed(said)
        return done.stdout


def _last_words(*outputs: bytes) -> str:
    """The line that says what was wrong: RAUC's LastError, else its last one."""
    text = "\n".join(output.decode(errors="replace") for output in outputs)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [line.removeprefix("LastError: ") for line in lines if line.startswith("LastError: ")]
    return (named or lines or ["nothing was said"])[-1]
