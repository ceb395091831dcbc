"""Processes that serve SMPP customers on one database, with time driven; messages end as carriers' news ends them."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from tests.support.gateway import Gateway
from tests.support.smpp_client import Client

from landline.core.ids import ResourceId, time_ordered
from landline.engines.clock import DrivenClock
from landline.engines.simulated.carrier import SimulatedCarrier
from landline.engines.smpp.listener import ListenerConfig, SmppListener
from landline.ports.sms_carrier import Submitted
from landline.protocols.smpp.events import Bound
from landline.services.sms import records_progress as records
from landline.services.sms import records_receipts
from landline.services.sms.accounts import Accounts, Settings
from landline.services.sms.esme import Esme, PlannedSends
from landline.services.sms.esme_worker import EsmeWorker
from landline.services.sms.model.messages import State
from landline.services.sms.records_receipts import Ending
from landline.store.database import Database, Record
from landline.store.sealing import Sealer

SECRET = b"a sealing secret that all processes share"


class Process:
    """One process. `crash` drops everything it holds in memory."""

    def __init__(self, dsn: str, database: Database, clock: DrivenClock, **listener: Any) -> None:
        self.owner = owner = uuid4()
        self.database = database
        self.clock = clock
        self.gateway = Gateway(dsn, database, clock, SimulatedCarrier(database, clock, 1))
        self.gateway.worker.close()  # it never runs: what is accepted stays in the database
        self.changes = self.gateway.changes
        self.numbers = self.gateway.numbers
        self.accounts = Accounts(database, clock, self.changes, Sealer(SECRET), self.numbers)
        sends = PlannedSends(self.gateway.sms, clock)
        self.out = self.gateway.customers
        self.esme = Esme(database, clock, self.accounts, self.out, sends, self.gateway.taking_back.cancel)
        self._tls = listener.pop("tls", None)
        self.listener = SmppListener(ListenerConfig(**{"port": 0, **listener}), self.esme, database, clock)
        self.worker = EsmeWorker(
            database, clock, self.changes, self.accounts, self.esme, self.out, self.listener, owner
        )
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> "Process":
        await self.changes.start()
        await self.listener.start(tls=self._tls)
        self._running = asyncio.create_task(self.worker.run())
        return self

    async def close(self) -> None:
        await self.listener.close(0.3)
        if self._running is not None:
            await self.worker.finish()
        await self.crash()

    async def crash(self) -> None:
        """End without finishing anything."""
        for connection in list(self.listener._connections):
            connection.end()
        if self._running is not None:
            self._running.cancel()
            (ending,) = await asyncio.gather(self._running, return_exceptions=True)
            assert isinstance(ending, asyncio.CancelledError), ending
            self._running = None
        await self.listener.close()
        self.worker.close()
        await self.changes.close()
        await self.gateway.events.callout.close()


class EsmeWorld:
    """See the module."""

    def __init__(self, dsn: str, database: Database, clock: DrivenClock | None = None) -> None:
        self._dsn = dsn
        self.database = database
        self.clock = clock or DrivenClock()
        self.resource = ResourceId(uuid4())
        self.processes: list[Process] = []
        self.clients: list[Client] = []

    async def process(self, **listener: Any) -> Process:
        process = await Process(self._dsn, self.database, self.clock, **listener).start()
        if not self.processes:
            await process.numbers.ensure_dev_numbers(self.resource)
        self.processes.append(process)
        return process

    async def account(self, process: Process, system_id: str = "customer", **settings: Any) -> str:
        """Make an account; its password."""
        _, password = await process.accounts.create(self.resource, system_id, Settings(**settings))
        return password

    async def client(self, process: Process, password: str, system_id: str = "customer", **bind: Any) -> Client:
        """A bound customer."""
        client = await self.connect(process)
        assert isinstance(await client.bind(password, system_id=system_id, **bind), Bound)
        return client

    async def connect(self, process: Process) -> Client:
        assert process.listener.port is not None
        client = Client(window=1000)
        await client.connect(process.listener.port)
        self.clients.append(client)
        return client

    async def messages(self) -> list[Record]:
        return await self.database.fetch("SELECT * FROM sms_messages ORDER BY message_id")

    async def waiting(self) -> int:
        return await self.database.fetchval("SELECT count(*) FROM sms_esme_out")

    async def end(self, process: Process, messages: Sequence[Record], code: int = 2000) -> None:
        """A carrier has taken and reported `messages`."""
        now = self.clock.now()
        state = State.DELIVERED if code == 2000 else State.FAILED
        taken = [
            (Submitted(row["message_id"], f"theirs-{row['message_id']}"), row["resource_id"], row["block_id"])
            for row in messages
        ]
        endings = [(f"theirs-{row['message_id']}", Ending(state, code, now, None)) for row in messages]
        async with self.database.transaction() as connection:
            await records.submitted(connection, "simulated", taken, now)
            ended = await records_receipts.report(connection, "simulated", endings, now)
            assert len(ended) == len(messages)
            woken = await process.out.ended(connection, ended)
        process.out.committed(woken)

    async def text(self, process: Process, words: str, number: str, sender: str) -> None:
        """A phone's text has arrived."""
        async with self.database.transaction() as connection:
            woken = await process.out.arrived(
                connection,
                resource=self.resource,
                message_id=new_id(self.clock),
                sender=sender,
                recipient=number,
                text=words,
            )
        process.out.committed(woken)

    async def lease_ends(self) -> None:
        await self.clock.advance(timedelta(seconds=91))

    async def close(self) -> None:
        for client in self.clients:
            client.pump.abort()
        for process in self.processes:
            await process.close()


def new_id(clock: DrivenClock) -> UUID:
    return time_ordered(clock.now(), uuid4().bytes[:10])
