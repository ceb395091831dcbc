"""What is done again and again, each time the same, while tests/chaos/growth.py looks at what grows: outages, changes
of operators, customers and clients that come and go. An act returns when it is over; a fault lasts for as many attempts
to reach what is away, never for a time."""

import asyncio
import signal
import ssl
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from tests.chaos.acts import OTHERS
from tests.chaos.cables import Line
from tests.chaos.growth import SENDER, Act, Growth
from tests.chaos.stage import BINDS, Program, tell
from tests.support.signed import IDENTITY_VERSION, Raw
from tests.support.smpp_client import Client

from landline.protocols.smpp.commands import BindKind
from landline.testing.admin import AdminError

_TRIES = 5
_TEXTS = 5
_ACCOUNT = "/resources/local/smpp-accounts"


async def nothing(growth: Growth) -> None:
    """What the others are compared with by who reads the figures."""
    await growth.texts(_TEXTS)


async def _away(growth: Growth, program: Program, lines: Iterable[Line], tries: int = _TRIES) -> None:
    """End a program, and have it back when whoever needs it has tried so often to reach it."""
    chosen = list(lines)
    program.wanted = False
    program.tell(signal.SIGKILL)
    await growth.until(lambda: not program.running, f"the end of {program.name}")
    before = [line.tried for line in chosen]
    await growth.until(
        lambda: all(line.tried >= first + tries for line, first in zip(chosen, before, strict=True)),
        f"{tries} attempts to reach {program.name}",
    )
    program.wanted = True
    await growth.until(lambda: program.running, f"{program.name}")


async def nats_is_away(growth: Growth) -> None:
    assert growth.stage.nats is not None
    lines = [machine.lines.nats for machine in growth.stage.machines if machine.lines and machine.lines.nats]
    await _away(growth, growth.stage.nats, lines)


async def carriers_are_away(growth: Growth) -> None:
    for name, smsc in growth.stage.smscs.items():
        lines = [machine.lines.smscs[name] for machine in growth.stage.machines if machine.lines]
        await _away(growth, smsc, lines, 3)


async def carriers_are_cut(growth: Growth) -> None:
    lines = [line for machine in growth.stage.machines if machine.lines for line in machine.lines.smscs.values()]
    before = sum(line.tried for line in lines)
    for smsc in growth.stage.smscs.values():
        smsc.say(cut=True)
    await growth.until(lambda: sum(line.tried for line in lines) >= before + sum(BINDS.values()), "new binds")


async def postgres_is_away(growth: Growth) -> None:
    lines = [machine.lines.postgres for machine in growth.stage.machines if machine.lines and machine.lines.postgres]
    await _away(growth, growth.stage.postgres, lines)


async def connections_are_ended(growth: Growth) -> None:
    connection = await growth.stage.postgres.answers("chaos")
    try:
        await connection.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OTHERS}")
    finally:
        await connection.close()
    await growth.texts(1)


async def lines_are_cut(growth: Growth) -> None:
    """All between the machines, as by a switch."""
    for line in growth.stage.lines:
        line.cut()
    await growth.texts(1)


async def webhooks_fail(growth: Growth) -> None:
    for mood in ("errors", "cuts"):
        before = [webhook.failed for webhook in growth.run.webhooks]
        for webhook in growth.run.webhooks:
            webhook.mood = mood
        await growth.texts(_TEXTS)
        await growth.until(
            lambda before=before: all(
                each.failed > first for each, first in zip(growth.run.webhooks, before, strict=True)
            ),
            "failed events",
        )
        for webhook in growth.run.webhooks:
            webhook.mood = "well"


async def subscriptions_change(growth: Growth) -> None:
    path, webhook = "/resources/local/subscriptions", growth.run.webhooks[0]
    name = f"s{growth.turn}"
    endpoint = f"http://127.0.0.1:{webhook.port}/events"
    await growth.stage.ask("POST", path, {"name": name, "endpoint": endpoint})
    for batch in (3, 7):
        await growth.stage.ask("PATCH", f"{path}/{name}", {"maxEventsPerBatch": batch})
        await growth.stage.ask("PATCH", f"{path}/{webhook.name}", {"maxEventsPerBatch": batch + 10})
    await growth.stage.ask("DELETE", f"{path}/{name}")


