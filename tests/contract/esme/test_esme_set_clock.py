"""What customers are brought when the machine's clock is set back."""

from datetime import datetime, timedelta, tzinfo
from typing import Self

import pytest
from tests.support.esme import EsmeWorld

from landline.engines import clock as clock_engines


class AnHourEarlier(datetime):
    """What the machine's clock shows once it is set."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return super().now(tz) - timedelta(hours=1)


async def test_receipts_and_texts_are_brought_to_who_was_bound_before(
    world: EsmeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process))
    client.submit(registered_delivery=1)
    await client.accepted()
    await world.end(process, await world.messages())
    await client.receipt()
    monkeypatch.setattr(clock_engines, "datetime", AnHourEarlier)
    client.submit(registered_delivery=1)
    told = await client.accepted()
    await world.end(process, [row for row in await world.messages() if row["ended_at"] is None])
    assert (await client.receipt()).message_id == told
