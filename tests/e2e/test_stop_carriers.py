"""What carriers have taken and not answered yet when a server is told to end."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.cluster import Tables, eventually, written
from tests.support.signed import Raw

from landline.testing import Server
from landline.testing.smsc import Smsc

ANSWERS_AFTER_S = 1.2
"""Longer than the application may take to close, and shorter than requests are waited for."""
TEXTS = 5


@pytest.fixture
async def smsc() -> AsyncGenerator[Smsc]:
    smsc = Smsc({"landline": "secret"})
    await smsc.start()
    yield smsc
    await smsc.close()


async def test_a_stop_waits_for_the_answers_of_a_slow_carrier_and_nothing_is_in_doubt(
    landline_server: Callable[..., Server], smsc: Smsc, dsn: str, tmp_path: Path
) -> None:
    """Else each restart of a server would have texts sent twice, or end them as unknown."""
    config = written(tmp_path / "landline.toml", dsn, smsc.port, binds=1)
    server = await asyncio.to_thread(landline_server, arguments=["--config", str(config)])
    raw = Raw(server.endpoint, server.access_key, server.ca_bundle)

    async def bound() -> bool:
        return smsc.bound("landline") == 1

    await eventually(bound)
    smsc.conduct.response_delay_s = ANSWERS_AFTER_S
    recipients: list[Any] = [f"+1206555{number:04d}" for number in range(TEXTS)]
    sent = await asyncio.to_thread(raw.send_sms, server.phone_number, recipients, "on its way")
    assert sent.status == 202

    async def taken() -> bool:
        return len(smsc.received) == TEXTS

    await eventually(taken)
    await asyncio.to_thread(server.stop)
    tables = await Tables.open(dsn)
    try:
        assert await tables.submitted() == TEXTS
        smsc.conduct.response_delay_s = 0.0
        await asyncio.to_thread(server.restart)

        async def ended() -> bool:
            return await tables.unfinished() == 0

        await eventually(ended)
        assert await tables.states() == {"2000": TEXTS}
    finally:
        await tables.close()
    assert set(Counter(each.recipient for each in smsc.received).values()) == {1}