async def certificates_are_read_anew(growth: Growth) -> None:
    for machine in growth.stage.machines:
        machine.tell(signal.SIGHUP, 0)
    await growth.texts(1)


async def strangers_call(growth: Growth) -> None:
    """Wrong keys, wrong tokens, nonsense, and connections that end in the middle of a request."""
    bundle = str(growth.stage.certificate)
    tls = ssl.create_default_context(cafile=bundle)

    def call() -> None:
        for machine in growth.serving:
            stranger = Raw(f"https://localhost:{machine.port}/", "bm90IHRoZSBrZXk=", bundle)
            stranger.call("POST", "/sms", {"from": f"+1800{growth.turn:07d}"})
            stranger.send("GET", f"/nowhere/{growth.turn}")
            growth.raw.call("POST", "/sms", {"from": "pool:nobody's", "smsRecipients": [], "message": f"{growth.turn}"})
            with suppress(AdminError):
                type(machine.admin)(machine.admin.url, f"wrong{growth.turn}").call("GET", "/resources")

    await asyncio.to_thread(call)
    for machine in growth.serving:
        for sent in (
            b"",
            b"POST /sms HTTP/1.1\r\nhost: localhost\r\ncontent-length: 900\r\n\r\n{",
            b"\x00\xff nonsense\r\n\r\n",
        ):
            _, writer = await asyncio.open_connection("localhost", machine.port, ssl=tls)
            writer.write(sent)
            writer.transport.abort()


async def strangers_bind(growth: Growth) -> None:
    """Customers' failed logins, and connections that bind nobody."""
    for machine in growth.serving:
        for system_id in ("shop", f"x{growth.turn}"):
            client = Client()
            await client.connect(machine.smpp_port)
            client.begin_bind(f"no{growth.turn}", system_id=system_id)
            await growth.until(lambda client=client: bool(client.events) or client.closed, "an answer to a bind")
            client.pump.abort()
        silent = Client()
        await silent.connect(machine.smpp_port)
        silent.pump.abort()


async def customers_come_and_go(growth: Growth) -> None:
    """In each way, with receipts on their way, from an account that is deleted then."""
    made = await growth.stage.ask("POST", _ACCOUNT, {"systemId": f"c{growth.turn}", "binds": 10})
    clients: list[Client] = []
    for machine in growth.serving:
        for kind in (BindKind.TRANSCEIVER, BindKind.TRANSMITTER, BindKind.RECEIVER):
            client = Client()
            clients.append(client)
            await client.connect(machine.smpp_port)
            client.begin_bind(made["password"], kind, system_id=f"c{growth.turn}")
            await growth.until(lambda client=client: bool(client.events), "an answer to a bind")
            if kind is not BindKind.RECEIVER:
                told = {"source_addr": SENDER[1:], "destination_addr": "14254440001", "registered_delivery": 1}
                client.submit(b"equal each time", **told)
                await growth.until(lambda client=client: len(client.events) >= 2, "an answer to a text")
    for number, client in enumerate(clients):
        if number % 2:
            client.pump.abort()
        else:
            client.session.unbind(0.0)
            client.pump.flush()
    await growth.stage.ask("DELETE", f"{_ACCOUNT}/c{growth.turn}")
    for client in clients:
        client.pump.abort()


async def numbers_come_and_go(growth: Growth) -> None:
    """With a rate, keywords, a carrier's route, a pool and texts of their own."""
    number = f"+1844{growth.turn:07d}"
    path = f"/resources/local/numbers/{quote(number)}"
    ask = growth.stage.ask
    await ask("POST", "/resources/local/numbers", {"number": number})
    await ask("PUT", f"{path}/rate", {"messagesPerSecond": 100})
    await ask("PUT", f"{path}/keywords", {"languages": [{"language": "es"}]})
    await ask("PUT", f"/resources/local/sms/pools/p{growth.turn}", {"senders": [SENDER, number], "sticky": True})
    for sender in (number, f"pool:p{growth.turn}"):
        body = {"from": sender, "to": ["+14254440001", f"+1425{growth.turn:07d}"], "message": "equal each time"}
        await ask("POST", "/resources/local/messages", body)
    await growth.quiet()
    await ask("DELETE", f"/resources/local/sms/pools/p{growth.turn}")
    await ask("DELETE", path)


