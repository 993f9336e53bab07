"""Tell of a ticket that nobody will take: for the cashier, and for whoever follows the till."""

from collections.abc import Mapping
from typing import Any

from appliance.domain.errors import SaleConflict
from till.copy import Copy
from till.report import Conflict, RefusedLine, Tell
from till.sentences import Lang, sentence


def tell_refusal(copy: Copy, members: Mapping[str, Any], lang: Lang, tell: Tell) -> RefusedLine | None:
    """Tell that this copy was refused or withdrawn; None when it was neither. `members`: what the peer said of it."""
    if copy.state not in ("refused", "withdrawn"):
        return None
    code = copy.code or copy.state
    operation = members.get("operation")
    line = RefusedLine(
        code,
        sentence(code, members, lang),
        operation=operation if isinstance(operation, str) else None,
        sale_id=copy.sale_id,
        ticket_number=copy.ticket_number,
    )
    tell(line)
    if code == SaleConflict.code:
        tell(Conflict(copy.sale_id, copy.ticket_number))
    return line
