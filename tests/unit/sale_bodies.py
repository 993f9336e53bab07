"""Bodies of sales as tills post them, and the promise to whoever posts one."""

from typing import Any

import msgspec

from appliance.domain.errors import BadInput
from appliance.domain.flags import flags
from appliance.domain.sale import Sale, parse_sale
from tests.fakes.sales import a_line, a_sale_id, a_sale_json

VALID = a_sale_json(sale_id=a_sale_id(1))


def a_line_json(**overrides: Any) -> dict[str, Any]:
    return dict(msgspec.to_builtins(a_line())) | overrides


def read_or_refuse(body: bytes) -> Sale | None:
    """The promise to everybody who calls: a sale, or BadInput; and a sale that was read can be judged and stored."""
    try:
        sale = parse_sale(body)
    except BadInput:
        return None
    flags(sale)
    assert parse_sale(sale.encode()) == sale
    return sale
