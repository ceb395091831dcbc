"""Long texts of one customer whose parts come over several binds at once."""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from tests.support.patience import PATIENCE_S
from tests.support.smpp_world import OURS, PHONE

from landline.engines.smpp.listener.texts import Texts
from landline.ports.esme_gateway import ReportWish
from landline.protocols.smpp.joiner import GroupKey, TextPart
from landline.protocols.smpp.texts import Alphabet
from landline.store.database import Database

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
KEYS = [GroupKey(OURS, PHONE, reference, 2, False) for reference in (1, 2)]


def parts(sequence: int) -> list[tuple[TextPart, ReportWish, bool]]:
    return [(TextPart(key, sequence, 0, b"words"), ReportWish.ALWAYS, False) for key in KEYS]


async def until_waiting(database: Database, count: int) -> None:
    """For a lock that somebody has."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(PATIENCE_S):
        while await database.fetchval(waiting) < count:
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("refused", [False, True])
async def test_texts_that_end_over_one_bind_and_go_on_over_another_wait_for_each_other_in_one_order(
    database: Database, refused: bool
) -> None:
    texts = Texts(database, "customer", uuid4(), Alphabet.GSM)
    begun, _ = await texts.keep(parts(1), {key: uuid4() for key in KEYS}, AT)
    ended = [(key, begun[key].message_id) for key in reversed(KEYS)]
    async with database.transaction() as connection:
        await connection.execute("SELECT FROM smpp_customer_texts WHERE reference = 1 FOR UPDATE")
        going_on = asyncio.create_task(texts.keep(parts(2), {key: uuid4() for key in KEYS}, AT))
        await until_waiting(database, 1)
        if refused:
            ending = asyncio.create_task(texts.refuse([(*text, ()) for text in ended], AT))
        else:
            ending = asyncio.create_task(texts.finish(ended))
        await until_waiting(database, 2)
    _, whole = await going_on
    await ending
    assert [text.joined.key for text in whole] == KEYS
