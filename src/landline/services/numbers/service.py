"""The inventory of senders: who may send from what, and whose a number is that a phone texted."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Generic, TypeVar
from uuid import UUID

from landline.core import phone
from landline.core.errors import Conflict, NotFound
from landline.core.ids import ResourceId
from landline.core.phone import SenderKind
from landline.ports.clock import Clock
from landline.services.numbers import model, records, records_holds
from landline.services.numbers.model import Directions, OwnedNumber
from landline.store.changes import Changes
from landline.store.database import Connection, Database

_SUBJECT = "numbers"
_CACHE_LIMIT = 8192

K = TypeVar("K", bound=Hashable)


class Numbers:
    """Senders and their owners. Look-ups are cached, also what was not found; a change is seen at once by every
    process that hears of changes, and the others do not cache."""

    def __init__(self, database: Database, clock: Clock, changes: Changes) -> None:
        self._database = database
        self._clock = clock
        self._changes = changes
        self._senders: _Cache[tuple[ResourceId, str]] = _Cache(_CACHE_LIMIT)
        self._owners: _Cache[str] = _Cache(_CACHE_LIMIT)
        changes.watch(_SUBJECT, self._forget)

    async def sender(self, resource: ResourceId, number: str) -> OwnedNumber | None:
        """`number` as `resource` owns it, or None when it does not."""
        key = (resource, number)
        if self._changes.trusted and key in self._senders:
            return self._senders.get(key)
        return await self._look_up(self._senders, key, number, lambda found: records.sender(found, resource, number))

    async def may_send(self, resource: ResourceId, number: str) -> bool:
        """Whether `resource` owns `number` and texts may be sent from it."""
        owned = await self.sender(resource, number)
        return owned is not None and owned.sms_outbound

    async def owner(self, number: str) -> OwnedNumber | None:
        """The phone number or short code with its one owner, or None. A sender name belongs to nobody in this sense."""
        if self._changes.trusted and number in self._owners:
            return self._owners.get(number)
        return await self._look_up(self._owners, number, number, lambda found: records.owner(found, number))

    async def add(
        self,
        resource: ResourceId,
        number: str,
        *,
        kind: SenderKind | None = None,
        sms: Directions | None = None,
        calling: Directions | None = None,
        carrier: str | None = None,
    ) -> OwnedNumber:
        """Give `number` to `resource`; what is None is as its kind usually has it. Raises `Invalid`, `Conflict`."""
        owned = model.owned(resource, number, kind=kind, sms=sms, calling=calling, carrier=carrier)
        if not await self._insert(owned):
            holder = await self.sender(resource, number)
            raise Conflict(
                "The resource owns this sender already." if holder else "Another resource owns this number.",
                target="number",
            )
        return owned

    async def remove(self, resource: ResourceId, number: str) -> None:
        """Take `number` from `resource`. Raises `NotFound`."""
        async with self._database.transaction() as connection:
            if not await records.delete(connection, resource, number):
                raise NotFound("The resource does not own this sender.", target="number")
            await records_holds.let_go(connection, number)
            await self._changes.publish(connection, _SUBJECT, _change(resource, number))
        self._changes.forget(_SUBJECT, _change(resource, number))

    async def ensure_dev_numbers(self, resource: ResourceId) -> list[OwnedNumber]:
        """Give `resource` the numbers of `landline dev` that nobody owns yet; what it owns then."""
        for number in model.DEV_NUMBERS:
            await self._insert(model.owned(resource, number, kind=None, sms=None, calling=None, carrier=None))
        return await self.list(resource)

    async def list(self, resource: ResourceId) -> list[OwnedNumber]:
        """Everything `resource` owns, in the order it was added."""
        async with self._database.connection() as connection:
            return await records.of_resource(connection, resource)

    async def publish(self, connection: Connection, resource: ResourceId, numbers: Iterable[str]) -> None:
        """Tell every process, when the transaction commits, that what `resource` has of `numbers` changed."""
        for number in numbers:
            await self._changes.publish(connection, _SUBJECT, _change(resource, number))

    def forget(self, resource: ResourceId, numbers: Iterable[str]) -> None:
        """After that commit: have this process see the change at once."""
        for number in numbers:
            self._changes.forget(_SUBJECT, _change(resource, number))

    async def _insert(self, owned: OwnedNumber) -> bool:
        change = _change(owned.resource, owned.number)
        async with self._database.transaction() as connection:
            if not await records.insert(connection, owned, self._clock.now()):
                return False
            await self._changes.publish(connection, _SUBJECT, change)
        self._changes.forget(_SUBJECT, change)
        return True

    async def _look_up(
        self, cache: "_Cache[K]", key: K, number: str, ask: Callable[[Connection], Awaitable[OwnedNumber | None]]
    ) -> OwnedNumber | None:
        if phone.sender_kind(number) is None:
            return None  # nobody's, and nothing to remember: what carriers call a recipient may have 64 KiB
        generation = cache.generation
        async with self._database.connection() as connection:
            found = await ask(connection)
        # What was read before a change was heard of is not kept: it may be from before that change.
        if self._changes.trusted and cache.generation == generation:
            cache.put(key, found)
        return found

    def _forget(self, change: str | None) -> None:
        if change is None:
            self._senders.clear()
            self._owners.clear()
        else:
            resource, _, number = change.partition(" ")
            self._senders.drop((ResourceId(UUID(resource)), number))
            self._owners.drop(number)


def _change(resource: ResourceId, number: str) -> str:
    return f"{resource} {number}"


class _Cache(Generic[K]):
    """What was found for the keys last asked for; `generation` counts what was dropped."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._found: OrderedDict[K, OwnedNumber | None] = OrderedDict()
        self.generation = 0

    def __contains__(self, key: K) -> bool:
        return key in self._found

    def get(self, key: K) -> OwnedNumber | None:
        self._found.move_to_end(key)
        return self._found[key]

    def put(self, key: K, found: OwnedNumber | None) -> None:
        if len(self._found) >= self._limit:
            self._found.popitem(last=False)
        self._found[key] = found

    def drop(self, key: K) -> None:
        self.generation += 1
        self._found.pop(key, None)

    def clear(self) -> None:
        self.generation += 1
        self._found.clear()
