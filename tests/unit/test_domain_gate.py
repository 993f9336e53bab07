"""What passes the gate, and what does not."""

import msgspec
import pytest

from appliance.domain.errors import OnlineOnly
from appliance.domain.gate import BUILT_IN, Policy, Rule, admit, admit_sale, operations_in
from appliance.domain.link import Cause, Link, LinkState
from appliance.domain.sale import Tender
from tests.fakes.sales import a_line, a_sale

ONLINE = Link(state=LinkState.ONLINE, cause=Cause.OK, mode="cloud")
OFFLINE = Link(state=LinkState.OFFLINE, cause=Cause.NO_DNS)
NOT_ONLINE = [
    OFFLINE,
    Link(),
    Link(state=LinkState.DEGRADED, cause=Cause.PROVING, first_success_s=1.0),
    Link(state=LinkState.DEGRADED, cause=Cause.SLOW, mode="cloud"),
]
PROMISED = {
    "transfer",
    "goods_reception",
    "petty_cash_expense",
    "new_customer",
    "credit_note",
    "deposit",
    "daily_closing",
}


def test_the_built_in_policy_holds_every_operation_that_was_promised() -> None:
    assert set(BUILT_IN.online_only) == PROMISED


@pytest.mark.parametrize("operation", sorted(PROMISED))
@pytest.mark.parametrize("link", NOT_ONLINE, ids=lambda link: link.cause.value)
def test_nothing_online_only_passes_unless_the_link_is_online(operation: str, link: Link) -> None:
    with pytest.raises(OnlineOnly) as refusal:
        admit(operation, link, BUILT_IN)

    fields = refusal.value.fields
    assert (fields["operation"], fields["cause"], fields["link"]) == (
        operation,
        link.cause.value,
        link.state.value,
    )
    assert fields["sentence"]["fr"]
    assert fields["sentence"]["en"] == str(refusal.value)


@pytest.mark.parametrize("operation", [*sorted(PROMISED), "anything_else"])
def test_everything_passes_while_online(operation: str) -> None:
    admit(operation, ONLINE, BUILT_IN)


def test_what_the_policy_does_not_name_passes_offline() -> None:
    admit("price_check", OFFLINE, BUILT_IN)


@pytest.mark.parametrize("line_type", ["deposit", "credit_note"])
def test_an_operation_that_hides_in_a_line_is_found(line_type: str) -> None:
    sale = a_sale(lines=[a_line(), a_line(line_type=line_type)])

    assert list(operations_in(sale, BUILT_IN)) == [line_type]
    with pytest.raises(OnlineOnly):
        admit_sale(sale, OFFLINE, BUILT_IN)


@pytest.mark.parametrize(
    ("tender", "operation"),
    [
        ("credit_note", "credit_note"),
        ("CreditNote", "credit_note"),
        ("CREDIT-NOTE", "credit_note"),
        ("Credit Note", "credit_note"),
        ("deposit", "deposit"),
    ],
)
def test_an_operation_that_hides_in_a_tender_is_found_however_it_is_written(
    tender: str, operation: str
) -> None:
    sale = a_sale(tenders=[Tender("cash", 299), Tender(tender, 1_000)])

    assert list(operations_in(sale, BUILT_IN)) == [operation]


def test_a_voided_line_hides_nothing() -> None:
    sale = a_sale(lines=[a_line(), a_line(line_type="deposit", voided=True)])

    assert list(operations_in(sale, BUILT_IN)) == []
    admit_sale(sale, OFFLINE, BUILT_IN)


@pytest.mark.parametrize("line_type", ["sale", "return", "voucher"])
def test_an_ordinary_sale_passes_offline(line_type: str) -> None:
    admit_sale(a_sale(lines=[a_line(line_type=line_type)]), OFFLINE, BUILT_IN)


def test_a_refused_sale_names_the_first_operation_and_lists_them_all() -> None:
    sale = a_sale(lines=[a_line(line_type="deposit"), a_line(line_type="credit_note")])

    with pytest.raises(OnlineOnly) as refusal:
        admit_sale(sale, OFFLINE, BUILT_IN)

    assert refusal.value.fields["operation"] == "credit_note"
    assert refusal.value.fields["operations"] == ["credit_note", "deposit"]


def test_a_sale_with_everything_in_it_passes_while_online() -> None:
    admit_sale(a_sale(lines=[a_line(line_type="deposit"), a_line(line_type="credit_note")]), ONLINE, BUILT_IN)


def test_a_policy_replaces_the_one_before_whole() -> None:
    policy = Policy(
        version=2, online_only={"gift_card": Rule(fr="Non.", en="No.", tender_types=["gift_card"])}
    )

    admit("deposit", OFFLINE, policy)
    with pytest.raises(OnlineOnly):
        admit_sale(a_sale(tenders=[Tender("gift_card", 1_299)]), OFFLINE, policy)


@pytest.mark.parametrize(
    "broken",
    [
        b'{"version":1,"online_only":{"Bad Name":{"fr":"a","en":"b"}}}',
        b'{"version":-1,"online_only":{}}',
        b'{"version":1,"online_only":{"deposit":{"fr":"a"}}}',
        b'{"version":1,"online_only":{"deposit":{"fr":"a","en":"b","line_types":["dposit"]}}}',
    ],
)
def test_a_policy_that_cannot_be_meant_is_not_read(broken: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(broken, type=Policy)


def test_what_a_later_head_office_says_beside_is_passed_over_and_the_rest_is_in_force() -> None:
    said = (
        b'{"version":1,"online_only":{"deposit":{"fr":"a","en":"b","till_types":["self"]}},"season":"sale"}'
    )

    assert msgspec.json.decode(said, type=Policy) == Policy(1, {"deposit": Rule("a", "b")})
