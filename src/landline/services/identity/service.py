"""Communication users and their access tokens: created, issued, revoked, checked. Fills `edge.tenancy.UserTokens`.

Whether a token is still good is asked of the database for every request, so that revocation, deletion and key rotation
count at once in every process; requests that arrive together share one question.
"""

import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog

from landline.core.errors import Expired, NotFound, Unauthorized
from landline.core.ids import RawId, ResourceId, split_user_raw_id, time_ordered, user_raw_id
from landline.edge.http import Caller
from landline.ports.clock import Clock
from landline.services.identity import model, records, tokens
from landline.services.identity.model import Claims, Token, User
from landline.services.identity.signing_keys import SigningKeys
from landline.services.resources.service import Resources
from landline.store.changes import Changes
from landline.store.database import Connection, Database
from landline.store.group_commit import GroupCommit
from landline.store.sealing import Sealer

log = structlog.get_logger()

TOKENS = "identity.tokens"
"""Subject of `store.changes`: the tokens of the user whose raw id is the key are worthless from now on."""
DELETED = "identity.deleted"
"""Likewise: the user whose raw id is the key is deleted."""
_READ_TOKENS = 4096

Told = Callable[[Connection, ResourceId, RawId], Awaitable[None]]
"""Called in the transaction that deletes a user."""


@dataclass(frozen=True, slots=True)
class _Standing:
    """What the database says about a token's user and resource. `generation` is None when the user is gone."""

    generation: int | None
    key_labels: frozenset[str]


