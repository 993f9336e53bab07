"""The seams at which a test plants a mistake. Here stand the product's own parts, and the world as it is."""

import random
from collections.abc import Callable
from pathlib import Path

import aiosqlite

from appliance.domain.statements import Keys
from appliance.runtime.clock import Clock
from appliance.services.drain import Drain
from appliance.storage.outgoing import Outgoing
from campaigns.simulation.card import Card
from campaigns.simulation.headoffice import HeadOffice


class Parts:
    """What a shop is built of; a test overrides one of these."""

    drain: type[Drain] = Drain
    # A card that was put back to an older copy: the box says so loudly, and a person decides.
    rollback = False

    def outgoing(self, reader: aiosqlite.Connection, _: Path) -> Outgoing:
        """What finds the next batch in the journal."""
        return Outgoing(reader)

    def office(self, box: str, keys: Keys, clock: Clock) -> HeadOffice:
        """Head office."""
        return HeadOffice(box, keys, clock)

    def card(self, folder: Path, rng: random.Random, cut: Callable[[str], None]) -> Card:
        """The card in one run of the machine."""
        return Card(folder, rng, cut)


class PutBack(Parts):
    """A world in which the card is put back to an older copy now and then."""

    rollback = True
