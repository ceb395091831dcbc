"""A resource's SMS settings over the admin API, and how soon each process knows of a change."""

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from prometheus_client.registry import CollectorRegistry
from tests.support.front import ADMIN_TOKEN, Reply, call
from tests.support.patience import PATIENCE_S

from landline.core.errors import NotFound
from landline.core.ids import ResourceId
from landline.edge.admin import admin_app
from landline.edge.app import Edge
from landline.services.sms import admin_guard
from landline.services.sms.model import settings as model
from landline.services.sms.settings import Settings
from landline.store.changes import Changes
from landline.store.database import Database

SHOP = ResourceId(UUID(int=1))
PATH = "/resources/shop/sms/settings"


@dataclass
class Process:
    """One process's settings and admin port."""

    changes: Changes
    settings: Settings
    app: Edge

    async def ask(self, method: str, body: Any = None, path: str = PATH) -> Reply:
        headers = {"host": "localhost", "authorization": f"Bearer {ADMIN_TOKEN}"}
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return await call(self.app, method, path, headers, raw)


async def resolve(name: str) -> ResourceId:
    if name != "shop":
        raise NotFound("There is no such resource.")
    return SHOP


async def process(database: Database, dsn: str) -> Process:
    changes = Changes(dsn)
    await changes.start()
    settings = Settings(database, changes, model.defaults(guarded=True, countries=("US",)))
    routes = admin_guard.routes(settings, resolve)
    app = admin_app(routes, token=ADMIN_TOKEN, registry=CollectorRegistry(), checks={})
    return Process(changes, settings, app)


@pytest.fixture
async def one(database: Database, dsn: str) -> AsyncGenerator[Process]:
    running = await process(database, dsn)
    yield running
    await running.changes.close()


@pytest.fixture
async def another(database: Database, dsn: str) -> AsyncGenerator[Process]:
    running = await process(database, dsn)
    yield running
    await running.changes.close()


async def test_a_resource_that_set_nothing_has_the_products_defaults(one: Process) -> None:
    reply = await one.ask("GET")
    assert reply.status == 200
    assert reply.json() == {
        "allowedCountries": ["US"],
        "caps": {
            "perDay": None,
            "perMonth": None,
            "unit": "messages",
            "spendPerDay": None,
            "spendPerMonth": None,
        },
        "velocity": {
            "enabled": True,
            "prefixDigits": 8,
            "perPrefix": {"minute": 60, "hour": 300, "day": 1000},
            "perRecipient": {"minute": 5, "hour": 20, "day": 50},
        },
        "sequential": {"enabled": True, "run": 10, "windowSeconds": 3600},
        "smartEncoding": False,
        "failoverOnReceipt": False,
        "defaultValiditySeconds": None,
        "acsLimits": False,
        "haltedTags": {},
        "messagingConnectPartners": ["*"],
    }


async def test_what_is_set_is_shown_and_a_patch_changes_only_what_it_names(one: Process) -> None:
    put = await one.ask("PUT", {"allowedCountries": ["de", "US"], "caps": {"perDay": 1000}, "smartEncoding": True})
    assert put.status == 200
    assert put.json()["allowedCountries"] == ["DE", "US"]
    patched = await one.ask("PATCH", {"caps": {"perMonth": 20_000}, "velocity": {"perPrefix": {"minute": 7}}})
    assert patched.json() == (await one.ask("GET")).json()
    found = patched.json()
    no_spend = {"spendPerDay": None, "spendPerMonth": None}
    assert found["caps"] == {"perDay": 1000, "perMonth": 20_000, "unit": "messages", **no_spend}
    assert found["velocity"]["perPrefix"] == {"minute": 7, "hour": 300, "day": 1000}
    assert found["smartEncoding"] is True
    back = (await one.ask("PATCH", {"allowedCountries": None, "caps": {"perDay": None}})).json()
    assert back["allowedCountries"] == ["US"]
    assert back["caps"] == {"perDay": None, "perMonth": 20_000, "unit": "messages", **no_spend}
    assert (await one.ask("PUT", {})).json()["caps"]["perMonth"] is None


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ('"12.50"', "12.5"),
        ("12.50", "12.5"),
        ("0.1", "0.1"),
        ("50", "50"),
        ("5e1", "50"),
        ("123456789012.123457", "123456789012.123457"),  # which no float is
        ("1000000000000", "1000000000000"),
    ],
)
async def test_amounts_of_money_are_exact_as_numbers_and_as_text(one: Process, written: str, shown: str) -> None:
    caps = (await one.ask("PATCH", f'{{"caps": {{"spendPerDay": {written}}}}}'.encode())).json()["caps"]
    assert caps["spendPerDay"] == shown
    caps = (await one.ask("PATCH", {"caps": {"spendPerMonth": "3.5"}})).json()["caps"]
    assert (caps["spendPerDay"], caps["spendPerMonth"]) == (shown, "3.5")
    one.changes.forget("sms.settings", None)
    assert (await one.ask("GET")).json()["caps"]["spendPerDay"] == shown


async def test_what_is_shown_can_be_set(one: Process) -> None:
    shown = (await one.ask("GET")).json()
    assert (await one.ask("PUT", shown)).json() == shown


