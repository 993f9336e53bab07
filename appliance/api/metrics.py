"""The status as Prometheus metrics. Every name is documented in docs/METRICS.md; a test holds the two together."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from appliance.domain.flags import FLAGS
from appliance.domain.health import MachineView
from appliance.domain.wire import Status


class StatusCollector(Collector):
    """One scrape of one status."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        """Every metric, with its value now."""
        status, journal = self._status, self._status.journal
        gauges = (
            ("uptime_seconds", "Since the daemon started", status.uptime_s),
            ("journal_epoch", "Epoch of the journal's end", journal.epoch),
            ("journal_seq", "Last seq of the epoch", journal.seq),
            ("journal_synced_seq", "Last seq of the epoch that the cloud receipted", journal.synced_seq),
            ("journal_backlog_events", "Events without a receipt", journal.backlog),
            (
                "journal_oldest_waiting_seconds",
                "Age of the oldest event without a receipt",
                journal.oldest_waiting_s,
            ),
            ("online", "1 when online-only operations may pass", float(status.state == "online")),
            ("catalogue_version", "Version of the mirrored catalogue", status.catalogue_version),
            ("catalogue_age_seconds", "Since the cloud last confirmed the mirror", status.catalogue_age_s),
            ("catalogue_articles", "Articles in the mirror", status.articles),
            ("policy_version", "Version of the gate's policy", status.policy_version),
            ("tills_seen", "Tills that asked for anything in the last five minutes", status.tills_seen),
            ("issues", "Things for a technician to look at", len(status.issues)),
        )
        counters = (
            ("sales_accepted", "Sales stored since start", status.sales_accepted),
            ("sales_replayed", "Sales answered again since start", status.sales_replayed),
            ("sales_conflicting", "Sale ids reused for other content since start", status.sales_conflicting),
            ("sales_flagged", "Sales stored although they do not add up, since start", status.sales_flagged),
            ("operations_refused", "Online-only operations refused since start", status.operations_refused),
            ("operations_passed", "Online-only operations passed on since start", status.operations_passed),
        )
        machine = status.machine
        told = (
            ("written_day_bytes", "Written to the journal's disk in 24 hours", machine.written_day_bytes),
            ("disk_errors", "Errors that the file system of the journal has counted", machine.disk_errors),
            ("disk_life_used_ratio", "Of what the flash was made for", machine.life_used_ratio),
            ("under_voltage", "1 while the supply sags", machine.under_voltage),
            ("watchdog_armed", "1 when the hardware resets a machine that hangs", _armed(machine)),
        )
        for name, text, value in gauges:
            yield GaugeMetricFamily(f"storebox_{name}", text, value=value)
        for name, text, maybe in told:
            # Without a value where the machine does not say: 0 would be an answer.
            yield GaugeMetricFamily(f"storebox_{name}", text, value=None if maybe is None else float(maybe))
        for name, text, value in counters:
            yield CounterMetricFamily(f"storebox_{name}", text, value=value)
        flags = CounterMetricFamily(
            "storebox_sales_flags", "Flags of stored sales since start, by flag", labels=("flag",)
        )
        for flag in FLAGS:
            flags.add_metric((flag,), status.flags.get(flag, 0))
        yield flags
        update = status.update
        yield GaugeMetricFamily(
            "storebox_update_fetched_bytes", "Of the update that is under way", value=update.fetched_bytes
        )
        at = GaugeMetricFamily(
            "storebox_update", "1 for what it runs and is at", labels=("running", "state", "version")
        )
        at.add_metric((update.running, update.state, update.version), 1)
        yield at
        info = GaugeMetricFamily(
            "storebox_link", "1 for the link's state and cause", labels=("state", "cause", "mode")
        )
        info.add_metric((status.mode.link, status.mode.cause, status.mode.mode), 1)
        yield info


def _armed(machine: MachineView) -> bool | None:
    return None if machine.watchdog == "none" else machine.watchdog == "armed"
