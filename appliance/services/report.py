"""The box in numbers: for the status page, the metrics and the heartbeat."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from appliance.domain.event import content
from appliance.domain.update import UpdateView
from appliance.domain.wire import JournalView, Status
from appliance.runtime.clock import Clock
from appliance.services.disk import DiskWatch
from appliance.services.drain import Drain
from appliance.services.gate import Gate
from appliance.services.machine import MachineWatch
from appliance.services.mirror import MirrorKeeper
from appliance.services.operations import Operations
from appliance.services.presence import Presence
from appliance.services.retention import Retention
from appliance.services.selling import Selling
from appliance.services.updates import Updates
from appliance.services.wan import WanWatch
from appliance.services.witness import Witness
from appliance.storage.journal import Journal
from appliance.storage.mirror import Mirror


@dataclass(frozen=True, slots=True)
class Report:
    """Gathers what each part knows of itself; holds no state of its own.

    `more_issues`: of parts that are opened later.
    """

    box: str
    shop: str
    software: str
    started_s: float
    clock: Clock
    journal: Journal
    selling: Selling
    operations: Operations
    drain: Drain
    wan: WanWatch
    gate: Gate
    mirror: Mirror
    keeper: MirrorKeeper
    presence: Presence
    witness: Witness
    disk: DiskWatch
    retention: Retention
    machine: MachineWatch
    updates: Updates | None = None
    more_issues: list[Callable[[], list[str]]] = field(default_factory=list)

    def status(self) -> Status:
        """The box right now."""
        counts = self.selling.counts
        return Status(
            box=self.box,
            shop=self.shop,
            software=self.software,
            state=self._state(),
            uptime_s=round(self.clock.monotonic() - self.started_s, 3),
            mode=self.wan.mode_view(),
            journal=self.journal_view(),
            catalogue_version=self.mirror.version,
            catalogue_age_s=round(self.keeper.age_s, 3),
            articles=self.mirror.count,
            policy_version=self.gate.policy.version,
            tills_seen=self.presence.count(),
            issues=self.issues(),
            sales_accepted=counts.accepted,
            sales_replayed=counts.replayed,
            sales_conflicting=counts.conflicting,
            sales_flagged=counts.flagged,
            operations_refused=self.operations.counts.refused,
            operations_passed=self.operations.counts.passed,
            flags=dict(counts.by_flag),
            update=UpdateView() if self.updates is None else self.updates.view(),
            machine=self.machine.view,
        )

    def journal_view(self) -> JournalView:
        """The journal in numbers."""
        end = self.journal.end
        return JournalView(
            epoch=end.epoch,
            seq=end.seq,
            head=end.head.hex(),
            synced_seq=self.journal.synced().get(end.epoch, 0),
            backlog=self.journal.backlog(),
            oldest_waiting_s=round(self._oldest_waiting_s(), 3),
        )

    def issues(self) -> list[str]:
        """Stable codes of what a technician should look at; empty when all is well."""
        found = []
        if self.journal.fault is not None:
            found.append("storage-fault")
        if self.disk.full:
            found.append("disk-full")
        if self.witness.rolled_back is not None or self.drain.found_rollback:
            found.append("rolled-back")
        if self.drain.stopped is not None:
            found.append(f"drain-stopped-{self.drain.stopped.code}")
        if self.retention.stopped is not None:
            found.append("retention-stopped")
        if self.updates is not None and self.updates.went_back:
            found.append("update-rolled-back")
        found += [f"epoch-stranded-{epoch}" for epoch in self.drain.stranding.unsettled()]
        found += [f"journal-set-aside-{number}" for number in self.disk.asides]
        found += self.machine.issues()
        for more in self.more_issues:
            found += more()
        return found

    def _state(self) -> Literal["online", "degraded", "offline", "read-only", "fork"]:
        if self.journal.fault is not None or self.disk.full:
            return "read-only"
        if self.drain.stopped is not None:
            return "fork"
        return self.wan.link.state.value

    def _oldest_waiting_s(self) -> float:
        body = self.journal.oldest_waiting()
        if body is None:
            return 0.0
        event, now = content(body), self.clock.reading()
        if event.clock.boot == now.boot:
            return (now.mono_ns - event.clock.mono_ns) / 1e9
        # From an earlier run of the machine: only the wall clocks are left to compare, and they may be wrong.
        return max(0.0, (self.clock.wall() - datetime.fromisoformat(event.at)).total_seconds())
