"""The SQL of carriers' prices."""

from collections.abc import Sequence

from landline.services.sms.model.prices import Price
from landline.store.database import Connection, Record


async def every(connection: Connection) -> list[Price]:
    """All prices there are."""
    return _prices(await connection.fetch("SELECT carrier, prefix, price FROM sms_prices"))


async def find(connection: Connection, carrier: str, prefix: str) -> Price | None:
    """The price of exactly that prefix."""
    found = await connection.fetch(
        "SELECT carrier, prefix, price FROM sms_prices WHERE carrier = $1 AND prefix = $2", carrier, prefix
    )
    return next(iter(_prices(found)), None)


async def page(connection: Connection, of: str | None, after: tuple[str, str], limit: int) -> list[Price]:
    """Up to `limit` prices behind (carrier, prefix) `after`, in that order; only those `of` one carrier, if given."""
    carrier, prefix = after
    if of is not None:
        return _prices(
            await connection.fetch(
                "SELECT carrier, prefix, price FROM sms_prices WHERE carrier = $1 AND prefix > $2"
                " ORDER BY prefix LIMIT $3",
                of,
                prefix,
                limit,
            )
        )
    return _prices(
        await connection.fetch(
            "SELECT carrier, prefix, price FROM sms_prices WHERE (carrier, prefix) > ($1, $2)"
            " ORDER BY carrier, prefix LIMIT $3",
            carrier,
            prefix,
            limit,
        )
    )


async def alone(connection: Connection) -> None:
    """Have no other transaction change prices until this one ends: imports would meet each other's rows."""
    await connection.execute("LOCK TABLE sms_prices IN SHARE ROW EXCLUSIVE MODE")


async def put(connection: Connection, prices: Sequence[Price]) -> None:
    """Store `prices`, in place of those of the same carriers and prefixes."""
    await connection.execute(
        "INSERT INTO sms_prices (carrier, prefix, price)"
        " SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[])"
        " ON CONFLICT (carrier, prefix) DO UPDATE SET price = excluded.price",
        [price.carrier for price in prices],
        [price.prefix for price in prices],
        [price.micros for price in prices],
    )


async def count(connection: Connection) -> int:
    """How many prices there are."""
    return await connection.fetchval("SELECT count(*) FROM sms_prices")


async def delete(connection: Connection, carrier: str, prefix: str | None) -> int:
    """Remove the carrier's price of that prefix, or all of its prices; how many they were."""
    done = await connection.execute(
        "DELETE FROM sms_prices WHERE carrier = $1 AND ($2::text IS NULL OR prefix = $2)", carrier, prefix
    )
    return int(done.rpartition(" ")[2])


async def delete_all(connection: Connection, carriers: Sequence[str]) -> set[tuple[str, str]]:
    """Remove all prices of `carriers`; the carriers and prefixes they were of."""
    gone = await connection.fetch(
        "DELETE FROM sms_prices WHERE carrier = ANY($1::text[]) RETURNING carrier, prefix", carriers
    )
    return {(row["carrier"], row["prefix"]) for row in gone}


def _prices(rows: Sequence[Record]) -> list[Price]:
    return [Price(row["carrier"], row["prefix"], row["price"]) for row in rows]
