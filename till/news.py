"""What the box tells, and whom it concerns."""

from collections.abc import Callable

from appliance.domain.wire import CatalogueView, ModeView, Status, SyncedView
from till.box import Box, View
from till.refresh import Refresh
from till.settling import Settling
from till.ways import Ways


class News:
    """Implements lookout.Listener: passes each piece of news on."""

    def __init__(self, ways: Ways, settling: Settling, refresh: Refresh, met: Callable[[], None]) -> None:
        """`met` is called at each new connection."""
        self._ways = ways
        self._settling = settling
        self._refresh = refresh
        self._met = met

    async def connected(self, box: Box, status: Status) -> None:
        """The box is there (again): hear what it proposes, settle what is open, look at its catalogue."""
        self._ways.proposed(status.mode)
        self._settling.met(box)
        self._refresh.offered(status.catalogue_version)
        self._met()

    async def told(self, box: Box, view: View) -> None:
        """One piece of news."""
        match view:
            case ModeView():
                self._ways.proposed(view)
            case SyncedView():
                await self._settling.synced(box.identity.box, view)
            case CatalogueView():
                self._refresh.offered(view.version)
