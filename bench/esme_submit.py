"""How many submit_sm a second does the SMPP server accept durably, over one bind and over several?

The listener and the service behind it run in a process of their own on an embedded PostgreSQL that syncs; no carrier
takes the messages, so that accepting alone is measured. The customer runs beside it on the same machine.
Run: python -m bench.esme_submit [messages]
"""

import asyncio
import multiprocessing
import sys
import tempfile
import time
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from uuid import uuid4

import uvloop
from bench import machine
from tests.support.esme import Process

from landline.core.ids import ResourceId
from landline.engines.clock import DrivenClock
from landline.engines.smpp.pump import Pump
from landline.protocols.smpp import pdu
from landline.protocols.smpp.commands import BindKind
from landline.protocols.smpp.events import Answered, Bound, Event
from landline.protocols.smpp.limits import Limits
from landline.protocols.smpp.pdu import ShortMessage, SubmitTemplate
from landline.protocols.smpp.session import Session
from landline.protocols.smpp.states import Role
from landline.services.sms.accounts import Settings
from landline.store.database import Database
from landline.store.embedded import EmbeddedServer
from landline.store.migrations import migrate

SENDER = "18005550100"


class Load:
    """Keeps one bind's window full until its messages are used up."""

    def __init__(self, messages: int, window: int) -> None:
        self.session = Session(Role.ESME, 0.0, Limits(window=window))
        self.pump = Pump(self.session, lambda: 0.0, self._happened, lambda: None)
        self.done = asyncio.Event()
        self.refused = 0
        self._unsent = self._unanswered = messages
        self._template = SubmitTemplate(
            ShortMessage(source_addr_ton=1, source_addr=SENDER, dest_addr_ton=1, registered_delivery=1)
        )

    async def start(self, port: int, password: str) -> None:
        await asyncio.get_running_loop().create_connection(lambda: self.pump, "127.0.0.1", port)
        self.session.bind(BindKind.TRANSCEIVER, pdu.Bind("load", password), 0.0)
        self.pump.flush()

    def _happened(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Answered):
                self._unanswered -= 1
                self.refused += event.status != 0
            else:
                assert isinstance(event, Bound)
        for _ in range(min(self.session.free, self._unsent)):
            self._unsent -= 1
            text = b"Your parcel arrives today, number %d" % self._unsent
            self.session.submit(self._template.body(f"1425{self._unsent % 10_000_000:07}", text), None, 0.0)
        if not self._unanswered:
            self.done.set()


def serve(pipe: Pipe, directory: str) -> None:
    """The server's process: tells its port and the password, then the CPU seconds it has used when asked."""

    async def run() -> None:
        postgres = EmbeddedServer(Path(directory))
        dsn = await postgres.start()
        database = await Database.connect(dsn)
        await migrate(database)
        process = await Process(dsn, database, DrivenClock()).start()
        resource = ResourceId(uuid4())
        await process.numbers.ensure_dev_numbers(resource)
        _, password = await process.accounts.create(resource, "load", Settings(window=1000, binds=10))
        pipe.send((process.listener.port, password))
        while await asyncio.to_thread(pipe.recv):
            pipe.send((time.process_time(), await database.fetchval("SELECT count(*) FROM sms_messages")))
        await process.close()
        await database.close()
        await postgres.close()

    uvloop.run(run())


async def load(port: int, password: str, messages: int, binds: int, window: int) -> float:
    """Messages accepted a second."""
    loads = [Load(messages // binds, window) for _ in range(binds)]
    started = time.perf_counter()
    for one in loads:
        await one.start(port, password)
    async with asyncio.timeout(60):
        for one in loads:
            await one.done.wait()
    seconds = time.perf_counter() - started
    assert not any(one.refused for one in loads)
    for one in loads:
        one.pump.abort()
    return messages / seconds


def main(messages: int = 30_000) -> None:
    machine.header("How many submit_sm are accepted durably per second?")
    ours, theirs = multiprocessing.Pipe()
    with tempfile.TemporaryDirectory() as directory:
        process = multiprocessing.Process(target=serve, args=(theirs, directory))
        process.start()
        port, password = ours.recv()
        for binds, window in ((1, 100), (1, 1000), (4, 500)):
            cpu_s, stored = _ask(ours)
            rate = uvloop.run(load(port, password, messages, binds, window))
            used_s, now_stored = _ask(ours)
            assert now_stored - stored == messages
            said = f"{binds} binds, window {window}; {(used_s - cpu_s) / messages * 1e6:.0f} us of CPU each"
            machine.result("accepted", rate, "submit_sm/s", said)
        ours.send(False)
        process.join()


def _ask(pipe: Pipe) -> tuple[float, int]:
    pipe.send(True)
    return pipe.recv()


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:2]))
