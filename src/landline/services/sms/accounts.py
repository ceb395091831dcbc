"""The accounts of customers who speak SMPP: made and changed by the operator, and who may bind.

A password is shown once. At rest it is a scrypt hash (RFC 7914) under the sealing secret, so that neither the database
alone nor the secret alone opens anything.
"""

import asyncio
import hashlib
import hmac
import os
from collections import OrderedDict
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import structlog

from landline.core.errors import Conflict, Invalid, NotFound, Unavailable
from landline.core.ids import ResourceId
from landline.core.log_limit import LogLimit
from landline.ports.clock import Clock
from landline.protocols.smpp.texts import Alphabet
from landline.services.numbers.service import Numbers
from landline.services.sms import records_accounts as records
from landline.services.sms.model import esme
from landline.services.sms.model.esme import ALL_NUMBERS, EsmeAccount
from landline.services.sms.model.guesses import Guesses, network
from landline.services.sms.records_accounts import Stored
from landline.services.sms.turns import Turns
from landline.store.changes import Changes
from landline.store.database import Connection, Database
from landline.store.sealing import Sealer

log = structlog.get_logger()

SUBJECT = "sms_esme_accounts"
_SALT_BYTES = 16
_COST, _BLOCK, _LANES = 2**14, 8, 1
_KNOWN_LIMIT = 10_000
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator says of an account; None is as it was, or as is usual."""

    enabled: bool | None = None
    addresses: Sequence[str] | None = None
    binds: int | None = None
    window: int | None = None
    rate_per_s: float | None = None
    unlimited: bool = False
    """No rate at all."""
    receipts: bool | None = None
    texts: Sequence[str] | None = None
    alphabet: Alphabet | None = None


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """All accounts as of one moment."""

    by_system_id: dict[str, Stored]
    texts: dict[ResourceId, list[EsmeAccount]]
    """By resource: those that get texts."""


class Accounts:
    """Look-ups are cached; a change is seen at once by every process that hears of changes."""

    def __init__(self, database: Database, clock: Clock, changes: Changes, sealer: Sealer, numbers: Numbers) -> None:
        self._database = database
        self._clock = clock
        self._changes = changes
        self._sealer = sealer
        self._numbers = numbers
        self._cached: _Snapshot | None = None
        self._version = 0
        self._guesses = Guesses()
        self._told = LogLimit()
        self._hashing = Turns()
        """One at a time: each wrong password is counted before the next is looked at. A stranger's many addresses have
        one turn together, so that customers need not wait for all of their guesses."""
        self._key = os.urandom(32)
        self._proved: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        """MACs under a key of this process of passwords that were right: a second bind need not hash again."""
        self._nobody = _hashed("", os.urandom(_SALT_BYTES))
        changes.watch(SUBJECT, self._forget)

    async def create(self, resource: ResourceId, system_id: str, settings: Settings) -> tuple[EsmeAccount, str]:
        """A new account and its password. Raises `Invalid`, and `Conflict` when the system id is taken."""
        blank = EsmeAccount(resource, system_id, 0, True, (), 5, 100, None, True, (), self._clock.now())
        account = esme.checked(_changed(blank, settings))
        await self._check_texts(resource, account.texts)
        secret = esme.password(os.urandom(16))
        stored = await self._sealed(account, secret)
        async with self._database.transaction() as connection:
            number = await records.new_generation(connection)
            account = replace(account, generation=number, number=number)
            if not await records.insert_account(connection, replace(stored, account=account)):
                raise Conflict("The system id is taken.", target="systemId")
            await self._changes.publish(connection, SUBJECT, system_id)
        self._changes.forget(SUBJECT, system_id)
        log.info("sms.esme_created", system_id=system_id)
        return account, secret

    async def list(self, resource: ResourceId) -> "list[EsmeAccount]":
        """The resource's accounts, the oldest first."""
        async with self._database.connection() as connection:
            found = await records.accounts(connection)
        return [stored.account for stored in found if stored.account.resource == resource]

    async def get(self, resource: ResourceId, system_id: str) -> EsmeAccount:
        """Raises `NotFound`."""
        async with self._database.connection() as connection:
            return (await _found(connection, resource, system_id)).account

    async def change(self, resource: ResourceId, system_id: str, settings: Settings) -> EsmeAccount:
        """The account with other settings. Connections of one that is disabled, or whose addresses change, are cut
        at once. Raises `NotFound`, `Invalid`."""
        await self._check_texts(resource, settings.texts or ())
        async with self._database.transaction() as connection:
            stored = await _found(connection, resource, system_id, lock=True)
            account = _changed(stored.account, settings)
            if (account.enabled, account.addresses) != (stored.account.enabled, stored.account.addresses):
                account = replace(account, generation=await records.new_generation(connection))
            esme.checked(account)
            await records.update_account(connection, replace(stored, account=account))
            await self._changes.publish(connection, SUBJECT, system_id)
        self._changes.forget(SUBJECT, system_id)
        return account

    async def rotate(self, resource: ResourceId, system_id: str) -> tuple[EsmeAccount, str]:
        """A new password; connections made with the old one are cut at once. Raises `NotFound`."""
        secret = esme.password(os.urandom(16))
        async with self._database.transaction() as connection:
            found = (await _found(connection, resource, system_id, lock=True)).account
            account = replace(found, generation=await records.new_generation(connection))
            await records.update_account(connection, await self._sealed(account, secret))
            await self._changes.publish(connection, SUBJECT, system_id)
        self._changes.forget(SUBJECT, system_id)
        log.info("sms.esme_rotated", system_id=system_id)
        return account, secret

    async def delete(self, resource: ResourceId, system_id: str) -> None:
        """Delete the account and what waits for it; its connections are cut at once. Raises `NotFound`."""
        async with self._database.transaction() as connection:
            if not await records.delete_account(connection, resource, system_id):
                raise NotFound("The resource has no such SMPP account.")
            await self._changes.publish(connection, SUBJECT, system_id)
        self._changes.forget(SUBJECT, system_id)
        log.info("sms.esme_deleted", system_id=system_id)

    async def authenticate(self, system_id: str, password: str, address: str) -> EsmeAccount | None:
        """The account that `password` opens from `address`, or None; the log says why, once a minute of an account and
        of what is none. Raises `Unavailable`. Who gives up leaves the line of those whose passwords are looked at."""
        now = self._clock.now().timestamp()
        if self._guesses.blocked(system_id, address, now):
            self._warn("sms.esme_refused", system_id, address, known=False, reason="too many wrong passwords")
            return None
        stored = await _to_its_end(
            self._latest(system_id)
        )  # else each who gives up would cost a connection to cancel it
        known = stored is not None
        if stored is not None and not stored.account.admits(address):
            self._warn("sms.esme_address_not_allowed", system_id, address, known=True)
            stored = None  # and on as for a system id there is not, so that nobody learns which there are
        if not await self._opens(stored, system_id, password, address):
            self._warn("sms.esme_refused", system_id, address, known=known, reason="wrong system id or password")
            return None
        assert stored is not None
        self._guesses.right(system_id, address)
        if not stored.account.enabled:
            self._warn("sms.esme_refused", system_id, address, known=True, reason="disabled")
            return None
        return stored.account

    def _warn(self, event: str, system_id: str, address: str, *, known: bool, **why: str) -> None:
        """Write that line of the log, unless it was lately, of this account or of any that strangers made up."""
        whose = system_id if known else None
        thing = (event, whose, network(address), *why.values())
        count = self._told.due(thing, self._clock.now().timestamp())
        if count:
            log.warning(event, system_id=system_id[:16], address=address, **why, count=count)

    async def _latest(self, system_id: str) -> Stored | None:
        """The account as the database has it: it may have been made, or its password changed, so lately that this
        process has not heard of it. What is remembered, while the database is away."""
        try:
            async with self._database.connection() as connection:
                stored = await records.account_of(connection, system_id)
        except Unavailable:
            return (await self._snapshot()).by_system_id.get(system_id)
        if self._cached is not None and self._cached.by_system_id.get(system_id) != stored:
            self._version += 1
            self._cached = None
        return stored

    async def _opens(self, stored: Stored | None, system_id: str, password: str, address: str) -> bool:
        """Whether it is the password; an unknown system id takes as long as a known one."""
        proof = hmac.digest(self._key, password.encode("utf-8", "surrogatepass"), "sha256")
        key = (system_id, stored.account.generation) if stored is not None else None
        if self._has_proved(key, proof):
            return True
        async with self._hashing.taken(network(address)):
            if self._has_proved(key, proof):  # by another of its binds, which come back together after a restart
                return True
            # Who gives up in the middle would not be counted, and others would be looked at beside it.
            return await _to_its_end(self._look_at(stored, system_id, password, address, proof))

    async def _look_at(self, stored: Stored | None, system_id: str, password: str, address: str, proof: bytes) -> bool:
        now = self._clock.now().timestamp()
        if self._guesses.blocked(system_id, address, now):
            return False
        expected = self._nobody if stored is None else self._sealer.open(stored.secret, stored.account.seal)
        found = await asyncio.to_thread(_hashed, password, expected[:_SALT_BYTES])
        if not hmac.compare_digest(found, expected) or stored is None:
            self._guesses.wrong(system_id, address, now)
            return False
        self._proved[system_id, stored.account.generation] = proof
        if len(self._proved) > _KNOWN_LIMIT:
            self._proved.popitem(last=False)
        return True

    def _has_proved(self, key: tuple[str, int] | None, proof: bytes) -> bool:
        return key is not None and hmac.compare_digest(self._proved.get(key, b""), proof)

    async def find(self, system_id: str) -> EsmeAccount | None:
        """The account of that system id, whosever it is. Raises `Unavailable`."""
        stored = (await self._snapshot()).by_system_id.get(system_id)
        return stored.account if stored is not None else None

    async def wanting_texts(self, connection: Connection, resource: ResourceId, number: str) -> Sequence[EsmeAccount]:
        """The resource's accounts that get the texts to `number`."""
        candidates = (await self._snapshot(connection)).texts.get(resource, ())
        return [account for account in candidates if account.wants_texts_to(number)]

    async def _check_texts(self, resource: ResourceId, texts: Sequence[str]) -> None:
        for number in texts:
            if number == ALL_NUMBERS:
                continue
            owned = await self._numbers.sender(resource, number)
            if owned is None or not owned.sms_inbound:
                raise Invalid("Not a number of the resource that receives texts, and not *.", target="texts")

    async def _sealed(self, account: EsmeAccount, secret: str) -> Stored:
        hashed = await asyncio.to_thread(_hashed, secret, os.urandom(_SALT_BYTES))
        return Stored(account, self._sealer.seal(hashed, account.seal))

    def _forget(self, system_id: str | None) -> None:
        self._version += 1
        self._cached = None
        if system_id is not None:
            self._guesses.forgive(system_id)

    async def _snapshot(self, connection: Connection | None = None) -> _Snapshot:
        if self._cached is not None and self._changes.trusted:
            return self._cached
        version = self._version
        if connection is not None:
            found = await records.accounts(connection)
        else:
            async with self._database.connection() as fresh:
                found = await records.accounts(fresh)
        snapshot = _Snapshot({stored.account.system_id: stored for stored in found}, {})
        for stored in found:
            if stored.account.texts and stored.account.enabled:
                snapshot.texts.setdefault(stored.account.resource, []).append(stored.account)
        if version == self._version and self._changes.trusted:  # nothing changed while we read
            self._cached = snapshot
        return snapshot


