"""Sender pools of a resource: kept, cached, and asked which sender a recipient gets a message from."""

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from landline.core.errors import Invalid, NotFound, Unauthorized
from landline.core.ids import ResourceId
from landline.core.phone import SenderKind
from landline.services.numbers.service import Numbers
from landline.services.sms import records_opt_outs, records_pools
from landline.services.sms.model.pools import Pool, choose
from landline.store.changes import Changes
from landline.store.database import Database

_SUBJECT = "sms.pools"
_CACHED = 10_000
_MOST_SENDERS = 500
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)


class Pools:
    """Reads, sets and asks the pools."""

    def __init__(self, database: Database, changes: Changes, numbers: Numbers) -> None:
        self._database = database
        self._changes = changes
        self._numbers = numbers
        self._cache: OrderedDict[tuple[ResourceId, str], Pool] = OrderedDict()
        self._generation = 0
        changes.watch(_SUBJECT, self._forget)

    async def get(self, resource: ResourceId, name: str) -> Pool:
        """Raises `NotFound`."""
        key = (resource, name)
        if self._changes.trusted and key in self._cache:
            return self._cache[key]
        generation = self._generation
        async with self._database.connection() as connection:
            found = await records_pools.find(connection, resource, name)
        if found is None:
            raise NotFound(f"The resource has no sender pool {name!r}.", target="name")
        # What was read before a change was heard of is not kept: it may be from before that change.
        if self._changes.trusted and generation == self._generation:
            self._cache[key] = found
            while len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
        return found

    async def all_of(self, resource: ResourceId) -> list[Pool]:
        """The resource's pools by name."""
        async with self._database.connection() as connection:
            return await records_pools.of_resource(connection, resource)

    async def put(self, resource: ResourceId, pool: Pool) -> None:
        """Make `pool`, or make it so. Raises `Invalid` when its name or its senders will not do."""
        if not _NAME.fullmatch(pool.name):
            raise Invalid("A pool's name has 1 to 63 of a-z, 0-9, - and _.", target="name")
        if not 1 <= len(pool.senders) <= _MOST_SENDERS or len(set(pool.senders)) != len(pool.senders):
            raise Invalid(f"A pool has 1 to {_MOST_SENDERS} senders, each once.", target="senders")
        for sender in pool.senders:
            owned = await self._numbers.sender(resource, sender)
            if owned is None or not owned.sms_outbound:
                raise Invalid(f"The resource has no sender {sender} that can send texts.", target="senders")
            if owned.kind is SenderKind.ALPHANUMERIC and pool.sticky:
                raise Invalid("A sticky pool has no alphanumeric senders: nobody can answer them.", target="senders")
        async with self._database.transaction() as connection:
            await records_pools.put(connection, resource, pool)
            await self._changes.publish(connection, _SUBJECT, f"{resource} {pool.name}")
        self._changes.forget(_SUBJECT, f"{resource} {pool.name}")

    async def remove(self, resource: ResourceId, name: str) -> None:
        """Raises `NotFound`."""
        async with self._database.transaction() as connection:
            if not await records_pools.delete(connection, resource, name):
                raise NotFound(f"The resource has no sender pool {name!r}.", target="name")
            await self._changes.publish(connection, _SUBJECT, f"{resource} {name}")
        self._changes.forget(_SUBJECT, f"{resource} {name}")

    async def choose(self, resource: ResourceId, name: str, recipients: Sequence[str]) -> list[str]:
        """The sender for each of `recipients`, remembered where the pool is sticky. A sender that the resource has no
        more is passed over. Raises `Invalid` when there is no such pool; `Unauthorized` when it has none of them."""
        try:
            pool = await self.get(resource, name)
        except NotFound as error:  # ACS's answer to a send has no words for what is not found
            raise Invalid(error.message, target="from") from None
        while pool.senders:
            known = await self._known(resource, pool, recipients)
            chosen = {
                recipient: known[recipient] if known.get(recipient) in pool.senders else choose(pool, recipient)
                for recipient in recipients
            }
            gone = {sender for sender in set(chosen.values()) if not await self._numbers.may_send(resource, sender)}
            if not gone:
                fresh = {recipient: sender for recipient, sender in chosen.items() if known.get(recipient) != sender}
                if pool.sticky and fresh:
                    chosen |= await self._stick(resource, pool, fresh, known)
                return [chosen[recipient] for recipient in recipients]
            pool = replace(pool, senders=tuple(sender for sender in pool.senders if sender not in gone))
        raise Unauthorized(f"None of the senders of the pool {name!r} belongs to this resource.", target="from")

    async def _known(self, resource: ResourceId, pool: Pool, recipients: Sequence[str]) -> dict[str, str]:
        if not pool.sticky:
            return {}
        async with self._database.connection() as connection:
            return await records_pools.sticky(connection, resource, pool.name, recipients)

    async def _stick(
        self, resource: ResourceId, pool: Pool, fresh: Mapping[str, str], known: Mapping[str, str]
    ) -> dict[str, str]:
        async with self._database.transaction() as connection:
            # Whoever was first to write is right: of two requests at once both send from the same number.
            stuck = await records_pools.stick(connection, resource, pool, fresh)
            moved = [(recipient, known[recipient], to) for recipient, to in stuck.items() if recipient in known]
            if moved:  # who wants nothing from the sender he knew is not to get it from another
                await records_opt_outs.add_as(connection, resource, moved)
        return stuck

    def _forget(self, key: str | None) -> None:
        self._generation += 1
        if key is None:
            self._cache.clear()
            return
        for known in [known for known in self._cache if f"{known[0]} {known[1]}" == key]:
            del self._cache[known]
