"""What the root units do about an update: write the other slot, try it once, and keep it or go back. As root; blocks.

Every step is on disk before it is taken (domain/update.py, Attempt), so that a power cut anywhere leads to one of two
ends: the slot that ran runs again, or the new one runs and must prove itself.
"""

import logging
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from appliance.domain.errors import StoreboxError
from appliance.domain.update import (
    DETAIL_MAX,
    Attempt,
    End,
    Outcome,
    Phase,
    Reason,
    Request,
    SlotsBusy,
    Verdict,
)
from appliance.services.slots import Slots
from appliance.storage.update_files import UpdateFiles, UpdateRecords, sha256_of

log = logging.getLogger(__name__)

# So often the same bundle is begun in one run of the machine, each time an hour later (handover.py).
TRIES_MAX = 3
HOPELESS = Verdict(Reason.NOT_INSTALLED, f"begun {TRIES_MAX} times, and killed or kept waiting each time")


class Installer(NamedTuple):
    """`version` runs here, in this `boot` of the machine; `restart` restarts it."""

    files: UpdateFiles
    records: UpdateRecords
    slots: Slots
    version: str
    boot: str
    restart: Callable[[], None]

    def serve(self) -> None:
        """Do what the daemon asks, if it asks anything. Raises OSError."""
        with self.records.working():
            request = self.files.take_request()
            if request is None:
                return
            if request.do == "install":
                self._install(request)
            else:
                self._try(request)

    def settle(self, prove: Callable[[], Verdict]) -> None:
        """After a start: keep the release that is on trial once it has proven itself, else go back. Raises OSError."""
        attempt = self.records.attempt()
        if attempt is None:
            return
        try:
            on_trial = self.slots.slots().booted == attempt.slot
        except StoreboxError as error:
            # A release in which RAUC does not answer could never be kept, nor updated again.
            if self.version == attempt.version:
                self._judge(attempt, Verdict(Reason.NOT_COMMITTED, str(error)))
            return
        if on_trial:
            self._judge(attempt, prove())
        else:
            self._came_back(attempt)

    def _install(self, request: Request) -> None:
        tries = self._tries_before(request) + 1
        try:
            # Before RAUC is asked anything, so that a try counts wherever it is cut off.
            self._begin(request, "installing", "", tries)
            refusal = self._refusal(request) if tries <= TRIES_MAX else HOPELESS
            if refusal is None:
                self.slots.install(self.files.bundle)
                self._begin(request, "installed", self.slots.slots().other, tries)
                return
        except SlotsBusy as error:
            # No verdict on this one: it stays begun, and the daemon asks again.
            log.warning("update.busy", extra={"number": request.number, "why": str(error)})
            return
        except (StoreboxError, OSError) as error:
            refusal = Verdict(Reason.NOT_INSTALLED, str(error))
        self._end(request, "refused", refusal)

    def _tries_before(self, request: Request) -> int:
        attempt = self.records.attempt()
        if attempt is None or (attempt.number, attempt.sha256) != (request.number, request.sha256):
            return 0
        return attempt.tries

    def _refusal(self, request: Request) -> Verdict | None:
        """Why the bundle is not installed. RAUC judges it again as it installs: this names the reason."""
        if sha256_of(self.files.bundle) != request.sha256:
            return Verdict(Reason.OTHER_BUNDLE, "its SHA-256 is another one")
        try:
            said = self.slots.info(self.files.bundle)
        except StoreboxError as error:
            return Verdict(Reason.BAD_SIGNATURE, str(error))
        if said.compatible != self.slots.slots().compatible:
            return Verdict(Reason.OTHER_HARDWARE, f"it is for {said.compatible}")
        if said.version != request.version:
            return Verdict(Reason.OTHER_BUNDLE, f"its manifest says version {said.version}")
        return None

    def _try(self, request: Request) -> None:
        attempt = self.records.attempt()
        if attempt is None or attempt.phase != "installed" or attempt.sha256 != request.sha256:
            log.warning("update.nothing_to_try", extra={"number": request.number})
            return
        try:
            # In this order: cut in between, the trial happens without a note of it, and is judged all the same.
            self.slots.try_other()
        except StoreboxError as error:
            self._end(attempt, "refused", Verdict(Reason.NOT_INSTALLED, str(error)))
            return
        self.records.begin(msgspec.structs.replace(attempt, phase="restarting", boot=self.boot))
        self.restart()

    def _judge(self, attempt: Attempt, verdict: Verdict) -> None:
        if verdict.reason is None:
            try:
                self.slots.keep()
            except StoreboxError as error:
                verdict = Verdict(Reason.NOT_COMMITTED, str(error))
            else:
                self._end(attempt, "updated", verdict)
                return
        # The reason first: whatever happens to this slot now, the other one finds it.
        self._end(attempt, "rolled-back", verdict)
        try:
            self.slots.give_up()
        except StoreboxError as error:
            log.error("update.not_given_up", extra={"why": str(error)})
        self.restart()

    def _came_back(self, attempt: Attempt) -> None:
        """The slot from before runs: was the other one tried?"""
        if attempt.phase == "installed":
            return  # the power went before; it is still there to be tried
        if attempt.phase == "restarting":
            self._end(attempt, "rolled-back", Verdict(Reason.NEVER_CAME_UP, f"{attempt.slot} was tried once"))
        else:
            self.records.end(None)

    def _begin(self, of: Request, phase: Phase, slot: str, tries: int) -> None:
        self.records.begin(
            Attempt(of.number, of.version, of.sha256, self.version, slot, self.boot, phase, tries)
        )

    def _end(self, of: Request | Attempt, state: End, verdict: Verdict) -> None:
        was = of.was if isinstance(of, Attempt) else self.version
        detail = verdict.detail[:DETAIL_MAX]
        reason = "" if verdict.reason is None else verdict.reason.value
        self.records.end(Outcome(of.number, of.version, state, was, reason, detail))
        said = {"number": of.number, "version": of.version, "state": state}
        log.warning("update.ended", extra=said | {"reason": reason, "detail": detail})
