"""Two slots in memory, with a boot loader that tries one once. Implements services.slots.Slots."""

from pathlib import Path

from appliance.domain.errors import StoreboxError
from appliance.domain.update import BundleInfo, SlotsBusy, SlotsView


class Killed(BaseException):
    """The kernel ends the root unit: nothing of ours runs any more."""


class FakeSlots:
    """`fails` names the calls that RAUC would refuse, `kill` the one in which the root unit is killed once."""

    def __init__(self) -> None:
        self.compatible = "storebox-amd64"
        self.said = BundleInfo("storebox-amd64", "0.2.0")
        self.booted, self.committed, self.once = "A", "A", ""
        self.written: bytes | None = None
        self.fails: set[str] = set()
        self.kill, self.busy = "", False
        self.calls: list[str] = []

    @property
    def other(self) -> str:
        return "B" if self.booted == "A" else "A"

    def start(self) -> None:
        """The machine starts: what is to be tried once is tried once."""
        self.booted, self.once = self.once or self.committed, ""

    def info(self, bundle: Path) -> BundleInfo:
        self._call("info")
        return self.said

    def slots(self) -> SlotsView:
        if self.busy:
            raise SlotsBusy("already at another one")
        return SlotsView(self.compatible, self.booted, self.other)

    def install(self, bundle: Path) -> None:
        self._call("install")
        self.written = bundle.read_bytes()

    def try_other(self) -> None:
        self._call("try_other")
        self.once = self.other

    def keep(self) -> None:
        self._call("keep")
        self.committed = self.booted

    def give_up(self) -> None:
        self._call("give_up")

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self.kill:
            self.kill = ""
            raise Killed
        if name in self.fails:
            raise StoreboxError(f"{name} failed")
