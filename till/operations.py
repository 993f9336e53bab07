"""Online-only operations: asked for now or not at all, and whatever comes of it is told to the cashier."""

from collections.abc import Callable
from typing import Any

from appliance.domain.errors import OutcomeUnknown
from appliance.domain.link import Cause
from appliance.domain.wire import OperationRequest
from appliance.runtime.clock import Clock
from till.box import Box
from till.cloud import Cloud
from till.copy import Way
from till.errors import NoAnswer, Refused
from till.report import Passed, RefusedLine, Tell
from till.sentences import Lang, sentence
from till.ways import Ways


class Operations:
    """Asks head office: straight in cloud mode, otherwise through the box."""

    def __init__(
        self,
        ways: Ways,
        box: Callable[[], Box | None],
        cloud: Cloud | None,
        new_id: Callable[[], str],
        tell: Tell,
        lang: Lang,
        clock: Clock,
    ) -> None:
        self._ways = ways
        self._box = box
        self._cloud = cloud
        self._new_id = new_id
        self._tell = tell
        self._lang = lang
        self._clock = clock

    async def perform(self, name: str, data: dict[str, Any]) -> Passed | RefusedLine:
        """Ask for an operation; told, and never asked for again behind the cashier's back."""
        async with self._ways.ticket():
            line = await self._perform(name, OperationRequest(self._new_id(), data))
            self._tell(line)
            return line

    async def _perform(self, name: str, request: OperationRequest) -> Passed | RefusedLine:
        began_s = self._clock.monotonic()
        failures: list[NoAnswer | Refused] = []
        for way in self._ways.at_the_counter():
            try:
                # The same id on both ways: done once, even when the first answer was lost.
                await self._ask(way, name, request)
            except (NoAnswer, Refused) as error:
                failures.append(error)
                if isinstance(error, Refused) and error.final:
                    break
                if way == "cloud":
                    await self._ways.cloud_failed(error)
            else:
                took_ms = round((self._clock.monotonic() - began_s) * 1000, 3)
                return Passed(name, request.operation_id, way, took_ms)
        code, members = refusal(failures)
        return RefusedLine(
            code, sentence(code, members, self._lang), operation=name, operation_id=request.operation_id
        )

    async def _ask(self, way: Way, name: str, request: OperationRequest) -> None:
        if way == "cloud":
            assert self._cloud is not None  # an order without a cloud does not name it
            await self._cloud.operation(name, request)
        elif (box := self._box()) is not None:
            await box.operation(name, request)
        else:
            raise NoAnswer("no box found yet", cause=Cause.NO_ANSWER, in_doubt=False)


def refusal(failures: list[NoAnswer | Refused]) -> tuple[str, dict[str, Any]]:
    """What to tell after these failures, in order: a code, and what the peer said beside it.

    Once somebody may have done it unsaid, only a final answer about the very same id is a no.
    """
    last = failures[-1]
    if isinstance(last, Refused) and (last.final or not any(error.in_doubt for error in failures)):
        return last.problem_code, last.members
    if any(error.in_doubt for error in failures):
        return OutcomeUnknown.code, {}
    return NoAnswer.code, {}
