"""The deployment's signing keys: made once, sealed in the database, the same in every process, replaced gaplessly."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import structlog

from landline.ports.clock import Clock
from landline.services.identity import model, records, tokens
from landline.services.identity.tokens import TokenKey
from landline.store.changes import Changes
from landline.store.database import Database
from landline.store.group_commit import GroupCommit
from landline.store.sealing import Sealer

log = structlog.get_logger()

SUBJECT = "identity.signing_keys"
_GRACE = timedelta(hours=1)
_RELOAD_EVERY = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys in use: `signer` signs, all verify, by the header of their tokens."""

    signer: TokenKey
    by_header: dict[str, TokenKey]


class SigningKeys:
    """The keys as this process knows them; the database is asked again whenever they may have changed."""

    def __init__(self, database: Database, sealer: Sealer, clock: Clock, changes: Changes) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock
        self._changes = changes
        self._opened: dict[str, TokenKey] = {}
        self._cached: KeySet | None = None
        self._version = 0
        self._reloaded_at = clock.now() - _RELOAD_EVERY
        self._loads: GroupCommit[None, KeySet] = GroupCommit(self._load_for, lanes=1, batch_limit=20_000)
        changes.watch(SUBJECT, self._forget)

    async def present(self) -> KeySet:
        """The keys in use; the first is made when there is none."""
        if self._cached is not None and self._changes.trusted:
            return self._cached
        return await self._loads.submit(None)

    async def for_token(self, token: str) -> KeySet:
        """The keys in use, read again (at most once a second) when none of them made `token`: another process may just
        have begun to sign with a new one."""
        keys = await self.present()
        now = self._clock.now()
        lately = self._reloaded_at <= now < self._reloaded_at + _RELOAD_EVERY  # before it: the clock was set back
        if tokens.header(token) in keys.by_header or lately:
            return keys
        self._reloaded_at = now
        return await self._loads.submit(None)

    async def rotate(self) -> str:
        """Sign with a new key from now on; tokens of the present one stay good until they expire. Returns its kid."""
        kid = await self._make(only_first=False)
        assert kid is not None
        self._changes.forget(SUBJECT, kid)
        log.info("identity.signing_key_rotated", kid=kid)
        return kid

    async def _make(self, *, only_first: bool) -> str | None:
        now = self._clock.now()
        kid = uuid4().hex
        sealed = self._sealer.seal(tokens.new_key(), _purpose(kid))
        retire_at = now + model.LONGEST_LIFE + _GRACE
        async with self._database.transaction() as connection:
            await records.lock_keys(connection)
            if only_first and await records.signing_keys(connection, now):
                return None
            await records.insert_signing_key(connection, kid, sealed, now=now, others_retire_at=retire_at)
            await self._changes.publish(connection, SUBJECT, kid)
        return kid

    def _forget(self, _kid: str | None) -> None:
        self._version += 1
        self._cached = None

    async def _load_for(self, callers: list[None]) -> list[KeySet]:
        version = self._version
        keys = await self._read()
        if not keys:
            await self._make(only_first=True)
            keys = await self._read()
        found = KeySet(keys[0], {key.header: key for key in keys})
        self._opened = {key.kid: key for key in keys}
        if version == self._version and self._changes.trusted:
            self._cached = found
        return [found] * len(callers)

    async def _read(self) -> list[TokenKey]:
        async with self._database.connection() as connection:
            rows = await records.signing_keys(connection, self._clock.now())
        keys: list[TokenKey] = []
        for row in rows:
            opened = self._opened.get(row["kid"])
            if opened is None or opened.retire_at != row["retire_at"]:
                der = self._sealer.open(row["sealed"], _purpose(row["kid"]))
                opened = tokens.key(row["kid"], der, row["retire_at"])
            keys.append(opened)
        return keys


def _purpose(kid: str) -> str:
    return f"identity.signing_key:{kid}"
