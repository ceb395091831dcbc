"""A bug in what is brought to customers holds up nothing but itself."""

import asyncio

import pytest
from structlog.testing import capture_logs
from tests.support.esme import EsmeWorld
from tests.support.patience import PATIENCE_S

from landline.engines.smpp.listener import deliveries
from landline.ports.esme_gateway import ReportOut, TextOut
from landline.protocols.smpp.texts import Alphabet

OURS, PHONE = "+18005550100", "+14255550123"


async def only_one_waits(world: EsmeWorld) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await world.waiting() > 1:
            await asyncio.sleep(0.005)


async def test_what_cannot_be_brought_is_put_off_and_the_rest_is_brought(
    world: EsmeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = deliveries.bodies

    def bodies(delivery: ReportOut | TextOut, alphabet: Alphabet) -> list[bytes]:
        if isinstance(delivery, TextOut) and delivery.text == "odd":
            raise AssertionError("a case nobody thought of")
        return made(delivery, alphabet)

    monkeypatch.setattr(deliveries, "bodies", bodies)
    process = await world.process()
    password = await world.account(process, texts=["*"])
    for words in ("one", "odd", "two"):
        await world.text(process, words, OURS, PHONE)
    with capture_logs() as logs:
        client = await world.client(process, password)
        assert {(await client.arrival()).short_message for _ in range(2)} == {b"one", b"two"}
        await only_one_waits(world)
    assert {line["count"] for line in logs if line["event"] == "sms.esme_bring_failed"} == {3, 1}
    await world.text(process, "three", OURS, PHONE)
    assert (await client.arrival()).short_message == b"three"
    await only_one_waits(world)
    assert [row["body"] for row in await world.database.fetch("SELECT body FROM sms_esme_out")] == ["odd"]


async def test_huge_texts_are_made_into_parts_a_few_at_a_time(world: EsmeWorld) -> None:
    """An SMSC may bring 64 KiB in one: a thousand of them in parts would hold up the server for seconds."""
    process = await world.process()
    password = await world.account(process, texts=["*"])
    for number in range(8):  # 394 parts each
        await world.text(process, f"{number:04}" * 15_000, OURS, PHONE)
    client, most = await world.client(process, password), 0
    for _ in range(8 * 394):
        await client.arrival()
        most = max(most, len(process.listener._customers["customer"].waiting))
    assert 394 < most < 4 * 394
    async with asyncio.timeout(PATIENCE_S):
        while await world.waiting():
            await asyncio.sleep(0.005)
