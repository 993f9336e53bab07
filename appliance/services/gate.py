"""The gate with its policy: what may pass right now.

The policy is the cloud's, signed; until the first one came the built-in list is in force, so a box that never heard
of its cloud refuses what all refuse.
"""

import logging

from appliance.domain import gate
from appliance.domain.errors import BadSignature, CannotAccept
from appliance.domain.gate import BUILT_IN, Policy
from appliance.domain.sale import Sale
from appliance.domain.statements import POLICY_TYPE, Keys, verify
from appliance.services.wan import WanWatch
from appliance.storage.policies import Policies

log = logging.getLogger(__name__)


class Gate:
    """Judges operations and sales by the policy in force and the line's state. Call `load` once before use."""

    def __init__(self, policies: Policies, keys: Keys, wan: WanWatch) -> None:
        self._policies = policies
        self._keys = keys
        self._wan = wan
        self._policy = BUILT_IN

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._policy

    def knows(self, operation: str) -> bool:
        """Whether there is an operation of this name."""
        return operation in self._policy.online_only or operation in BUILT_IN.online_only

    def admit(self, operation: str) -> None:
        """Let an operation pass, or raise OnlineOnly."""
        gate.admit(operation, self._wan.link, self._policy)

    def admit_sale(self, sale: Sale) -> None:
        """Let a sale pass, or raise OnlineOnly for what hides in it."""
        gate.admit_sale(sale, self._wan.link, self._policy)

    async def load(self, enrolled: bytes | None = None) -> None:
        """Put the newest into force of the policy kept on disk and the one that came with enrolment.

        One that none of the cloud's keys signed, or that a later release kept in words not known here, is passed over:
        a shop that does not sell is worse than one under the policy built in.
        """
        envelope = await self._policies.load()
        if envelope is not None:
            try:
                self._policy = verify(envelope, POLICY_TYPE, Policy, self._keys)
            except BadSignature as error:
                log.warning("gate.kept_policy_unusable", extra={"why": str(error)})
        if enrolled is not None:
            try:
                await self.adopt(enrolled)
            except BadSignature as error:
                log.warning("gate.enrolled_policy_unusable", extra={"why": str(error)})

    async def adopt(self, envelope: bytes) -> bool:
        """Put a newer policy into force and keep it; False when it is not newer. Raises BadSignature.

        It is in force even when it cannot be kept: a full disk must not hold the gate open. It is then fetched again.
        """
        policy = verify(envelope, POLICY_TYPE, Policy, self._keys)
        if policy.version <= self._policy.version:
            return False
        self._policy = policy
        try:
            await self._policies.save(policy.version, envelope)
        except CannotAccept as error:
            log.error("gate.policy_not_kept", extra={"version": policy.version, "code": error.code})
        log.info("gate.policy_in_force", extra={"version": policy.version})
        return True
