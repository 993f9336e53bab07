"""The slots of a box, as the root units need them. gateways/rauc.py provides it; tests bring one in memory."""

from pathlib import Path
from typing import Protocol

from appliance.domain.update import BundleInfo, SlotsView


class Slots(Protocol):
    """Each call blocks, and raises StoreboxError when it could not be done, SlotsBusy when not now."""

    def info(self, bundle: Path) -> BundleInfo:
        """What a bundle says of itself, once its signature holds."""
        ...

    def slots(self) -> SlotsView:
        """Which slot runs, and which is the other."""
        ...

    def install(self, bundle: Path) -> None:
        """Write the other slot."""
        ...

    def try_other(self) -> None:
        """Have the other slot started once, at the next restart."""
        ...

    def keep(self) -> None:
        """Have the slot that runs started from now on. Doing it again changes nothing."""
        ...

    def give_up(self) -> None:
        """Never have the slot that runs started again by itself."""
        ...
