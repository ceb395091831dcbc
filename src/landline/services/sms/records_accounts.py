"""The SQL of the accounts of customers who speak SMPP."""

from dataclasses import dataclass

from landline.core.ids import ResourceId
from landline.protocols.smpp.texts import Alphabet
from landline.services.sms.model.esme import EsmeAccount
from landline.store.database import Connection, Record

_ACCOUNT = (
    "resource_id, system_id, generation, enabled, addresses, binds, send_window, rate_per_s, receipts, texts,"
    " created_at, alphabet, number"
)


@dataclass(frozen=True, slots=True)
class Stored:
    """An account with its sealed password hash."""

    account: EsmeAccount
    secret: bytes


async def new_generation(connection: Connection) -> int:
    """Greater than that of any account there is or was."""
    return await connection.fetchval("SELECT nextval('sms_esme_generations')")


async def insert_account(connection: Connection, stored: Stored) -> bool:
    """Whether the account is new; False when its system id is taken, by whichever resource."""
    account = stored.account
    row = await connection.fetchrow(
        f"INSERT INTO sms_esme_accounts ({_ACCOUNT}, secret)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
        " ON CONFLICT DO NOTHING RETURNING system_id",
        *_columns(account),
        stored.secret,
    )
    return row is not None


async def update_account(connection: Connection, stored: Stored) -> None:
    """Store the account as it is now."""
    account = stored.account
    await connection.execute(
        "UPDATE sms_esme_accounts SET generation = $3, enabled = $4, addresses = $5, binds = $6, send_window = $7,"
        " rate_per_s = $8, receipts = $9, texts = $10, created_at = $11, alphabet = $12, number = $13,"
        " secret = $14"
        " WHERE resource_id = $1 AND system_id = $2",
        *_columns(account),
        stored.secret,
    )


async def delete_account(connection: Connection, resource: ResourceId, system_id: str) -> bool:
    """Delete the account and what waits for it; whether there was one."""
    row = await connection.fetchrow(
        "DELETE FROM sms_esme_accounts WHERE resource_id = $1 AND system_id = $2 RETURNING system_id",
        resource,
        system_id,
    )
    return row is not None


async def account(connection: Connection, resource: ResourceId, system_id: str, *, lock: bool = False) -> Stored | None:
    """The resource's account of that system id; with `lock` nobody else changes it until the transaction ends."""
    row = await connection.fetchrow(
        f"SELECT {_ACCOUNT}, secret FROM sms_esme_accounts WHERE resource_id = $1 AND system_id = $2"
        + (" FOR NO KEY UPDATE" if lock else ""),
        resource,
        system_id,
    )
    return _stored(row) if row else None


async def account_of(connection: Connection, system_id: str) -> Stored | None:
    """The account of that system id, whosever it is."""
    row = await connection.fetchrow(f"SELECT {_ACCOUNT}, secret FROM sms_esme_accounts WHERE system_id = $1", system_id)
    return _stored(row) if row else None


async def accounts(connection: Connection) -> list[Stored]:
    """All accounts of all resources, the oldest first."""
    rows = await connection.fetch(f"SELECT {_ACCOUNT}, secret FROM sms_esme_accounts ORDER BY created_at, system_id")
    return [_stored(row) for row in rows]


def _columns(account: EsmeAccount) -> tuple[object, ...]:
    return (
        account.resource,
        account.system_id,
        account.generation,
        account.enabled,
        account.addresses,
        account.binds,
        account.window,
        account.rate_per_s,
        account.receipts,
        account.texts,
        account.created_at,
        account.alphabet.value,
        account.number,
    )


def _stored(row: Record) -> Stored:
    account = EsmeAccount(
        resource=ResourceId(row["resource_id"]),
        system_id=row["system_id"],
        generation=row["generation"],
        enabled=row["enabled"],
        addresses=tuple(row["addresses"]),
        binds=row["binds"],
        window=row["send_window"],
        rate_per_s=row["rate_per_s"],
        receipts=row["receipts"],
        texts=tuple(row["texts"]),
        created_at=row["created_at"],
        alphabet=Alphabet(row["alphabet"]),
        number=row["number"],
    )
    return Stored(account, row["secret"])
