"""Subscriptions and their dead letters, as the operator sees them: add, change, validate, remove, list, replay."""

import hashlib
import os
import secrets as tokens
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import msgspec

from landline.core.errors import Conflict, Invalid, NotFound
from landline.core.ids import ResourceId, time_ordered
from landline.services.events import handshake, records_subscriptions
from landline.services.events.handshake import Answered
from landline.services.events.model import Schema, Secrets, Settings, State, Subscription, topic
from landline.services.events.records_subscriptions import DeadKey, Position, Row
from landline.services.events.service import SUBJECT, Events, Target
from landline.store.database import Connection

VALIDATION_TIME = timedelta(minutes=10)
SUBSCRIPTIONS_LIMIT = 500
_ROWS_AT_ONCE = 5000
_ROUNDS = 200
_CONSENTED = (State.ENABLED, State.DISABLED)
_TRIES = 10

Edit = Callable[[Settings, Secrets], tuple[Settings, Secrets]]
"""Makes the wanted settings and secrets of the present ones. May raise `Invalid`."""


class _Overtaken(Exception):
    """The subscription is gone, or was changed since it was read."""


class Subscriptions:
    """The use cases behind the admin API. Resources are given by name; an unknown one raises `NotFound`."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._database = events.database

    async def list(self, resource_name: str) -> list[Subscription]:
        """All subscriptions of a resource, by name."""
        resource = await self._events.resource_named(resource_name)
        async with self._database.connection() as connection:
            return await records_subscriptions.of_resource(connection, resource)

    async def get(self, resource_name: str, name: str) -> Subscription:
        """One subscription. Raises `NotFound`."""
        subscription, _ = await self._find(resource_name, name)
        return subscription

    async def add(self, resource_name: str, name: str, edit: Edit, *, validation: bool) -> Subscription:
        """Add a subscription, ask its endpoint for consent (unless not `validation`), and say where it stands.

        Raises `Conflict` when the name is taken or the resource has too many, `Invalid` when the endpoint can never be
        called.
        """
        resource = await self._events.resource_named(resource_name)
        settings, secrets = edit(Settings(""), Secrets())
        self._events.callout.check(settings.endpoint)
        now = self._events.clock.now()
        subscription = self._asking(
            Subscription(time_ordered(now, os.urandom(10)), resource, name, settings, State.VALIDATING, None, now),
            validation,
        )
        token = tokens.token_urlsafe(32)
        sealed = self._events.seal_secrets(subscription.subscription_id, secrets)
        async with self._database.transaction() as connection:
            if await records_subscriptions.count_and_lock(connection, resource) >= SUBSCRIPTIONS_LIMIT:
                raise Conflict(f"A resource can have {SUBSCRIPTIONS_LIMIT} subscriptions.", target="name")
            stored = _digest(token) if validation else None
            if not await records_subscriptions.insert(connection, subscription, sealed, stored):
                raise Conflict(f"There is a subscription {name} already.", target="name")
            await self._publish(connection, resource)
        self._forget(resource)
        return await self._ask(subscription, secrets, token) if validation else subscription

    async def change(
        self, resource_name: str, name: str, edit: Edit, *, enabled: bool | None, validation: bool
    ) -> Subscription:
        """Change settings, or switch on and off. Another endpoint or schema is asked for consent anew (unless not
        `validation`): one that has consented goes on as it is until the other does, and when that refuses. Raises
        `NotFound`, `Conflict`, `Invalid`."""
        return await _as_it_is(lambda: self._change(resource_name, name, edit, enabled=enabled, validation=validation))

    async def _change(
        self, resource_name: str, name: str, edit: Edit, *, enabled: bool | None, validation: bool
    ) -> Subscription:
        found, secrets = await self._find(resource_name, name)
        settings, wanted = edit(found.settings, secrets)
        moves = _place(settings) != _place(found.settings)
        if moves:
            self._events.callout.check(settings.endpoint)
            settings = msgspec.structs.replace(settings, rate_per_minute=None)
        if moves and validation and found.state in _CONSENTED:
            present = found if enabled is None else _switched(found, on=enabled)
            return await self._move(present, secrets, settings, wanted)
        changed = replace(found, settings=settings)
        pending_secrets = None
        if moves:
            changed = replace(self._asking(changed, validation), pending=None)
        elif found.pending is not None:
            pending, pending_secrets = edit(found.pending, await self._pending_secrets(found))
            if _place(pending) != _place(found.pending):  # back to what there is
                pending, pending_secrets = None, None
            changed = replace(changed, pending=pending)
        if enabled is not None:
            changed = _switched(changed, on=enabled)
        token = tokens.token_urlsafe(32)
        stored = _digest(token) if moves and validation else None
        await self._store(changed, wanted, stored, pending_secrets)
        return await self._ask(changed, wanted, token) if stored else changed

    async def validate(self, resource_name: str, name: str) -> Subscription:
        """Ask the endpoint for its consent again, or the one that a change waits for. One that has consented before
        goes on as it is meanwhile, and when it refuses. Raises `NotFound`, `Conflict`, and `Invalid` when that one
        refuses."""
        return await _as_it_is(lambda: self._validate(resource_name, name))

    async def _validate(self, resource_name: str, name: str) -> Subscription:
        found, secrets = await self._find(resource_name, name)
        if found.pending is not None:
            return await self._move(found, secrets, found.pending, await self._pending_secrets(found))
        if found.state in _CONSENTED:
            return await self._move(found, secrets, found.settings, secrets)
        token = tokens.token_urlsafe(32)
        wanted = self._asking(found, validation=True)
        await self._store(wanted, secrets, _digest(token))
        return await self._ask(wanted, secrets, token)

    async def consent(self, subscription: UUID, token: str, allowed_rate: str | None) -> None:
        """The endpoint's operator consents by the validation URL. Raises `NotFound` when nothing waits for this."""
        now = self._events.clock.now()
        rate = handshake.allowed_rate(allowed_rate)
        async with self._database.transaction() as connection:
            resource = await records_subscriptions.consent(connection, subscription, _digest(token), now, rate)
            if resource is None:
                raise NotFound("Nothing waits for this validation, or its time has passed.")
            await self._publish(connection, resource)
        self._forget(resource)

    async def remove(self, resource_name: str, name: str) -> None:
        """Remove a subscription; what waits for it, and its dead letters, go with it. Raises `NotFound`."""
        resource = await self._events.resource_named(resource_name)
        async with self._database.transaction() as connection:
            removed = await records_subscriptions.delete(connection, resource, name)
            if removed is None:
                raise NotFound(f"There is no subscription {name}.")
            await self._publish(connection, resource)
        self._forget(resource)
        for _ in range(_ROUNDS):
            if not await records_subscriptions.delete_waiting(self._database, resource, removed, _ROWS_AT_ONCE):
                return

    async def dead_letters(
        self, resource_name: str, name: str | None, after: Position | None, limit: int
    ) -> Sequence[Row]:
        """Dead letters, the oldest first (see `records_subscriptions.dead_letters`). Raises `NotFound`."""
        resource = await self._events.resource_named(resource_name)
        if name is not None:
            await self._find(resource_name, name)
        return await records_subscriptions.dead_letters(self._database, resource, name, after, limit)

    async def replay(self, resource_name: str, keys: Sequence[DeadKey]) -> int:
        """Deliver these dead letters again, from the first try on; how many of them there were."""
        resource = await self._events.resource_named(resource_name)
        revived = await records_subscriptions.revive(self._database, resource, keys, self._events.clock.now())
        self._wake()
        return revived

    async def replay_all(self, resource_name: str, name: str) -> int:
        """Deliver all dead letters of a subscription again; how many there were. Raises `NotFound`."""
        found, _ = await self._find(resource_name, name)
        now = self._events.clock.now()
        revived = 0
        for _ in range(_ROUNDS):
            count = await records_subscriptions.revive_all(
                self._database, found.resource, found.subscription_id, now, _ROWS_AT_ONCE
            )
            revived += count
            self._wake()
            if count < _ROWS_AT_ONCE:
                break
        return revived

    async def _find(self, resource_name: str, name: str) -> tuple[Subscription, Secrets]:
        resource = await self._events.resource_named(resource_name)
        found = await records_subscriptions.find(self._database, resource, name)
        if found is None:
            raise NotFound(f"There is no subscription {name}.")
        return found[0], self._events.open_secrets(*found)

    def _asking(self, subscription: Subscription, validation: bool) -> Subscription:
        if not validation:
            state = State.DISABLED if subscription.state is State.DISABLED else State.ENABLED
            return replace(subscription, state=state, reason=None, validating_until=None)
        until = self._events.clock.now() + VALIDATION_TIME
        return replace(subscription, state=State.VALIDATING, reason=None, validating_until=until)

    async def _move(self, present: Subscription, secrets: Secrets, settings: Settings, wanted: Secrets) -> Subscription:
        """Have `present` become what has `settings` and the secrets `wanted` once that endpoint consents."""
        token, until = tokens.token_urlsafe(32), self._events.clock.now() + VALIDATION_TIME
        # Stored first: the endpoint may consent by the validation URL before it has answered.
        waits = replace(present, pending=settings, validating_until=until)
        await self._store(waits, secrets, _digest(token), wanted)
        answered = await self._answered(replace(present, settings=settings), wanted, token)
        subscription, digest, refused = present.subscription_id, _digest(token), False
        async with self._database.transaction() as connection:
            if answered.state is State.ENABLED:
                now, rate = self._events.clock.now(), answered.rate_per_minute
                await records_subscriptions.consent(connection, subscription, digest, now, rate)
            elif answered.state is State.FAILED:
                refused = await records_subscriptions.not_moved(connection, subscription, digest)
            await self._publish(connection, present.resource)
        self._forget(present.resource)
        self._wake()
        if refused:
            reason = (answered.reason or "It did not consent.").rstrip(".")
            raise Invalid(f"{reason}: events go where they went, {present.settings.endpoint}.", target="endpoint")
        return await self._again(present)

    async def _pending_secrets(self, subscription: Subscription) -> Secrets:
        sealed = await records_subscriptions.pending_secrets(self._database, subscription.subscription_id)
        return Secrets() if sealed is None else self._events.open_secrets(subscription, sealed)

    async def _store(
        self, subscription: Subscription, secrets: Secrets, token: bytes | None, pending_secrets: Secrets | None = None
    ) -> None:
        own = subscription.subscription_id
        sealed = self._events.seal_secrets(own, secrets)
        pending = None if pending_secrets is None else self._events.seal_secrets(own, pending_secrets)
        async with self._database.transaction() as connection:
            if not await records_subscriptions.update(connection, subscription, sealed, token, pending):
                raise _Overtaken
            await self._publish(connection, subscription.resource)
        self._forget(subscription.resource)
        self._wake()

    async def _ask(self, subscription: Subscription, secrets: Secrets, token: str) -> Subscription:
        now = self._events.clock.now()
        answered = await self._answered(subscription, secrets, token)
        async with self._database.transaction() as connection:
            digest = _digest(token)
            if answered.state is State.ENABLED:
                await records_subscriptions.consent(
                    connection, subscription.subscription_id, digest, now, answered.rate_per_minute
                )
            else:
                await records_subscriptions.not_consented(
                    connection, subscription.subscription_id, digest, answered.state, answered.reason or ""
                )
            await self._publish(connection, subscription.resource)
        self._forget(subscription.resource)
        self._wake()
        return await self._again(subscription)

    async def _again(self, subscription: Subscription) -> Subscription:
        found = await records_subscriptions.by_id(self._database, subscription.subscription_id)
        if found is None:
            raise NotFound(f"There is no subscription {subscription.name}.")
        return found[0]

    async def _answered(self, subscription: Subscription, secrets: Secrets, token: str) -> Answered:
        """Ask the endpoint for its consent."""
        events = self._events
        name = await events.resource_name(subscription.resource)
        target = Target(subscription, secrets, topic(subscription.resource, name))
        url = f"{events.public_base_url}/eventGrid/validate?id={subscription.subscription_id}&token={token}"
        with events.clock.busy():
            return await handshake.ask(events.callout, target, url, events.public_base_url, events.clock.now())

    async def _publish(self, connection: Connection, resource: ResourceId) -> None:
        await self._events.changes.publish(connection, SUBJECT, str(resource))

    def _forget(self, resource: ResourceId) -> None:
        self._events.changes.forget(SUBJECT, str(resource))

    def _wake(self) -> None:
        if self._events.sender is not None:
            self._events.sender.wake()


async def _as_it_is(change: Callable[[], Awaitable[Subscription]]) -> Subscription:
    """What `change` makes of a subscription as it is by then: a consent, or another change, may come between."""
    for _ in range(_TRIES):
        try:
            return await change()
        except _Overtaken:
            continue
    raise Conflict("The subscription is being changed by others; try again.")


def _switched(subscription: Subscription, *, on: bool) -> Subscription:
    wanted = State.ENABLED if on else State.DISABLED
    if subscription.state not in (State.ENABLED, State.DISABLED):
        raise Conflict("The endpoint has not consented; validate the subscription first.", target="enabled")
    return replace(subscription, state=wanted, reason=None)


def _place(settings: Settings) -> tuple[str, Schema]:
    """What an endpoint consents to."""
    return settings.endpoint, settings.schema


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
