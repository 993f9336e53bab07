"""The root units: what is written, tried, kept and taken back, whenever the power goes."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.domain.canonical import canonical
from appliance.domain.update import BundleInfo, Outcome, Reason, Request, SlotsView, Verdict
from appliance.services.installing import TRIES_MAX, Installer
from appliance.storage.update_files import UpdateFiles, UpdateRecords
from tests.fakes.slots import FakeSlots, Killed
from tests.fakes.updates import BUNDLE, an_offer

OFFER = an_offer()
GOOD = Verdict()


class Machine:
    """A box with two slots; `asked` counts restarts that were asked for."""

    def __init__(self, folder: Path) -> None:
        (folder / "records").mkdir()
        self.files, self.records = UpdateFiles(folder / "update"), UpdateRecords(folder / "records")
        self.slots, self.asked, self.boots = FakeSlots(), 0, 1
        self.files.take(b"an offer")
        self.files.append(BUNDLE, 0)
        assert self.files.finish(OFFER.sha256)

    @property
    def version(self) -> str:
        return "0.1.0" if self.slots.booted == "A" else "0.2.0"

    def installer(self) -> Installer:
        return Installer(
            self.files, self.records, self.slots, self.version, f"boot-{self.boots}", self._restart
        )

    def ask(self, do: Any, **fields: Any) -> None:
        plain: dict[str, Any] = {"number": 1, "version": "0.2.0", "sha256": OFFER.sha256}
        self.files.ask(Request(do, **(plain | fields)))
        self.installer().serve()

    def start(self, verdict: Verdict = GOOD) -> None:
        """Power on, and what the commit unit does."""
        self.slots.start()
        self.boots += 1
        self.installer().settle(lambda: verdict)

    def install(self) -> None:
        self.ask("install")
        attempt = self.records.attempt()
        assert attempt is not None
        assert attempt.phase == "installed"

    @property
    def outcome(self) -> tuple[str, str]:
        said = self.records.outcome()
        assert said is not None
        return said.state, said.reason

    def _restart(self) -> None:
        self.asked += 1


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_release_that_proves_itself_is_kept(machine: Machine) -> None:
    machine.install()
    machine.ask("restart")
    machine.start()

    assert machine.outcome == ("updated", "")
    assert machine.records.outcome() == Outcome(1, "0.2.0", "updated", "0.1.0")
    assert (machine.slots.committed, machine.slots.written, machine.asked) == ("B", BUNDLE, 1)
    assert machine.records.attempt() is None
    machine.start()
    assert machine.slots.booted == "B"


def test_one_that_fails_its_proof_goes_back_with_the_reason(machine: Machine) -> None:
    machine.install()
    machine.ask("restart")
    machine.start(Verdict(Reason.SALE_FAILED, "no ack"))

    assert machine.outcome == ("rolled-back", Reason.SALE_FAILED)
    assert (machine.asked, machine.slots.calls[-1]) == (2, "give_up")
    machine.start()
    assert machine.slots.booted == "A"
    assert machine.outcome == ("rolled-back", Reason.SALE_FAILED)


def test_one_that_crashes_before_it_says_a_word_never_came_up(machine: Machine) -> None:
    machine.install()
    machine.ask("restart")
    machine.slots.start()  # the new slot, and it hangs
    machine.start()

    assert machine.slots.booted == "A"
    assert machine.outcome == ("rolled-back", Reason.NEVER_CAME_UP)
    assert machine.records.attempt() is None


def test_one_that_the_boot_loader_would_not_keep_goes_back(machine: Machine) -> None:
    machine.install()
    machine.ask("restart")
    machine.slots.fails = {"keep", "give_up"}
    machine.start()

    assert machine.outcome == ("rolled-back", Reason.NOT_COMMITTED)
    assert machine.asked == 2


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda m: m.files.bundle.write_bytes(b"other"), Reason.OTHER_BUNDLE),
        (lambda m: m.files.bundle.unlink(), Reason.NOT_INSTALLED),
        (lambda m: m.slots.fails.add("info"), Reason.BAD_SIGNATURE),
        (
            lambda m: setattr(m.slots, "said", BundleInfo("storebox-rpi", "0.2.0")),
            Reason.OTHER_HARDWARE,
        ),
        (lambda m: setattr(m.slots, "said", BundleInfo("storebox-amd64", "0.0.1")), Reason.OTHER_BUNDLE),
        (lambda m: m.slots.fails.add("install"), Reason.NOT_INSTALLED),
    ],
)
def test_what_must_not_be_installed_is_refused(
    machine: Machine, spoil: Callable[[Machine], object], reason: Reason
) -> None:
    spoil(machine)
    machine.ask("install")

    assert machine.outcome == ("refused", reason)
    assert (machine.slots.written, machine.records.attempt()) == (None, None)


def test_somebody_is_seen_at_work_from_before_the_request_goes_until_the_end(
    machine: Machine, tmp_path: Path
) -> None:
    seen = []

    class Watched(UpdateFiles):
        def take_request(self) -> Request | None:
            seen.append(machine.records.at_work())
            return super().take_request()

    class Asked(FakeSlots):
        def slots(self) -> SlotsView:
            attempt = machine.records.attempt()
            seen.append(machine.records.at_work() and attempt is not None)
            return super().slots()

    machine.files, machine.slots = Watched(tmp_path / "update"), Asked()
    assert not machine.records.at_work()
    machine.install()

    assert set(seen) == {True}
    assert not machine.records.at_work()


def test_what_is_killed_each_time_ends_with_a_reason(machine: Machine) -> None:
    for _ in range(TRIES_MAX):
        machine.slots.kill = "install"
        with pytest.raises(Killed):
            machine.ask("install")
        assert (machine.records.outcome(), machine.records.at_work()) == (None, False)
    machine.ask("install")

    assert machine.outcome == ("refused", Reason.NOT_INSTALLED)
    assert (machine.slots.calls.count("install"), machine.records.attempt()) == (TRIES_MAX, None)


def test_what_was_killed_once_is_installed_when_it_is_asked_again(machine: Machine) -> None:
    machine.slots.kill = "install"
    with pytest.raises(Killed):
        machine.ask("install")
    machine.install()

    assert machine.slots.written == BUNDLE


def test_while_rauc_still_writes_for_one_that_was_killed_nothing_is_said_of_this_one(
    machine: Machine,
) -> None:
    machine.slots.busy = True
    machine.ask("install")
    assert (machine.records.outcome(), machine.slots.written) == (None, None)
    attempt = machine.records.attempt()
    assert attempt is not None
    assert attempt.phase == "installing"

    machine.slots.busy = False
    machine.install()


def test_an_offer_before_does_not_count_against_this_one(machine: Machine) -> None:
    for number in range(1, TRIES_MAX + 2):
        machine.slots.kill = "install"
        with pytest.raises(Killed):
            machine.ask("install", number=number)

    machine.ask("install", number=TRIES_MAX + 2)
    assert machine.slots.written == BUNDLE


def test_nothing_is_tried_that_was_not_installed(machine: Machine) -> None:
    machine.ask("restart")
    machine.install()
    machine.ask("restart", sha256="cd" * 32)

    assert (machine.asked, machine.slots.once) == (0, "")


def test_what_cannot_be_tried_is_refused(machine: Machine) -> None:
    machine.install()
    machine.slots.fails = {"try_other"}
    machine.ask("restart")

    assert (machine.outcome, machine.asked) == (("refused", Reason.NOT_INSTALLED), 0)


def test_a_power_cut_after_the_writing_leaves_it_to_be_tried(machine: Machine) -> None:
    machine.install()
    machine.start()
    machine.ask("restart")
    machine.start()

    assert machine.outcome == ("updated", "")


def test_a_start_without_an_attempt_proves_nothing(machine: Machine) -> None:
    machine.start(Verdict(Reason.SALE_FAILED))

    assert (machine.asked, machine.records.outcome()) == (0, None)


@pytest.mark.parametrize(
    "plant",
    [
        lambda folder: (folder / "request").symlink_to("/etc/passwd"),
        lambda folder: (folder / "request").write_bytes(b"\xff"),
        lambda folder: (folder / "request").write_bytes(b"{" * 100_000),
        lambda folder: os.mkfifo(folder / "request"),
        lambda folder: (folder / "request").write_bytes(canonical({"do": "format", "number": 1})),
    ],
)
def test_a_request_that_is_none_is_taken_away_and_does_nothing(
    machine: Machine, tmp_path: Path, plant: Callable[[Path], object]
) -> None:
    plant(tmp_path / "update")
    machine.installer().serve()

    assert (machine.slots.calls, machine.asked) == ([], 0)
    assert not os.path.lexists(tmp_path / "update/request")


def test_a_link_in_place_of_the_folder_is_not_followed(machine: Machine, tmp_path: Path) -> None:
    machine.files.ask(Request("install", 1, "0.2.0", OFFER.sha256))
    (tmp_path / "update").rename(tmp_path / "elsewhere")
    (tmp_path / "update").symlink_to(tmp_path / "elsewhere")
    machine.installer().serve()

    assert machine.slots.calls == []
    assert (tmp_path / "elsewhere/request").exists()
