"""What a message costs does not grow with what is stored, though PostgreSQL planned its statements while the tables
were all but empty and nothing has told it since that they are not (docs/design/plans.md)."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
from tests.support.cluster import eventually
from tests.support.patience import PATIENCE_S
from tests.support.signed import Raw

from landline.testing import Server

REPORT = "Microsoft.Communication.SMSDeliveryReportReceived"
WARM = 20
STORED = 30_000
RECIPIENTS = [f"+1206555{number:04d}" for number in range(100)]
SENT = WARM + len(RECIPIENTS)
READ_AT_MOST = 10
"""Rows of one table for each message: a message is found by its key when it is taken, reported, told and done."""
END_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
GROWING = {
    "sms_messages": "message_id, block_id, repeatability_id",
    "sms_submissions": "message_id, block_id, carrier_message_id",
}


async def test_a_message_is_not_searched_for_among_all_that_are_stored(
    dsn: str, tmp_path: Path, landline_server: Callable[..., Server]
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'dsn = "{dsn}"\n')
    server = await asyncio.to_thread(landline_server, arguments=["--config", str(config)])
    tables = await asyncpg.connect(dsn)
    try:
        for table in GROWING:  # PostgreSQL looks after its statistics when it has time: here it has none
            await tables.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
        inbox = server.inbox()
        for _ in range(WARM):  # every connection of the pool plans
            await asyncio.to_thread(send, server, RECIPIENTS[:1])
        await asyncio.to_thread(inbox.wait_for_all, REPORT, WARM, timeout=PATIENCE_S)
        for table, keys in GROWING.items():
            await tables.execute(copies(table, keys))
        await asyncio.to_thread(send, server, RECIPIENTS)
        await asyncio.to_thread(inbox.wait_for_all, REPORT, len(RECIPIENTS), timeout=PATIENCE_S)
        await tables.execute(END_OTHERS)
        read = {table: await rows_read(tables, table) / SENT for table in GROWING}
    finally:
        await tables.close()
    assert max(read.values()) <= READ_AT_MOST, read
    assert min(read.values()) >= 1, f"nothing was measured: {read}"


def send(server: Server, recipients: list[str]) -> None:
    raw = Raw(server.endpoint, server.access_key, server.ca_bundle)
    answer = raw.send_sms(server.phone_number, list(recipients), "a text")
    assert answer.status == 202, answer
    server.clock.advance(minutes=1)


async def rows_read(tables: Any, table: str) -> int:
    """Rows of `table` that statements have read, as soon as PostgreSQL tells of all that were written: its processes
    say what they did when they end, and otherwise when they come to it."""
    updated = SENT if table != "sms_submissions" else 0

    async def told() -> bool:
        return await tables.fetchval(
            "SELECT n_tup_ins >= $2 AND n_tup_upd >= $3 FROM pg_stat_user_tables WHERE relname = $1",
            table,
            SENT + STORED,
            updated,
        )

    await eventually(told)
    return await tables.fetchval(
        "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = $1", table
    )


def copies(table: str, keys: str) -> str:
    """SQL that adds `STORED` rows like the table's own, each of another message."""
    fresh = ", ".join(f"'{key}', gen_random_uuid()" for key in keys.split(", "))
    return (
        f"INSERT INTO {table} SELECT (jsonb_populate_record(t.one, jsonb_build_object({fresh}))).*"
        f" FROM (SELECT one FROM {table} one LIMIT 1) AS t, generate_series(1, {STORED})"
    )
