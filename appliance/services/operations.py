"""Online-only operations: passed to head office now, or refused now. Nothing waits behind the cashier's back."""

import logging
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from appliance.domain.errors import (
    CannotAccept,
    CloudRefused,
    CloudUnreachable,
    NotFound,
    OnlineOnly,
    OperationRejected,
    OutcomeUnknown,
)
from appliance.domain.sale import Sale
from appliance.domain.wire import OperationAnswer, OperationRequest
from appliance.services.gate import Gate
from appliance.services.ports import Cloud, Recorder

log = logging.getLogger(__name__)

# A till that asks again and again in the same words is refused each time, but fills the journal once.
REFUSALS_REMEMBERED = 1_024
# The cloud's own no, as opposed to one about who asks.
REJECTIONS = (409, 422)


@dataclass(slots=True)
class OperationCounts:
    """Since this process started; `passed` were done by the cloud."""

    passed: int = 0
    refused: int = 0
    rejected: int = 0
    unknown: int = 0


class Operations:
    """The use cases of what needs head office."""

    def __init__(self, gate: Gate, cloud: Cloud, recorder: Recorder) -> None:
        self._gate = gate
        self._cloud = cloud
        self._recorder = recorder
        self._recorded: OrderedDict[tuple[str, str], None] = OrderedDict()
        self.counts = OperationCounts()

    async def perform(self, name: str, request: OperationRequest, till: str) -> OperationAnswer:
        """Have head office do it, once however often it is asked with one id.

        Raises NotFound (no such operation), OnlineOnly (refused here, and recorded), OutcomeUnknown (ask again with
        the same id), OperationRejected (head office said no), CloudRefused (it does not know this box).
        """
        if not self._gate.knows(name):
            raise NotFound(f"no operation {name!r}")
        try:
            self._gate.admit(name)
        except OnlineOnly as refusal:
            await self._refused(refusal, ("operation_id", request.operation_id), till)
            raise
        try:
            answer = await self._cloud.operation(name, request)
        except (CloudUnreachable, OutcomeUnknown) as error:
            self.counts.unknown += 1
            raise OutcomeUnknown(operation=name, operation_id=request.operation_id) from error
        except CloudRefused as refusal:
            if refusal.fields.get("status") not in REJECTIONS:
                raise
            self.counts.rejected += 1
            problem = refusal.fields.get("problem")
            raise OperationRejected(str(refusal), operation=name, problem=problem) from refusal
        self.counts.passed += 1
        log.info(
            "operation.passed", extra={"operation": name, "operation_id": request.operation_id, "till": till}
        )
        return answer

    async def refused_in_sale(self, sale: Sale, till: str, error: OnlineOnly) -> None:
        """Record that the gate refused a sale because of what hides in it."""
        await self._refused(error, ("sale_id", sale.sale_id), till)

    async def _refused(self, refusal: OnlineOnly, asked: tuple[str, str], till: str) -> None:
        self.counts.refused += 1
        if asked in self._recorded:
            return
        self._recorded[asked] = None
        if len(self._recorded) > REFUSALS_REMEMBERED:
            self._recorded.popitem(last=False)
        data: dict[str, Any] = {"operation": refusal.fields["operation"], "cause": refusal.fields["cause"]}
        data |= dict([asked])
        try:
            await self._recorder.record("operation_refused", data, till=till)
        except CannotAccept as error:
            # The refusal stands, and the till hears it, even if the journal cannot.
            self._recorded.pop(asked, None)
            log.error("operation.refusal_not_recorded", extra={**data, "code": error.code})
