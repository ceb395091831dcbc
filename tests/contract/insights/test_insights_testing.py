"""`landline.testing` asks a served admin port for insights."""

from asyncio import to_thread
from datetime import datetime, timedelta

import pytest
from tests.contract.insights.conftest import DE, TOKEN, sent, store

from landline.edge import server
from landline.edge.app import Edge
from landline.services.insights.service import Insights
from landline.store.database import Database
from landline.testing import Admin, AdminError
from landline.testing import insights as helper


async def test_all_pages_come_as_one(
    app: Edge, database: Database, insights: Insights, midnight: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(helper, "PAGE", 2)
    await store(database, insights, *(sent(midnight, tag=f"{at}", to=DE, delivered=1) for at in range(5)))
    await store(database, insights, sent(midnight, tag="0", delivered=1))
    listener = await server.listen(app, server.bind("127.0.0.1", 0))
    try:
        admin = Admin(f"http://127.0.0.1:{listener.port}", TOKEN)
        end = midnight + timedelta(days=1)
        found = await to_thread(
            helper.insights, admin, "local", "tag", "country", since=midnight, until=end, country="DE"
        )
        assert [(row["tag"], row["country"]) for row in found["value"]] == [(f"{at}", "DE") for at in range(5)]
        assert found["totals"]["delivered"] == 5
        assert "continuationToken" not in found
        assert (await to_thread(helper.insights, admin, "local", since=midnight))["totals"]["delivered"] == 6
        with pytest.raises(AdminError, match="grouped by"):
            await to_thread(helper.insights, admin, "local", "campaign")
    finally:
        await listener.close()
