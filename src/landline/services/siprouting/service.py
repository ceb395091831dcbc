"""Direct routing: the configuration of each resource, and what a call to a number would do with it."""

from dataclasses import dataclass

import structlog

from landline.core.ids import ResourceId
from landline.ports.clock import Clock
from landline.services.numbers.service import Numbers
from landline.services.siprouting import model, records
from landline.services.siprouting.model import Configuration, Patch, Route
from landline.store.database import Database

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Plan:
    """How a call would leave: `routes` in the order they are tried, then `fallback`, or it fails."""

    configuration: Configuration
    routes: list[Route]
    fallback: bool
    """Whether the caller id is a number that the resource owns and may call from: its own carrier then takes it."""


class SipRouting:
    """Trunks and routes of all resources. Patches of one resource are done one after the other, each whole."""

    def __init__(self, database: Database, clock: Clock, numbers: Numbers) -> None:
        self._database = database
        self._clock = clock
        self._numbers = numbers

    async def get(self, resource: ResourceId) -> Configuration:
        async with self._database.connection() as connection:
            return await records.get(connection, resource)

    async def patch(self, resource: ResourceId, patch: Patch) -> Configuration:
        """What is configured once `patch` is done, and committed. Raises `model.BadConfiguration`; nothing is changed
        then."""
        now = self._clock.now()
        async with self._database.transaction() as connection:
            changed = model.patched(await records.lock(connection, resource, now), patch)
            await records.put(connection, resource, changed, now)
        log.info("siprouting.changed", resource=str(resource), trunks=len(changed.trunks), routes=len(changed.routes))
        return changed

    async def plan(self, resource: ResourceId, number: str, caller_id: str | None = None) -> Plan:
        """What a call from `caller_id` to `number` does (capabilities.md, direct routing). Raises `Invalid`."""
        configuration = await self.get(resource)
        routes = model.taken(configuration, number)
        owned = await self._numbers.sender(resource, caller_id) if caller_id else None
        return Plan(configuration, routes, owned is not None and owned.calling.outbound)
