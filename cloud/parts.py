"""What the handlers of head office call."""

from dataclasses import dataclass

from aiohttp import web

from appliance.domain.dsse import Signer
from appliance.runtime.clock import Clock
from cloud.auth import Door
from cloud.authority import Authority
from cloud.catalogue import Shelf
from cloud.database import Database
from cloud.enrolment import Enrolment
from cloud.fleet import FleetDesk
from cloud.ingest import Ingest
from cloud.limits import Strangers
from cloud.operations import OperationDesk
from cloud.policy import PolicyDesk
from cloud.renewal import Renewal
from cloud.rescue import RescueDesk
from cloud.selling import SaleDesk
from cloud.updates import UpdateDesk


@dataclass(frozen=True, slots=True)
class Parts:
    """What the handlers call; built once in wiring.py."""

    database: Database
    signer: Signer
    clock: Clock
    door: Door
    strangers: Strangers
    ingest: Ingest
    rescue: RescueDesk
    authority: Authority
    enrolment: Enrolment
    renewal: Renewal
    shelf: Shelf
    policy: PolicyDesk
    selling: SaleDesk
    operations: OperationDesk
    fleet: FleetDesk
    updates: UpdateDesk


PARTS = web.AppKey("parts", Parts)
