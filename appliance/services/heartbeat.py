"""Tell head office now and then, and when the line changes, how the box is, and hear what is new there.

How often is the shop's rhythm, but never more often than head office wants to hear.

Skipped while offline: there is nobody to tell, and how the line is, is the probe's business. A heartbeat that fails is
not made up for; the next one says more.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from appliance.domain.dsse import Signer
from appliance.domain.errors import BadSignature, CloudError
from appliance.domain.health import HEARTBEAT_EVERY_S_MAX, Heartbeat, HostReading, Multicast
from appliance.domain.link import LinkState
from appliance.domain.statements import HEARTBEAT_TYPE, sign
from appliance.domain.wire import PairingOrder, Status
from appliance.runtime.clock import Clock
from appliance.runtime.pause import pause
from appliance.services.gate import Gate
from appliance.services.ports import Cloud, Host
from appliance.services.wan import WanWatch

log = logging.getLogger(__name__)

# Not more often than head office can bear by mistake, not so rarely that it never hears again.
NEXT_S_MIN, NEXT_S_MAX = 1.0, HEARTBEAT_EVERY_S_MAX
SPREAD = 0.1


class LanView(NamedTuple):
    """Where tills reach the box, how many are paired, whether they see it by mDNS; how long its certificate holds."""

    addresses: Sequence[str] = ()
    port: int = 0
    tills_paired: int = 0
    multicast: Multicast = "unknown"
    certificate_s: float | None = None


class Heartbeater:
    """The loop that sends heartbeats.

    `status` reads the box. `nudge_catalogue` is called with the version that head office names, `nudge_update` with the
    number of the update that it offers, each time; they must not wait. A newer policy is fetched right here, since it
    is small and seldom. `rest_s` tells how long to rest now, by the shop's rhythm.
    """

    def __init__(
        self,
        cloud: Cloud,
        signer: Signer,
        wan: WanWatch,
        gate: Gate,
        host: Host,
        status: Callable[[], Status],
        clock: Clock,
        rng: random.Random,
        *,
        nudge_catalogue: Callable[[int], None],
        nudge_update: Callable[[int], None] = lambda _number: None,
        rest_s: Callable[[], float],
    ) -> None:
        self._cloud = cloud
        self._signer = signer
        self._wan = wan
        self._gate = gate
        self._host = host
        self._status = status
        self._clock = clock
        self._rng = rng
        self._nudge_catalogue = nudge_catalogue
        self._nudge_update = nudge_update
        self._rest_s = rest_s
        self._lan: Callable[[], LanView] = LanView
        self._ordered: Callable[[PairingOrder], None] = _nobody_pairs
        self._asked_s = NEXT_S_MIN
        self._line_changed = asyncio.Event()
        wan.listen(lambda _: self._line_changed.set())

    def attach(self, lan: Callable[[], LanView], ordered: Callable[[PairingOrder], None]) -> None:
        """The LAN is open: read it with `lan`, and tell `ordered` what head office wants of it; it must not wait."""
        self._lan, self._ordered = lan, ordered

    async def run(self) -> None:
        """Send heartbeats for ever: one as soon as the line is there, one at each change of it, else by the clock."""
        while True:
            while self._wan.link.state is LinkState.OFFLINE:
                await self._wan.changed()
            self._line_changed.clear()
            await self.step()
            spread = self._rng.uniform(1 - SPREAD, 1 + SPREAD)
            await pause(self._clock, self._next_s() * spread, self._line_changed)

    async def step(self) -> None:
        """One heartbeat, unless the box is offline; a cloud that cannot be reached or refuses is no error here."""
        if self._wan.link.state is LinkState.OFFLINE:
            return
        # psutil opens files; they are the kernel's, but the loop waits for nobody.
        host = await asyncio.to_thread(self._host.read)
        beat = heartbeat_of(self._status(), host, self._clock.reading().boot, self._next_s(), self._lan())
        try:
            answer = await self._cloud.heartbeat(sign(self._signer, HEARTBEAT_TYPE, beat))
            self._asked_s = min(max(answer.next_s, NEXT_S_MIN), NEXT_S_MAX)
            self._nudge_catalogue(answer.catalogue_version)
            self._nudge_update(answer.offer)
            if answer.pairing is not None:
                self._ordered(answer.pairing)
            if answer.policy_version > self._gate.policy.version:
                await self._gate.adopt(await self._cloud.policy())
        except (CloudError, BadSignature) as error:
            log.info("heartbeat.unfinished", extra={"code": error.code, "why": str(error)})

    def _next_s(self) -> float:
        return min(max(self._rest_s(), self._asked_s), NEXT_S_MAX)


def heartbeat_of(status: Status, host: HostReading, boot: str, next_s: float, lan: LanView) -> Heartbeat:
    """What a box in this state tells of itself."""
    journal, mode = status.journal, status.mode
    return Heartbeat(
        box=status.box,
        shop=status.shop,
        software=status.software,
        boot=boot,
        uptime_s=status.uptime_s,
        epoch=journal.epoch,
        seq=journal.seq,
        head=journal.head,
        synced_seq=journal.synced_seq,
        backlog=journal.backlog,
        oldest_waiting_s=journal.oldest_waiting_s,
        link=mode.link,
        cause=mode.cause,
        mode=mode.mode,
        catalogue_version=status.catalogue_version,
        catalogue_age_s=status.catalogue_age_s,
        policy_version=status.policy_version,
        tills_seen=status.tills_seen,
        disk_free_ratio=round(host.disk_free_ratio, 4),
        memory_rss_bytes=host.memory_rss_bytes,
        cpu_ratio=round(host.cpu_ratio, 4),
        issues=status.issues,
        flags=status.flags,
        next_s=next_s,
        addresses=list(lan.addresses),
        port=lan.port,
        tills_paired=lan.tills_paired,
        multicast=lan.multicast,
        certificate_s=lan.certificate_s,
        update=status.update,
        machine=status.machine,
    )


def _nobody_pairs(order: PairingOrder) -> None:
    log.warning("pairing.order_unheard", extra={"order": order.order})
