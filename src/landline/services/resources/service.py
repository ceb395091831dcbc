"""Communication resources: made, listed, their keys rotated; and which of them a request is for (fills `Tenants`)."""

import base64
import hmac
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import uuid4

import structlog

from landline.core.errors import Conflict, Invalid, NotFound, Unauthorized
from landline.core.ids import ResourceId
from landline.edge.tenancy import SigningKey, Tenancy
from landline.ports.clock import Clock
from landline.services.resources import model, records
from landline.services.resources.model import AccessKey, Resource, SealedKey, Slot
from landline.store.changes import Changes
from landline.store.database import Connection, Database
from landline.store.group_commit import GroupCommit
from landline.store.sealing import Sealer

log = structlog.get_logger()

SUBJECT = "resources"
GENERAL_LIMIT = 100
"""Resources whose keys are tried on a general host name, the oldest first; later ones need their own host name."""


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """All resources as of one moment."""

    by_name: dict[str, Resource]
    by_id: dict[ResourceId, Resource]
    tenancies: dict[str, Tenancy]
    general: Tenancy


class Resources:
    """`public_endpoint(name)` is the URL of a resource's endpoint; `default` is the resource that general host names
    serve for tokens which name none; `base_hosts` are the names below which each resource has its own."""

    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        clock: Clock,
        changes: Changes,
        public_endpoint: Callable[[str], str],
        *,
        default: str = "local",
        base_hosts: Sequence[str] = ("localhost",),
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock
        self._changes = changes
        self._public_endpoint = public_endpoint
        self._default = default
        self._base_hosts = tuple(model.host_name(host) for host in base_hosts)
        self._cached: _Snapshot | None = None
        self._version = 0
        self._loads: GroupCommit[None, _Snapshot] = GroupCommit(self._load_for, lanes=1, batch_limit=20_000)
        changes.watch(SUBJECT, self._forget)

    async def at(self, host: str) -> Tenancy:
        """See `edge.tenancy.Tenants.at`."""
        snapshot = self._cached if self._changes.trusted else None
        if snapshot is None:
            snapshot = await self._load()
        name = model.named_resource(host, self._base_hosts)
        if name is None:
            return snapshot.general
        tenancy = snapshot.tenancies.get(name)
        if tenancy is None:
            raise Unauthorized("The host name belongs to no resource of this server.")
        return tenancy

    async def ensure(self, name: str) -> Resource:
        """The resource called `name`, made when there is none. Raises `Invalid`."""
        async with self._database.connection() as connection:
            found = await records.by_name(connection, name)
        if found is not None:
            return found
        try:
            return await self.create(name)
        except Conflict:  # another process was faster
            return await self.get(name)

    async def create(self, name: str) -> Resource:
        """A new resource with two keys. Raises `Invalid` for a name that cannot be, `Conflict` for one that is."""
        resource = Resource(ResourceId(uuid4()), model.checked_name(name), model.LOCATION, self._clock.now())
        keys = [self._new_key(resource.resource_id, slot, generation=1) for slot in Slot]
        async with self._database.transaction() as connection:
            if not await records.insert(connection, resource, keys):
                raise Conflict(f"There is a resource called {name} already.", target="name")
            await self._changes.publish(connection, SUBJECT, name)
        self._changes.forget(SUBJECT, name)
        log.info("resources.created", resource=name)
        return resource

    async def get(self, name: str) -> Resource:
        """The resource called `name`. Raises `NotFound`."""
        async with self._database.connection() as connection:
            return await self._found(connection, name)

    async def list_all(self) -> list[Resource]:
        """All resources, the oldest first."""
        return list((await self._load()).by_name.values())

    async def by_id(self, resource_id: ResourceId) -> Resource:
        """The resource of that id, from the cache. Raises `NotFound`."""
        snapshot = self._cached if self._changes.trusted else None
        if snapshot is None:
            snapshot = await self._load()
        found = snapshot.by_id.get(resource_id)
        if found is None:
            raise NotFound("There is no such resource.")
        return found

    async def keys(self, name: str) -> list[AccessKey]:
        """The primary and the secondary key of the resource called `name`. Raises `NotFound`."""
        async with self._database.connection() as connection:
            resource = await self._found(connection, name)
            return [self._open(key) for key in await records.keys_of(connection, resource.resource_id)]

    async def rotate(self, name: str, slot: Slot) -> AccessKey:
        """A new key in `slot`. When this returns the old one opens nothing any more, nor do user tokens made with it;
        other processes drop the old key's signature as soon as the news reaches them. Raises `NotFound`."""
        async with self._database.transaction() as connection:
            resource = await self._found(connection, name)
            present = await records.keys_of(connection, resource.resource_id, lock=True)
            generation = next(key.generation for key in present if key.slot is slot) + 1
            key = self._new_key(resource.resource_id, slot, generation)
            await records.replace_key(connection, key, self._clock.now())
            await self._changes.publish(connection, SUBJECT, name)
        self._changes.forget(SUBJECT, name)
        log.info("resources.key_rotated", resource=name, slot=slot.value, generation=generation)
        return self._open(key)

    async def resolve(self, connection_string: str) -> Resource:
        """The resource that a connection string opens. Raises `Invalid` when it is none, `NotFound` when it opens none
        here."""
        host, text = model.parse_connection_string(connection_string)
        try:
            secret = base64.b64decode(text, validate=True)
        except ValueError:
            raise Invalid("The access key is not base64.", target="connectionString") from None
        snapshot = await self._load()
        named = model.named_resource(host, self._base_hosts)
        candidates = [snapshot.tenancies[named]] if named in snapshot.tenancies else []
        for tenancy in candidates if named is not None else snapshot.tenancies.values():
            for key in tenancy.keys:
                if hmac.compare_digest(key.secret, secret):
                    return snapshot.by_id[key.resource]
        raise NotFound("The connection string opens no resource of this server.")

    async def current_labels(
        self, connection: Connection, resource_ids: Sequence[ResourceId]
    ) -> set[tuple[ResourceId, str]]:
        """(resource, label) of the keys that are good at this moment, read from the database and not from a cache."""
        return await records.current_labels(connection, resource_ids)

    def connection_string(self, name: str, key: AccessKey) -> str:
        """What the official SDKs take: endpoint first, then the key, as the JavaScript ones insist."""
        endpoint = self._public_endpoint(name).rstrip("/")
        return f"endpoint={endpoint}/;accesskey={base64.b64encode(key.secret).decode()}"

    async def _found(self, connection: Connection, name: str) -> Resource:
        resource = await records.by_name(connection, name)
        if resource is None:
            raise NotFound(f"There is no resource called {name}.")
        return resource

    def _new_key(self, resource_id: ResourceId, slot: Slot, generation: int) -> SealedKey:
        blank = SealedKey(resource_id, slot, generation, b"")
        return SealedKey(resource_id, slot, generation, self._sealer.seal(os.urandom(model.KEY_BYTES), blank.purpose))

    def _open(self, key: SealedKey) -> AccessKey:
        return AccessKey(key.resource_id, key.slot, key.generation, self._sealer.open(key.sealed, key.purpose))

    def _forget(self, _name: str | None) -> None:
        self._version += 1
        self._cached = None

    async def _load(self) -> _Snapshot:
        """What the database holds at some moment after this call; calls during one reading share the next."""
        return await self._loads.submit(None)

    async def _load_for(self, callers: list[None]) -> list[_Snapshot]:
        version = self._version
        async with self._database.transaction() as connection:
            resources, keys = await records.everything(connection)
        snapshot = _snapshot(resources, [self._open(key) for key in keys], self._default)
        if version == self._version and self._changes.trusted:  # nothing changed while we read
            self._cached = snapshot
        return [snapshot] * len(callers)


def _snapshot(resources: Sequence[Resource], keys: Sequence[AccessKey], default: str) -> _Snapshot:
    signing: dict[ResourceId, list[SigningKey]] = {resource.resource_id: [] for resource in resources}
    for key in keys:
        if key.resource_id in signing:  # a resource made between the two reads waits for the next snapshot
            signing[key.resource_id].append(SigningKey(key.resource_id, key.label, key.secret))
    by_name = {resource.name: resource for resource in resources}
    tenancies = {
        resource.name: Tenancy(resource.resource_id, tuple(signing[resource.resource_id])) for resource in resources
    }
    first = sorted(resources, key=lambda resource: resource.name != default)[:GENERAL_LIMIT]
    general = Tenancy(
        None,
        tuple(key for resource in first for key in signing[resource.resource_id]),
        by_name[default].resource_id if default in by_name else None,
    )
    return _Snapshot(by_name, {resource.resource_id: resource for resource in resources}, tenancies, general)