async def settings_change(growth: Growth) -> None:
    """Tags, caps, prices and rules of routing, each another one, taken back."""
    ask, settings = growth.stage.ask, "/resources/local/sms/settings"
    tag = f"t{growth.turn}"
    await ask(
        "PATCH", settings, {"haltedTags": {tag: True}, "caps": {"perDay": 10**6 + growth.turn, "spendPerDay": "1000"}}
    )
    await ask("PUT", f"/sms/prices/north/{quote('+1425' + str(growth.turn))}", {"price": "0.01"})
    await ask("PUT", f"/sms/routes/{tag}", {"priority": 5, "tags": [tag], "carriers": [{"carrier": "north"}]})
    body = {"from": SENDER, "to": ["+14254440001"], "message": "equal each time", "tag": tag}
    await ask("POST", "/resources/local/messages", body)
    await ask("DELETE", f"/sms/routes/{tag}")
    await ask("DELETE", f"/sms/prices/north/{quote('+1425' + str(growth.turn))}")
    await ask("PATCH", settings, {"haltedTags": {tag: None}, "caps": None})


async def people_leave(growth: Growth) -> None:
    """They opt out by text and are entered, opt in again, and have everything erased."""
    phone, pair = f"+1425{growth.turn:07d}", {"from": SENDER, "to": f"+1425{growth.turn:07d}"}
    ask, texted = growth.stage.ask, growth.run.ledger.journals["north"]
    for word in ("STOP", "START"):
        before = sum(line[1] == "acked" for line in texted)
        growth.stage.smscs["north"].say(text=[phone, SENDER, word, growth.run.ledger.token("k")])
        await growth.until(lambda before=before: sum(line[1] == "acked" for line in texted) > before, "a keyword's end")
    await ask("POST", "/resources/local/opt-outs", {"value": [pair]})
    body = {"from": SENDER, "to": [phone], "message": "equal each time"}
    await ask("POST", "/resources/local/messages", body)
    await ask("POST", "/resources/local/opt-outs:remove", {"value": [pair]})
    after: str | None = ""
    while after is not None:
        erase = {"number": phone, **({"after": after} if after else {})}
        after = (await ask("POST", "/resources/local/messages:erase", erase)).get("after")


async def texts_are_taken_back(growth: Growth) -> None:
    """Scheduled ones, by the API."""
    for _ in range(3):
        due = datetime.now(UTC) + timedelta(days=7)
        body = {"from": SENDER, "to": ["+14254440001"], "message": "later", "sendAt": due.isoformat()}
        made = await growth.stage.ask("POST", "/resources/local/messages", body)
        await growth.stage.ask("DELETE", f"/messages/{quote(made['value'][0]['messageId'])}")


async def users_come_and_go(growth: Growth) -> None:
    """Identities with tokens, a chat thread, a room."""

    def call() -> None:
        made = growth.raw.call(
            "POST", "/identities", {"createTokenWithScopes": ["chat"]}, version=IDENTITY_VERSION
        ).json()
        path = f"/identities/{quote(made['identity']['id'])}"
        growth.raw.call("POST", f"{path}/:issueAccessToken", {"scopes": ["chat"]}, version=IDENTITY_VERSION)
        growth.raw.call("POST", f"{path}/:revokeAccessTokens", version=IDENTITY_VERSION)
        growth.raw.call("DELETE", path, version=IDENTITY_VERSION)

    await asyncio.to_thread(call)


async def a_process_is_killed(growth: Growth) -> None:
    """One of alpha's two, which its supervisor starts anew: what grows is that one's, or another machine's."""
    alpha = growth.stage.machines[0]
    before = alpha.pids()
    killed = before[-1]
    tell([killed], signal.SIGKILL)
    await growth.until(lambda: len(alpha.pids()) == len(before) and killed not in alpha.pids(), "another process")


REPEATED: dict[str, Act] = {
    act.__name__: act
    for act in (
        nothing,
        nats_is_away,
        carriers_are_away,
        carriers_are_cut,
        postgres_is_away,
        connections_are_ended,
        lines_are_cut,
        webhooks_fail,
        subscriptions_change,
        certificates_are_read_anew,
        strangers_call,
        customers_come_and_go,
        numbers_come_and_go,
        settings_change,
        people_leave,
        texts_are_taken_back,
        users_come_and_go,
        a_process_is_killed,
        strangers_bind,  # whose address has to wait after that
    )
}
