"""The SMS settings of each resource: stored as what it set itself, cached as what is in force, until they change."""

from collections import OrderedDict
from uuid import UUID

import msgspec

from landline.core.ids import ResourceId
from landline.services.sms import records_guard as records
from landline.services.sms.model import settings as model
from landline.services.sms.model.settings import Document, SmsSettings
from landline.store.changes import Changes
from landline.store.database import Database
from landline.wire import base

_SUBJECT = "sms.settings"
_CACHED = 10_000


class Settings:
    """Reads and sets them. A change is seen at once by every process that hears of changes; the others do not cache."""

    def __init__(self, database: Database, changes: Changes, defaults: SmsSettings) -> None:
        self._database = database
        self._changes = changes
        self._defaults: Document = msgspec.to_builtins(defaults)
        self._cache: OrderedDict[ResourceId, SmsSettings] = OrderedDict()
        self._generation = 0
        changes.watch(_SUBJECT, self._forget)

    async def of(self, resource: ResourceId) -> SmsSettings:
        """What is in force for `resource`. Raises `Unavailable` when the database has to be asked and is away."""
        cached = self._cache.get(resource)
        if cached is not None and self._changes.trusted:
            return cached
        generation = self._generation
        async with self._database.connection() as connection:
            stored = await records.settings(connection, resource)
        # A newer process of an upgrade may have stored more: what is sent here meanwhile is no less right for that.
        found = self._in_force(model.known(model.DOCUMENT.decode(stored)) if stored else {})
        # What was read before a change was heard of is not kept: it may be from before that change.
        if self._changes.trusted and generation == self._generation:
            self._cache[resource] = found
            while len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
        return found

    async def put(self, resource: ResourceId, document: Document) -> SmsSettings:
        """Have `resource` set exactly `document`, and return what is then in force. Raises `Invalid`, also for fields
        that nobody knows."""
        return await self._write(resource, document, replace=True)

    async def patch(self, resource: ResourceId, patch: Document) -> SmsSettings:
        """Apply `patch` (RFC 7396) to what `resource` set, and return what is then in force; what a newer version has
        stored beside it stays. Raises `Invalid`, also for fields of the patch that nobody knows."""
        return await self._write(resource, patch, replace=False)

    async def _write(self, resource: ResourceId, change: Document, *, replace: bool) -> SmsSettings:
        async with self._database.transaction() as connection:
            stored = await records.locked_settings(connection, resource)
            present: Document = {} if replace else model.DOCUMENT.decode(stored)
            found = self._in_force(model.merged(model.known(present), change))
            document = model.merged(present, change)
            await records.set_settings(connection, resource, model.ENCODER.encode(document).decode())
            await self._changes.publish(connection, _SUBJECT, str(resource))
        self._changes.forget(_SUBJECT, str(resource))
        return found

    def _in_force(self, document: Document) -> SmsSettings:
        """`document` over the defaults. Raises `Invalid`, its target the field's path."""
        found = base.decode(model.ENCODER.encode(model.merged(self._defaults, document)), model.DECODER)
        return msgspec.structs.replace(
            found,
            allowed_countries=model.checked_countries(found.allowed_countries),
            caps=model.checked_caps(found.caps),
        )

    def _forget(self, key: str | None) -> None:
        self._generation += 1
        if key is None:
            self._cache.clear()
        else:
            self._cache.pop(ResourceId(UUID(key)), None)
