"""Every request is one sample of the line, told to whoever watches it."""

from typing import Protocol, Self

from appliance.domain.errors import CloudRefused, CloudUnreachable, OutcomeUnknown
from appliance.domain.link import Cause
from appliance.runtime.clock import Clock


class Observe(Protocol):
    """Whoever watches the line: how a request went, how long it took, and whether it was too large to tell by that."""

    def __call__(self, cause: Cause, took_s: float, *, bulk: bool = False) -> None: ...


class Sampling:
    """Tell the watch how one request went: good when `ok` was called, else by the error that leaves the block."""

    def __init__(self, clock: Clock, observe: Observe, bulk: bool) -> None:
        self._clock = clock
        self._observe = observe
        self._bulk = bulk
        self._told = False

    def __enter__(self) -> Self:
        self._began_s = self._clock.monotonic()
        return self

    def ok(self) -> None:
        """The request did what it was for."""
        self._tell(Cause.OK)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        while isinstance(error, OutcomeUnknown):
            error = error.__cause__
        if isinstance(error, CloudUnreachable):
            self._tell(Cause(error.fields["cause"]))
        elif isinstance(error, CloudRefused):
            # The cloud answered; but when it does not know us, nothing that needs it can pass.
            self._tell(Cause.REFUSED if error.fields["status"] in (401, 403) else Cause.OK)

    def _tell(self, cause: Cause) -> None:
        if not self._told:
            self._told = True
            self._observe(cause, self._clock.monotonic() - self._began_s, bulk=self._bulk)
