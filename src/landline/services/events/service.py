"""Events on their way out: `emit` in the transaction of what happened, `committed` after it, `tries` to look back.

The deliveries go to this process's sender (worker.py) from memory; the rows are what survives a crash.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Protocol
from uuid import UUID

import msgspec
from msgspec.structs import replace

from landline.core.ids import ResourceId, ResourceNamed, time_ordered
from landline.ports.callout import Callout
from landline.ports.clock import Clock
from landline.services.events import model, records, records_subscriptions
from landline.services.events.model import Delivery, Emitted, Event, Secrets, State, Subscription, Try
from landline.store.blocks import LEASE, Blocks
from landline.store.changes import Changes
from landline.store.database import Connection, Database
from landline.store.parts import Part, execute
from landline.store.sealing import Sealer

SUBJECT = "events.subscriptions"
"""What subscriptions are called among `Changes`; the key is the resource."""
EMITTED_AT_ONCE = 500
"""Events that are made and written in one turn of the loop, some 20 ms."""
WRITTEN_AT_ONCE = 5_000
"""Deliveries that one statement writes, in about a second where they are rows: a batch of reports that hundreds of
webhooks want would take longer than a statement may, each time it is tried, and stand before all that follows it."""
_SECRETS = msgspec.json.Decoder(Secrets)


class NotAtOnce(Exception):
    """There are more deliveries than one statement writes; none is written."""


class Sender(Protocol):
    """What carries deliveries out of this process (worker.py)."""

    def room(self, subscription: UUID) -> int:
        """How many more deliveries of this subscription memory takes now."""
        ...

    def total_room(self) -> int:
        """How many more of all subscriptions together."""
        ...

    def take(self, deliveries: Sequence[Delivery]) -> None:
        """Deliver these, which are committed, in blocks this process holds."""
        ...

    def wake(self) -> None:
        """There is new work in the database."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """A subscription with all that a request to it needs."""

    subscription: Subscription
    secrets: Secrets
    topic: str


class Rooms:
    """What room a transaction found in memory, less what it has taken of it."""

    def __init__(self, sender: Sender | None) -> None:
        self._sender = sender
        self._total = 0 if sender is None else sender.total_room()
        self._of: dict[UUID, int] = {}

    def take(self, subscription: UUID) -> bool:
        """Whether there is room for one more of `subscription`, which has it then."""
        room = self._of.get(subscription)
        if room is None:
            room = 0 if self._sender is None else self._sender.room(subscription)
        fits = room > 0 and self._total > 0
        self._of[subscription] = room - fits
        self._total -= fits
        return fits


class Events:
    """The events of all resources and the webhooks that want them.

    At least once: every event of a committed transaction reaches each subscription that was enabled and wanted it, or
    ends as a dead letter; order is not kept. A repeat carries the same event id.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        changes: Changes,
        callout: Callout,
        sealer: Sealer,
        owner: UUID,
        *,
        public_base_url: str,
        resource_name: Callable[[ResourceId], Awaitable[str]],
        resource_named: ResourceNamed,
        share: Callable[[], int] = lambda: 1,
    ) -> None:
        """`share`: how many processes deliver events of this database, and share the rates that endpoints allow."""
        self.database = database
        self.clock = clock
        self.changes = changes
        self.callout = callout
        self.sealer = sealer
        self.owner = owner
        self.public_base_url = public_base_url.rstrip("/")
        self.resource_name = resource_name
        self.resource_named = resource_named
        self.share = share
        self.batches = Blocks(database, "events_batches", owner, by_key=True)
        """What was emitted and came to nothing yet, a row for each commit."""
        self.blocks = Blocks(database, "events_blocks", owner, by_key=True)
        """What was claimed of the rows that waited for another try."""
        self.held = (self.batches, self.blocks)
        self.sender: Sender | None = None
        self._enabled: dict[ResourceId, list[Subscription]] = {}
        self._targets: dict[UUID, Target] = {}
        self._generation = 0
        changes.watch(SUBJECT, self._forget)

    async def wants(self, connection: Connection, resource: ResourceId, types: Collection[str]) -> frozenset[str]:
        """Which of `types` an enabled subscription of `resource` asks for, so that nobody makes events in vain. The
        subjects it asks for are looked at by `emit`."""
        subscriptions = await self._enabled_of(connection, resource)
        return frozenset(
            each for each in types if any(model.matches_type(known.settings, each) for known in subscriptions)
        )

    async def emit_all(self, connection: Connection, events: Iterable[Event]) -> Emitted:
        """`emit` of as many events as there may be, which are made and written by and by: a batch of people who come to
        a chat is tens of thousands, and what else the process has to do comes in between."""
        rest, held, overflow = iter(events), list[Delivery](), False
        rooms = Rooms(self.sender)
        while piece := list(islice(rest, EMITTED_AT_ONCE)):
            emitted = await self.emit(connection, piece, rooms=rooms)
            held += emitted.deliveries
            overflow = overflow or emitted.overflow
            if len(piece) == EMITTED_AT_ONCE:
                await asyncio.sleep(0)  # of a piece that nobody wants nothing is written, so nothing was waited for
        return Emitted(held, overflow)

    async def emit(
        self,
        connection: Connection,
        events: Sequence[Event],
        beside: Sequence[Part] = (),
        *,
        rooms: Rooms | None = None,
        last: Part | None = None,
    ) -> Emitted:
        """Write `events` for every subscription that wants them, in the caller's transaction, and `beside` in the same
        statement, the last if there are several, whose first parts it becomes; that alone when none does. `last`: what
        becomes its outermost part; there is one statement then, or none, and `NotAtOnce` is raised.

        Give what it returns to `committed` after the commit. When that never happens, the events are delivered
        all the same, some time later. `rooms`: of the transaction, where it emits more than once.
        """
        now = self.clock.now()
        rooms = rooms or Rooms(self.sender)
        known: dict[ResourceId, list[Subscription]] = {}
        told: list[Delivery] = []
        written: list[Delivery] = []
        block = time_ordered(now, os.urandom(10))
        for event in events:
            subscriptions = known.get(event.resource)
            if subscriptions is None:
                subscriptions = known[event.resource] = await self._enabled_of(connection, event.resource)
            wanted = [one for one in subscriptions if model.matches(one.settings, event.type, event.subject)]
            if told and len(told) + len(wanted) > WRITTEN_AT_ONCE:
                if last is not None:
                    raise NotAtOnce
                await execute(connection, self._writing(told, block, now))
                written += told
                told, block = [], time_ordered(now, os.urandom(10))
            event_told = event if len(wanted) < 2 else replace(event, envelopes={})
            for subscription in wanted:
                held = block if rooms.take(subscription.subscription_id) else None
                told.append(Delivery(event_told, subscription.subscription_id, now, block=held))
        outermost = () if last is None else (last,)
        await execute(connection, [*beside, *self._writing(told, block, now), *outermost])
        written += told
        held = [delivery for delivery in written if delivery.block is not None]
        return Emitted(held, overflow=len(held) < len(written))

    def _writing(self, told: Sequence[Delivery], block: UUID, now: datetime) -> list[Part]:
        """New deliveries: those with a block in that one, held by this process, the others due at once for any."""
        held = [delivery for delivery in told if delivery.block is not None]
        overflow = [delivery for delivery in told if delivery.block is None]
        parts = [records.keeping(held, block, self.owner, now + LEASE, now)] if held else []
        return [*parts, records.inserting(overflow, now)] if overflow else parts

    def committed(self, emitted: Emitted) -> None:
        """The transaction of `emit` is committed: begin to deliver. Returns at once."""
        if self.sender is None:
            return  # held blocks are found again by any worker when their lease ends
        if emitted.deliveries:
            self.sender.take(emitted.deliveries)
        if emitted.overflow:
            self.sender.wake()

    async def tries(self, resource: ResourceId, about: UUID) -> list[Try]:
        """Each try of each webhook with events about this message, in the order of events and tries."""
        found: list[Try] = []
        for row, failures in await records.tries(self.database, resource, about):
            name = row["name"] or "(deleted)"
            found += [Try(name, f.at, f.attempt, f.status, f.error, None) for f in failures]
            if row["delivered_at"] is not None:
                found.append(Try(name, row["delivered_at"], row["attempts"], row["status"], None, None))
            elif failures and row["next_at"] is not None:
                last = failures[-1]
                found[-1] = Try(name, last.at, last.attempt, last.status, last.error, row["next_at"])
        return found

    async def erase(self, connection: Connection, resource: ResourceId, about: Sequence[UUID]) -> int:
        """Forget the events about these messages, wherever they stand but on their way for the first time; how many
        deliveries it were."""
        return await records.erase(connection, resource, about)

    def known_target(self, subscription: UUID) -> Target | None:
        """`target` as far as it is known; None when it has to be looked up."""
        return self._targets.get(subscription) if self.changes.trusted else None

    async def target(self, subscription: UUID) -> Target | None:
        """What a request to a subscription needs, or None when the subscription is gone."""
        target = self.known_target(subscription)
        if target is not None:
            return target
        generation = self._generation
        found = await records_subscriptions.by_id(self.database, subscription)
        if found is None:
            return None
        secrets = self.open_secrets(*found)
        name = await self.resource_name(found[0].resource)
        target = Target(found[0], secrets, model.topic(found[0].resource, name))
        if generation == self._generation:
            self._targets[subscription] = target
        return target

    def open_secrets(self, subscription: Subscription, sealed: bytes) -> Secrets:
        """The secrets of a subscription. Raises `WrongSeal`."""
        return _SECRETS.decode(self.sealer.open(sealed, _purpose(subscription.subscription_id)))

    def seal_secrets(self, subscription: UUID, secrets: Secrets) -> bytes:
        """`secrets` as they are stored."""
        return self.sealer.seal(msgspec.json.encode(secrets), _purpose(subscription))

    async def _enabled_of(self, connection: Connection, resource: ResourceId) -> list[Subscription]:
        known = self._enabled.get(resource)
        if known is not None and self.changes.trusted:
            return known
        generation = self._generation
        found = await records_subscriptions.of_resource(connection, resource)
        enabled = [subscription for subscription in found if subscription.state is State.ENABLED]
        if generation == self._generation:  # nothing changed while we read
            self._enabled[resource] = enabled
        return enabled

    def _forget(self, key: str | None) -> None:
        self._generation += 1
        if key is None:
            self._enabled.clear()
            self._targets.clear()
            return
        self._enabled.pop(ResourceId(UUID(key)), None)
        for known, target in list(self._targets.items()):
            if str(target.subscription.resource) == key:
                del self._targets[known]


def _purpose(subscription: UUID) -> str:
    return f"events.subscription:{subscription}"
