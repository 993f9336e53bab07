"""The gate: which operations pass only while the box is online. The list is policy, data that the cloud signs.

An operation can be asked for by name, or hide inside a sale as a kind of line or tender; the policy says where.
Kinds of tender are the tills' own words, so they are compared without case and separators: `CreditNote` hides nothing
that `credit_note` would not.
"""

from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import Annotated

import msgspec
from msgspec import Meta

from appliance.domain.errors import OnlineOnly
from appliance.domain.link import Link
from appliance.domain.sale import LineType, Sale

OperationName = Annotated[str, Meta(pattern=r"^[a-z][a-z_]{0,39}$(?!\n)")]


class Rule(msgspec.Struct, frozen=True):
    """One online-only operation: where it hides in a sale, and the sentence for the cashier when it is refused."""

    fr: str
    en: str
    line_types: list[LineType] = []
    tender_types: list[str] = []


class Policy(msgspec.Struct, frozen=True, dict=True):
    """Every online-only operation of the chain. Policies replace one another whole; `version` only grows."""

    version: Annotated[int, Meta(ge=0)]
    online_only: dict[OperationName, Rule]

    @cached_property
    def hiding(self) -> tuple[frozenset[str], frozenset[str]]:
        """All kinds of line and, plain, of tender in which an operation hides: nearly every sale has none of them."""
        rules = self.online_only.values()
        return (
            frozenset(line_type for rule in rules for line_type in rule.line_types),
            frozenset(_plain(tender_type) for rule in rules for tender_type in rule.tender_types),
        )


def _rule(fr: str, en: str, **where: list[str]) -> Rule:
    return msgspec.convert({"fr": fr, "en": en, **where}, Rule)


# In force until the cloud's first signed policy arrives.
BUILT_IN = Policy(
    version=0,
    online_only={
        "transfer": _rule(
            "Transfert impossible hors ligne : le siège doit répondre.",
            "No transfers while offline: head office must answer.",
        ),
        "goods_reception": _rule(
            "Réception de marchandises impossible hors ligne.",
            "No goods receptions while offline.",
        ),
        "petty_cash_expense": _rule(
            "Dépense de caisse impossible hors ligne.",
            "No petty-cash expenses while offline.",
        ),
        "new_customer": _rule(
            "Création de client impossible hors ligne.",
            "No new customers while offline.",
        ),
        "credit_note": _rule(
            "Avoir impossible hors ligne : le siège doit le valider.",
            "No credit notes while offline: head office must approve.",
            line_types=["credit_note"],
            tender_types=["credit_note"],
        ),
        "deposit": _rule(
            "Acompte impossible hors ligne.",
            "No deposits while offline.",
            line_types=["deposit"],
            # A deposit that pays is taken up: offline, another shop could take up the same one.
            tender_types=["deposit"],
        ),
        "daily_closing": _rule(
            "Clôture journalière impossible hors ligne.",
            "No daily closing while offline.",
        ),
    },
)


def operations_in(sale: Sale, policy: Policy) -> Iterator[str]:
    """The online-only operations that hide in a sale, in the policy's order; voided lines hide nothing."""
    line_types = {line.line_type for line in sale.lines if not line.voided}
    tender_types = {_plain(tender.type) for tender in sale.tenders}
    hiding_lines, hiding_tenders = policy.hiding
    if line_types.isdisjoint(hiding_lines) and tender_types.isdisjoint(hiding_tenders):
        return
    for name, rule in policy.online_only.items():
        if not line_types.isdisjoint(rule.line_types) or not tender_types.isdisjoint(
            map(_plain, rule.tender_types)
        ):
            yield name


def admit(operation: str, link: Link, policy: Policy) -> None:
    """Let an operation pass, or raise OnlineOnly with the cashier's sentences and the link's cause."""
    rule = policy.online_only.get(operation)
    if rule is not None and not link.online:
        raise _refusal(operation, rule, link, policy)


def admit_sale(sale: Sale, link: Link, policy: Policy) -> None:
    """Let a sale pass, or raise OnlineOnly for the first operation that hides in it; `operations` names all of them."""
    if link.online:
        return
    hidden = list(operations_in(sale, policy))
    if hidden:
        raise _refusal(hidden[0], policy.online_only[hidden[0]], link, policy, operations=hidden)


def _refusal(operation: str, rule: Rule, link: Link, policy: Policy, **more: list[str]) -> OnlineOnly:
    return OnlineOnly(
        rule.en,
        operation=operation,
        sentence={"fr": rule.fr, "en": rule.en},
        link=link.state.value,
        cause=link.cause.value,
        policy_version=policy.version,
        **more,
    )


@lru_cache(maxsize=512)  # a shop has a dozen, and each sale offline is looked through
def _plain(tender_type: str) -> str:
    return "".join(sign for sign in tender_type.casefold() if sign.isalnum())
