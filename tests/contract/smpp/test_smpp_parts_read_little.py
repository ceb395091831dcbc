"""Parts of long texts are found by their keys, however many others wait and whatever PostgreSQL knows of their tables
(docs/design/plans.md)."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from tests.support.cluster import eventually
from tests.support.rows import backup, pages_read, rows_read

from landline.engines.smpp.listener.texts import PATIENCE, Texts
from landline.engines.smpp.records import Look, Records
from landline.ports.esme_gateway import ReportWish
from landline.protocols.smpp.joiner import GroupKey, TextPart
from landline.protocols.smpp.texts import Alphabet
from landline.store.database import Database

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
US = UUID(int=2)
MANY = 2000
KEYS = [GroupKey("their sender", "+12065550100", reference, 2, False) for reference in range(5)]
TEXTS, PARTS = "smpp_customer_texts", "smpp_inbound_parts"


async def wait(database: Database, carrier: str, at: datetime) -> None:
    """So many texts, each a whole one that is done, of one carrier."""
    await database.execute(
        f"INSERT INTO {PARTS} (carrier, sender, recipient, reference, total, wide, sequence, data_coding, at, done,"
        " octets) SELECT $1, 'a', 'b', n, 2, false, s, 0, $2, true, '' FROM generate_series(1, $3::int) AS n,"
        " generate_series(1, 2) AS s",
        carrier,
        at,
        MANY,
    )
    await database.execute(
        f"INSERT INTO {TEXTS} (system_id, sender, recipient, reference, total, wide, message_id, begun_at, done, wish,"
        " parts) SELECT 'shop', 'a', 'b', n, 2, false, gen_random_uuid(), $1, true, 0, '{}'"
        " FROM generate_series(1, $2::int) AS n",
        at,
        MANY,
    )


async def seen_empty(database: Database, carrier: str, at: datetime = AT) -> None:
    """PostgreSQL has found pages and only dead rows in them, as after a quiet night; then they come again."""
    for table in (TEXTS, PARTS):
        await database.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
    await wait(database, carrier, at)
    for table in (TEXTS, PARTS):
        await database.execute(f"DELETE FROM {table}")
        await database.execute(f"ANALYZE {table}")
    await wait(database, carrier, at)


async def read(database: Database) -> int:
    return await rows_read(database, TEXTS) + await rows_read(database, PARTS)


def parts(sequence: int, octets: bytes = b"words") -> list[tuple[TextPart, ReportWish, bool]]:
    return [(TextPart(key, sequence, 0, octets), ReportWish.ALWAYS, False) for key in KEYS]


async def test_a_customers_texts_are_kept_finished_renewed_and_refused_by_their_keys(database: Database) -> None:
    await seen_empty(database, "esme:shop")
    texts = Texts(database, "shop", US, Alphabet.GSM)
    before = await read(database)
    begun, whole = await texts.keep(parts(1), {key: uuid4() for key in KEYS}, AT)
    assert not whole
    again, whole = await texts.keep(parts(2), {key: uuid4() for key in KEYS}, AT)
    assert {text.joined.key for text in whole} == set(KEYS)
    assert {key: text.message_id for key, text in again.items()} == {k: text.message_id for k, text in begun.items()}
    await texts.finish([(key, begun[key].message_id) for key in KEYS])
    renewed, whole = await texts.keep(parts(1, b"other"), {key: uuid4() for key in KEYS}, AT)
    assert not whole
    assert all(renewed[key].message_id != begun[key].message_id for key in KEYS)
    await texts.refuse([(key, renewed[key].message_id, ()) for key in KEYS], AT)
    assert await read(database) - before < 200
    for table, each in ((TEXTS, 1), (PARTS, 2)):
        assert await database.fetchval(f"SELECT count(*) FROM {table}") == each * MANY


async def test_a_customers_texts_that_are_old_are_given_up_and_forgotten_without_reading_all_for_each(
    database: Database,
) -> None:
    old = AT - 3 * PATIENCE
    await seen_empty(database, "esme:shop", old)
    texts = Texts(database, "shop", US, Alphabet.GSM)
    await texts.keep(parts(1), {key: uuid4() for key in KEYS}, old)
    before = await read(database)
    assert await texts.give_up(AT) == len(KEYS)
    assert await read(database) - before < 12 * MANY  # the sweep goes through what there is, several times
    assert await database.fetchval(f"SELECT count(*) FROM {TEXTS}") == 0
    assert await database.fetchval(f"SELECT count(*) FROM {PARTS}") == 0


async def test_a_carriers_texts_are_kept_interrupted_and_finished_by_their_keys(database: Database) -> None:
    await seen_empty(database, "carrier")
    records = Records(database, "carrier", US, Alphabet.GSM)
    before = await read(database)
    assert not await records.keep_parts([part for part, _, _ in parts(1)], AT)
    other = [part for part, _, _ in parts(1, b"other")]
    assert [text.joined.missing for text in await records.interrupted(other)] == [1] * len(KEYS)
    whole = await records.keep_parts([part for part, _, _ in parts(2)], AT)
    assert {text.joined.key for text in whole} == set(KEYS)
    await records.finish(KEYS)
    assert not await records.keep_parts(other, AT + timedelta(seconds=1))
    assert await read(database) - before < 150
    left = f"SELECT count(*) FROM {PARTS} WHERE NOT done AND octets = 'other'"
    assert await database.fetchval(left) == len(KEYS)
    assert await database.fetchval(f"SELECT count(*) FROM {PARTS}") == 2 * MANY + len(KEYS)


async def test_a_carriers_old_parts_are_forgotten_without_reading_all_for_each(database: Database) -> None:
    await seen_empty(database, "carrier", AT - timedelta(hours=1))
    before = await read(database)
    assert not await Records(database, "carrier", US, Alphabet.GSM).overdue(AT, timedelta(minutes=1))
    assert await read(database) - before < 10 * MANY
    assert await database.fetchval(f"SELECT count(*) FROM {PARTS}") == 0


async def test_a_reference_used_again_begins_a_text_though_an_old_part_comes_to_another_process_just_then(
    dsn: str, database: Database
) -> None:
    records = Records(database, "carrier", US, Alphabet.GSM)
    for sequence in (1, 2):
        await records.keep_parts([part for part, _, _ in parts(sequence)], AT)
    await records.finish(KEYS)
    another = await Database.connect(dsn)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

    async def waits() -> bool:
        return bool(await database.fetchval(waiting))

    try:
        async with another.transaction() as connection:
            theirs = Records(another, "carrier", UUID(int=3), Alphabet.GSM)
            await theirs.keep_parts_by(connection, [part for part, _, _ in parts(2)], AT)
            new = [part for sequence in (1, 2) for part, _, _ in parts(sequence, b"other")]
            keeping = asyncio.create_task(records.keep_parts(new, AT + timedelta(seconds=1)))
            await eventually(waits)
        whole = await keeping
    finally:
        await another.close()
    assert [text.joined.text for text in whole] == ["otherother"] * len(KEYS)


async def test_texts_are_remembered_and_settled_by_their_keys_among_all_that_a_backup_keeps(
    database: Database, dsn: str
) -> None:
    """Each text that a phone sent is dead in this table once the SMSC knows that it was taken in."""
    await database.execute("ALTER TABLE smpp_arrivals SET (autovacuum_enabled = false)")
    records = Records(database, "carrier", US, Alphabet.GSM)
    async with backup(dsn):
        await database.execute(
            "INSERT INTO smpp_arrivals (carrier, fingerprint, owner, at, key)"
            " SELECT 'carrier', uuid_send(gen_random_uuid()), $1, $2, gen_random_uuid()::text"
            " FROM generate_series(1, $3::int)",
            UUID(int=3),
            AT,
            MANY,
        )
        await database.execute("DELETE FROM smpp_arrivals")
        await database.execute("VACUUM (ANALYZE) smpp_arrivals")
        before = await pages_read(database, "smpp_arrivals")
        looks = [Look(uuid4().bytes, str(uuid4()), AT) for _ in range(10)]
        keys = await records.arrival_keys(looks, AT)
        assert keys == [look.key for look in looks]
        assert await records.unsettled(keys, AT) == frozenset(keys)
        await records.settled(keys[:5], keys[5:], AT)
        assert await pages_read(database, "smpp_arrivals") - before < 500
        assert await database.fetchval("SELECT count(*) FROM smpp_arrivals") == 5
