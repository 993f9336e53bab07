"""Which box stands in the place of ours: what head office signed about that, and nothing else.

A shop may have changed its box more than once while a till was in a drawer: the statements are followed one by one.
"""

from appliance.domain.dsse import Envelope
from appliance.domain.errors import BadSignature
from appliance.domain.keychain import Succession
from appliance.domain.statements import SUCCESSION_TYPE, verify
from appliance.domain.wire import Hello
from till.errors import NotOurBox
from till.identity import Pairing
from till.pin import Identity, identity_of

# More boxes than this have not died in one place since a till was last switched on.
STEPS_MAX = 8


class Successions:
    """The statements that this till has heard and verified."""

    def __init__(self) -> None:
        self._by_old: dict[str, Succession] = {}

    def learn(self, envelope: Envelope, pairing: Pairing) -> Succession:
        """A statement about our shop. Raises BadSignature when head office, as we know it, did not sign it."""
        said = verify(envelope, SUCCESSION_TYPE, Succession, pairing.keys_of_head_office())
        if said.shop != pairing.shop:
            raise BadSignature(f"a statement about shop {said.shop}, not about {pairing.shop}")
        self._by_old[said.old] = said
        return said

    def successor(self, box: str) -> Succession | None:
        """Who stands in the place of that box now, as far as we have heard."""
        last = None
        for _ in range(STEPS_MAX):
            if (step := self._by_old.get(box)) is None:
                break
            last, box = step, step.new
        return last


def check_successor(known: Successions, pairing: Pairing, met: Hello, spki: str) -> Identity:
    """The identity of a box that stands in the place of ours, and showed this TLS key. Raises NotOurBox otherwise."""
    identity = identity_of(met)
    if met.succession is not None:
        try:
            known.learn(met.succession, pairing)
        except BadSignature as error:
            raise NotOurBox(f"{met.box} shows a succession that is none: {error}") from error
    said = known.successor(pairing.box)
    if said is None or said.new != met.box:
        raise NotOurBox(
            f"{met.box} answers, but this till is paired with {pairing.box}", known=pairing.box, met=met.box
        )
    if said.fp not in identity.keys or said.spki != spki:
        raise NotOurBox(
            f"{met.box} answers with other keys than head office says", known=pairing.box, met=met.box
        )
    return identity
