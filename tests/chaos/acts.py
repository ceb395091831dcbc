"""What operators do in the middle of everything: they change carriers, routes and processes and start the machines
anew, change subscriptions, and deal with PostgreSQL and NATS as if nobody used them."""

import asyncio
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
from tests.chaos.faults import Fault, Faults
from tests.chaos.ledger import Asked
from tests.chaos.senders import NUMBERS
from tests.chaos.stage import BINDS, POLICIES, WINDOW, Machine
from tests.support.smpp_client import Client

from landline.testing.admin import AdminError

_GONE = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
"""What an operator's own statements may meet while PostgreSQL is killed."""
_BUSY_TABLES = (
    "sms_messages",
    "sms_blocks",
    "sms_submissions",
    "sms_attempts",
    "sms_carriers",
    "sms_esme_out",
    "events_deliveries",
    "insights_deltas",
    "numbers_owned",
    "smpp_binds",
    "store_processes",
)
OTHERS = "datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"


async def change_the_carriers(faults: Faults) -> None:
    """Another plan, and all machines started by it one after the other: windows, binds, crash policies, routes, how
    many processes; now and then without one of the carriers, which is back soon, or once its texts went elsewhere."""
    if "plan" in faults.busy:
        return
    faults.busy.add("plan")
    plan, random = faults.stage.plan, faults.random
    name = random.choice(list(BINDS))
    plan.carriers[name] = {
        "window": random.choice([1, 3, WINDOW, 50]),
        "binds": random.choice([1, 2, 3, 4]),
        "crash_policy": random.choice([POLICIES[name], POLICIES[name], "resend", "unknown", "query"]),
    }
    plan.first, plan.weight = random.choice(list(BINDS)), random.choice([0, 1, 5])
    plan.workers = {"alpha": random.choice([1, 2, 4]), "beta": random.choice([1, 2])}
    plan.without = random.choice([None, *BINDS])
    plan.missed |= {plan.without} if plan.without else set()
    faults.ledger.fault(f"another plan: {plan}")
    await _start_anew(faults)
    if plan.without is not None:
        # Texts from phones are known again for two minutes, then told twice (docs/guides/carriers.md).
        await asyncio.sleep(random.choice([5, 20, 75]))
        plan.without = None
        faults.ledger.fault("the carrier is back")
        await _start_anew(faults)
    faults.busy.discard("plan")


async def _start_anew(faults: Faults) -> None:
    for machine in faults.random.sample(faults.stage.machines, len(faults.stage.machines)):
        await _start_by_plan(faults, machine)
    faults.ledger.fault("all were started anew")


async def _start_by_plan(faults: Faults, machine: Machine) -> None:
    while machine.name in faults.busy:
        await asyncio.sleep(0.2)
    faults.busy.add(machine.name)
    try:
        faults.stage.configure(machine)
        await machine.stop(signal.SIGTERM)
        machine.wanted = True
        with suppress(TimeoutError):  # something else goes wrong beside
            await machine.serves()
    finally:
        faults.busy.discard(machine.name)


async def change_a_subscription(faults: Faults) -> None:
    """One that is there all along, and goes on getting everything: in other batches, at another path."""
    webhook = faults.random.choice(faults.webhooks)
    for _ in range(3):
        changed = faults.random.choice(
            [
                {"maxEventsPerBatch": faults.random.choice([1, 2, 20, 500])},
                {"preferredBatchSizeInKilobytes": faults.random.choice([1, 4, 64])},
                {"endpoint": f"http://127.0.0.1:{webhook.port}/{faults.random.choice(['events', 'more'])}"},
            ]
        )
        faults.ledger.fault(f"{webhook.name} is changed: {changed}")
        with suppress(AdminError):  # it is not in the mood to consent
            await faults.stage.ask("PATCH", f"/resources/local/subscriptions/{webhook.name}", changed)
        await asyncio.sleep(faults.while_s(0, 3))


@asynccontextmanager
async def _operator(faults: Faults, what: str) -> AsyncGenerator[Any]:
    """A connection of one, while everything else goes on; what he does may be lost."""
    connection: Any = None
    try:
        connection = await faults.stage.postgres.answers("chaos")
        yield connection
    except _GONE as error:
        faults.ledger.fault(f"{what}: {type(error).__name__} {error}")
    finally:
        if connection is not None:
            connection.terminate()


async def end_connections(faults: Faults) -> None:
    """Some or all of them, or only what they do, a few times."""
    how, part = faults.random.choice(["pg_terminate_backend", "pg_cancel_backend"]), faults.random.choice([0.1, 0.3, 1])
    faults.ledger.fault(f"{how} of {part} of all")
    async with _operator(faults, how) as connection:
        for _ in range(5):
            await connection.execute(f"SELECT {how}(pid) FROM pg_stat_activity WHERE {OTHERS} AND random() < {part}")
            await asyncio.sleep(faults.while_s(0.02, 1.5))


async def lock_a_table(faults: Faults) -> None:
    """As whoever alters it, or copies it, does."""
    table, seconds = faults.random.choice(_BUSY_TABLES), faults.random.choice([2, 8, 20])
    mode = faults.random.choice(["ACCESS EXCLUSIVE", "SHARE", "EXCLUSIVE"])
    what = f"SIGSTOP of statements: LOCK TABLE {table} IN {mode} MODE"

    async def locked() -> None:
        async with _operator(faults, what) as connection, connection.transaction():
            await connection.execute(f"LOCK TABLE {table} IN {mode} MODE", timeout=30)
            await asyncio.sleep(seconds)

    locking: list[asyncio.Task[None]] = []
    await faults.hold(
        f"lock on {table}", what, seconds, lambda: locking.append(asyncio.create_task(locked())), lambda: None
    )
    await asyncio.gather(*locking)


async def customers_come_and_go(faults: Faults) -> None:
    """Many connections at once under the name of the kiosk, with its password and without: they bind, submit, and are
    gone at any moment, without a word or with an unbind."""
    serving = [machine for machine in faults.stage.machines if machine.kind == "serve"]
    faults.ledger.fault("40 connections of customers come and go")

    async def one() -> None:
        client, right = Client(), faults.random.random() < 0.7
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(client.connect(faults.random.choice(serving).smpp_port), 5.0)
            client.begin_bind(faults.kiosk.password if right else "wrong", system_id=faults.kiosk.system_id)
            await asyncio.sleep(faults.while_s(0, 2))
            if client.session.can_submit:
                token, to = faults.ledger.token("g"), faults.random.choice(NUMBERS)
                sender = faults.senders.senders[0]
                faults.ledger.asked[token, to] = Asked(token, to, "passing", time.time(), sender)
                address = {"source_addr": sender[1:], "destination_addr": to[1:]}
                client.submit(f"{token} in passing".encode(), registered_delivery=1, **address)
                await asyncio.sleep(faults.while_s(0, 0.3))
            if client.session.can_submit and faults.random.random() < 0.5:
                client.session.unbind(0.0)
                client.pump.flush()
                await asyncio.sleep(faults.while_s(0, 1))
            client.pump.abort()

    await asyncio.gather(*(one() for _ in range(40)))


async def lose_nats_for_long(faults: Faults) -> None:
    if faults.stage.nats is not None:
        await faults.away(faults.stage.nats, signal.SIGKILL, faults.while_s(15, 60))


ACTS: dict[Fault, float] = {
    change_the_carriers: 2,
    change_a_subscription: 2,
    end_connections: 1.5,
    lock_a_table: 2,
    customers_come_and_go: 1.5,
    lose_nats_for_long: 0.7,
}