@pytest.mark.parametrize(
    ("body", "target", "said"),
    [
        ({"allowedCountries": ["UK"]}, "allowedCountries", "UK"),
        ({"allowedCountries": "US"}, "allowedCountries", "array"),
        ({"caps": {"perDay": 0}}, "caps.perDay", ">= 1"),
        ({"caps": {"perDay": 1.5}}, "caps.perDay", "int"),
        ({"caps": {"unit": "euros"}}, "caps.unit", "euros"),
        ({"caps": {"spendPerDay": 0}}, "caps.spendPerDay", "0.000001"),
        ({"caps": {"spendPerDay": "0.0000001"}}, "caps.spendPerDay", "decimals"),
        ({"caps": {"spendPerMonth": "-5"}}, "caps.spendPerMonth", "decimals"),
        ({"caps": {"spendPerMonth": "NaN"}}, "caps.spendPerMonth", "decimals"),
        (b'{"caps": {"spendPerMonth": 1e400}}', "caps.spendPerMonth", "decimals"),
        (b'{"caps": {"spendPerMonth": 1e9999999999999999999}}', "body", "range"),
        (b'{"caps": {"perDay": 1e400}}', "caps.perDay", "range"),
        (b'{"caps": {"perDay": -1e-9999999999999999999}}', "body", "range"),
        ({"caps": {"spendPerMonth": "many"}}, "caps.spendPerMonth", "decimal"),
        ({"caps": {"spendPerMonth": True}}, "caps.spendPerMonth", "decimal"),
        ({"velocity": {"perPrefx": {}}}, "velocity", "perPrefx"),
        ({"velocity": {"prefixDigits": 2}}, "velocity.prefixDigits", ">= 3"),
        ({"velocity": {"perRecipient": {"minute": "many"}}}, "velocity.perRecipient.minute", "int"),
        ({"sequential": {"run": 2}}, "sequential.run", ">= 3"),
        ({"sequential": True}, "sequential", "object"),
        ({"defaultValiditySeconds": 5}, "defaultValiditySeconds", ">= 60"),
        ({"caps": {"perDay": {"a": {"b": {"c": {"d": {"e": 1}}}}}}}, "body", "deep"),
        ([], "body", "object"),
        (b"{", "body", "JSON"),
        (b'{"caps":' * 100_000, "body", "deep"),
    ],
)
async def test_a_wrong_setting_is_refused_by_name_and_nothing_is_set(
    one: Process, body: Any, target: str, said: str
) -> None:
    before = (await one.ask("PATCH", {"caps": {"perDay": 7}})).json()
    for method in ("PUT", "PATCH"):
        reply = await one.ask(method, body)
        assert reply.status == 400
        error = reply.json()["error"]
        assert error["target"] == target
        assert said in error["message"]
    assert (await one.ask("GET")).json() == before


async def test_an_unknown_resource_has_no_settings(one: Process) -> None:
    for method, body in (("GET", None), ("PUT", {}), ("PATCH", {})):
        assert (await one.ask(method, body, "/resources/nobody/sms/settings")).status == 404


async def test_every_process_sees_a_change(one: Process, another: Process) -> None:
    heard = asyncio.Event()
    another.changes.watch("sms.settings", lambda _key: heard.set())
    assert (await another.settings.of(SHOP)).caps.per_day is None
    heard.clear()
    await one.ask("PATCH", {"caps": {"perDay": 5}})
    assert (await one.settings.of(SHOP)).caps.per_day == 5  # at once, where it was made
    async with asyncio.timeout(PATIENCE_S):
        await heard.wait()
    assert (await another.settings.of(SHOP)).caps.per_day == 5


async def test_settings_are_read_once_and_each_time_while_nothing_is_heard(one: Process) -> None:
    first = await one.settings.of(SHOP)
    assert await one.settings.of(SHOP) is first
    await one.changes.close()
    assert await one.settings.of(SHOP) is not first


async def test_patches_at_the_same_time_are_all_kept(one: Process, another: Process) -> None:
    patches = [{"caps": {"perDay": 5}}, {"caps": {"perMonth": 50}}, {"smartEncoding": True}, {"acsLimits": False}]
    places = [one, another, one, another]
    await asyncio.gather(*(place.ask("PATCH", patch) for place, patch in zip(places, patches, strict=True)))
    await one.ask("PATCH", {})
    found = (await one.ask("GET")).json()
    assert (found["caps"]["perDay"], found["caps"]["perMonth"]) == (5, 50)
    assert (found["smartEncoding"], found["acsLimits"]) == (True, False)


async def test_what_a_newer_version_has_stored_is_left_alone(one: Process, database: Database) -> None:
    """During an upgrade old and new processes share the settings."""
    newer = {"caps": {"perDay": 5, "perYear": 7}, "curfew": {"from": "22:00"}, "smartEncoding": True}
    await database.execute("INSERT INTO sms_settings (resource_id, settings) VALUES ($1, $2)", SHOP, json.dumps(newer))
    told = await one.ask("GET")
    assert (told.status, told.json()["caps"]["perDay"], told.json()["smartEncoding"]) == (200, 5, True)
    assert "curfew" not in told.json()
    told = await one.ask("PATCH", {"caps": {"perDay": 6}, "smartEncoding": None})
    assert (told.status, told.json()["caps"]["perDay"]) == (200, 6)
    stored = json.loads(await database.fetchval("SELECT settings::text FROM sms_settings"))
    assert stored == {"caps": {"perDay": 6, "perYear": 7}, "curfew": {"from": "22:00"}}
    for unknown in ({"curfew": {"from": "21:00"}}, {"caps": {"perYear": 8}}, {"caps": 7}):
        assert (await one.ask("PATCH", unknown)).status == 400
    assert json.loads(await database.fetchval("SELECT settings::text FROM sms_settings")) == stored