class Identity:
    """The identity service of all resources. Call `start` before the first request."""

    def __init__(
        self, database: Database, sealer: Sealer, clock: Clock, changes: Changes, resources: Resources
    ) -> None:
        self._database = database
        self._clock = clock
        self._changes = changes
        self._resources = resources
        self._keys = SigningKeys(database, sealer, clock, changes)
        self._creations: GroupCommit[User, None] = GroupCommit(self._insert)
        self._questions: GroupCommit[tuple[ResourceId, UUID], _Standing] = GroupCommit(self._look_up, batch_limit=500)
        self._told: list[Told] = []
        self._read: OrderedDict[str, Claims] = (
            OrderedDict()
        )  # tokens whose signature was checked; one that retires is expired by then

    def when_deleted(self, told: Told) -> None:
        """Have `told` take away, or note to, what else there is of a user that is deleted."""
        self._told.append(told)

    async def start(self) -> None:
        """Make the deployment's signing key when there is none. Raises `WrongSeal` when it does not open."""
        await self._keys.present()

    async def create(self, caller: Caller, scopes: list[str] | None, minutes: int | None) -> tuple[User, Token | None]:
        """A new user, committed, and with `scopes` a token for it. Raises `Invalid`."""
        wanted = model.checked_scopes(scopes, target="CreateTokenWithScopes") if scopes else None
        life = model.checked_minutes(minutes)
        now = self._clock.now()
        user = User(caller.resource, time_ordered(now, os.urandom(10)), now)
        await self._creations.submit(user)
        if wanted is None:
            return user, None
        return user, await self._token(caller, user.user_id, wanted, life, generation=0)

    async def issue(self, caller: Caller, raw_id: str, scopes: list[str] | None, minutes: int | None) -> Token:
        """A token for the user `raw_id`. Raises `Invalid`, `IdentityNotOwned`, `NotFound`."""
        wanted = model.checked_scopes(scopes, target="Scopes")
        life = model.checked_minutes(minutes)
        user_id = model.owned_user(raw_id, caller.resource)
        standing = await self._questions.submit((caller.resource, user_id))
        if standing.generation is None:
            raise _no_such_user()
        return await self._token(caller, user_id, wanted, life, generation=standing.generation)

    async def revoke(self, caller: Caller, raw_id: str) -> None:
        """Every token the user has is worthless when this returns. Raises `Invalid`, `IdentityNotOwned`,
        `NotFound`."""
        user_id = model.owned_user(raw_id, caller.resource)
        async with self._database.connection() as connection:
            if not await records.revoke_tokens(connection, caller.resource, user_id):
                raise _no_such_user()
            await self._changes.publish(connection, TOKENS, user_raw_id(caller.resource, user_id))

    async def delete(self, caller: Caller, raw_id: str) -> None:
        """The user and its tokens are gone when this returns, and soon all it had (`when_deleted`). Raises `Invalid`,
        `IdentityNotOwned`, `NotFound`."""
        user_id = model.owned_user(raw_id, caller.resource)
        user = user_raw_id(caller.resource, user_id)
        async with self._database.transaction() as connection:
            if not await records.delete_user(connection, caller.resource, user_id):
                raise _no_such_user()
            for told in self._told:
                await told(connection, caller.resource, user)
            await self._changes.publish(connection, TOKENS, user)
            await self._changes.publish(connection, DELETED, user)

    async def existing(self, resource: ResourceId, raw_ids: Collection[RawId]) -> set[RawId]:
        """Which of `raw_ids` are users of `resource`."""
        users = {raw_id: ids for raw_id in raw_ids if (ids := split_user_raw_id(raw_id)) and ids[0] == resource}
        async with self._database.connection() as connection:
            found = await records.generations(connection, [(resource, user) for _, user in users.values()])
        return {raw_id for raw_id, (_, user) in users.items() if (resource, user) in found}

    async def check(self, token: str) -> Caller:
        """See `edge.tenancy.UserTokens.check`."""
        claims = await self._claims(token)
        user = claims.user if claims is not None else None
        if claims is None or user is None:
            raise Unauthorized("The token was not issued by this server.")
        ago_s = self._clock.now().timestamp() - claims.exp
        if ago_s >= 0:
            raise Expired("The token has expired.", ago_s=ago_s)
        standing = await self._questions.submit(user)
        if standing.generation != claims.generation:
            raise Unauthorized("The token has been revoked.")
        if claims.key and claims.key not in standing.key_labels:
            raise Unauthorized("The access key that the token was made with has been replaced.")
        raw_id = User(user[0], user[1], self._clock.now()).raw_id
        return Caller(user[0], user=raw_id, scopes=frozenset(claims.acsScope.split(",")))

    async def jwks(self) -> dict[str, Any]:
        """The public keys that verify the tokens in circulation (RFC 7517)."""
        keys = await self._keys.present()
        return tokens.jwks(keys.by_header.values())

    async def rotate_signing_key(self) -> str:
        """Sign with a new key from now on; returns its kid. Tokens in circulation stay good."""
        return await self._keys.rotate()

    async def _token(self, caller: Caller, user_id: UUID, scopes: list[str], minutes: int, *, generation: int) -> Token:
        resource = await self._resources.by_id(caller.resource)
        keys = await self._keys.present()
        now = self._clock.now()
        claims = model.claims(
            User(caller.resource, user_id, now).raw_id,
            caller.resource,
            resource.location,
            scopes,
            issued_at=now,
            minutes=minutes,
            generation=generation,
            key=caller.key or "",
        )
        return Token(tokens.written(claims, keys.signer), datetime.fromtimestamp(claims.exp, UTC))

    async def _claims(self, token: str) -> Claims | None:
        claims = self._read.get(token)
        if claims is None:
            keys = await self._keys.for_token(token)
            claims = tokens.read(token, keys.by_header)
            if claims is not None:
                if len(self._read) >= _READ_TOKENS:
                    self._read.popitem(last=False)
                self._read[token] = claims
        return claims

    async def _insert(self, users: list[User]) -> list[None]:
        async with self._database.connection() as connection:
            await records.insert_users(connection, users)
        return [None] * len(users)

    async def _look_up(self, users: list[tuple[ResourceId, UUID]]) -> list[_Standing]:
        asked = list(set(users))
        async with self._database.connection() as connection:
            generations = await records.generations(connection, asked)
            labels = await self._resources.current_labels(connection, [resource for resource, _ in asked])
        by_resource: dict[ResourceId, set[str]] = {}
        for resource, label in labels:
            by_resource.setdefault(resource, set()).add(label)
        frozen = {resource: frozenset(found) for resource, found in by_resource.items()}
        return [_Standing(generations.get(user), frozen.get(user[0], frozenset())) for user in users]


def _no_such_user() -> NotFound:
    return NotFound("There is no such identity.", code="IdentityNotFound")