def _changed(account: EsmeAccount, settings: Settings) -> EsmeAccount:
    rate = account.rate_per_s if settings.rate_per_s is None else settings.rate_per_s
    return replace(
        account,
        enabled=account.enabled if settings.enabled is None else settings.enabled,
        addresses=account.addresses if settings.addresses is None else tuple(settings.addresses),
        binds=account.binds if settings.binds is None else settings.binds,
        window=account.window if settings.window is None else settings.window,
        rate_per_s=None if settings.unlimited else rate,
        receipts=account.receipts if settings.receipts is None else settings.receipts,
        texts=account.texts if settings.texts is None else tuple(settings.texts),
        alphabet=settings.alphabet or account.alphabet,
    )


async def _found(connection: Connection, resource: ResourceId, system_id: str, *, lock: bool = False) -> Stored:
    stored = await records.account(connection, resource, system_id, lock=lock)
    if stored is None:
        raise NotFound("The resource has no such SMPP account.")
    return stored


async def _to_its_end(work: Coroutine[Any, Any, _Result]) -> _Result:
    """What `work` comes to. Who gives up waiting for it does so after its end."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise


def _hashed(password: str, salt: bytes) -> bytes:
    """The salt and the hash: 16 and 32 octets, 16 MiB and some 40 ms of one core."""
    secret = password.encode("utf-8", "surrogatepass")
    return salt + hashlib.scrypt(secret, salt=salt, n=_COST, r=_BLOCK, p=_LANES, maxmem=64 * 2**20, dklen=32)
