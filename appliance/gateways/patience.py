"""How long requests to head office may take, by kind."""

from dataclasses import dataclass

import aiohttp

from appliance.domain.link import PROBE_TIMEOUT_S


@dataclass(frozen=True, slots=True)
class Patience:
    """In seconds; tests are less patient than shops."""

    # A probe that takes longer than this says as much about the line as none at all.
    probe_s: float = PROBE_TIMEOUT_S
    call_s: float = 10.0
    connect_s: float = 5.0
    # Silence between two reads ends a request; a slow but living line may take long for a batch or a catalogue.
    silence_s: float = 10.0
    transfer_s: float = 600.0

    @property
    def probe(self) -> aiohttp.ClientTimeout:
        """For a probe."""
        return aiohttp.ClientTimeout(total=self.probe_s)

    @property
    def call(self) -> aiohttp.ClientTimeout:
        """For a small question."""
        return aiohttp.ClientTimeout(total=self.call_s, sock_connect=self.connect_s)

    @property
    def transfer(self) -> aiohttp.ClientTimeout:
        """For a batch or a catalogue."""
        return aiohttp.ClientTimeout(
            total=self.transfer_s, sock_connect=self.connect_s, sock_read=self.silence_s
        )


PATIENCE = Patience()
