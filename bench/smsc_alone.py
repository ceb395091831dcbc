"""How fast is the project's own SMSC? It must not be what a measurement of a gateway measures: >= 30,000 msg/s.

One client process binds to it and keeps its windows full; each message is submitted, answered, reported and the report
acknowledged. Run: python -m bench.smsc_alone [messages]
"""

import asyncio
import multiprocessing
import sys
import time
from multiprocessing.connection import Connection as Pipe

import uvloop

from landline.engines.smpp.pump import Pump
from landline.protocols.smpp import pdu
from landline.protocols.smpp.commands import BindKind
from landline.protocols.smpp.events import Answered, Bound, Event, MessageArrived
from landline.protocols.smpp.limits import Limits
from landline.protocols.smpp.pdu import ShortMessage, SubmitTemplate
from landline.protocols.smpp.session import Session
from landline.protocols.smpp.states import Role
from landline.testing.smsc import Smsc

BINDS, WINDOW = 2, 200


class Progress:
    """What all binds have still to do: the SMSC brings receipts over any of them."""

    def __init__(self, messages: int) -> None:
        self.unsent = self.unreported = messages
        self.done = asyncio.Event()


class Load:
    """Keeps one bind's window full until the messages are used up."""

    def __init__(self, progress: Progress) -> None:
        self.session = Session(Role.ESME, 0.0, Limits(window=WINDOW))
        self.pump = Pump(self.session, lambda: 0.0, self._happened, progress.done.set)
        self._progress = progress
        self._template = SubmitTemplate(
            ShortMessage(source_addr_ton=1, source_addr="18005550100", dest_addr_ton=1, registered_delivery=1)
        )

    async def start(self, port: int) -> None:
        await asyncio.get_running_loop().create_connection(lambda: self.pump, "127.0.0.1", port)
        self.session.bind(BindKind.TRANSCEIVER, pdu.Bind("load", "load"), 0.0)
        self.pump.flush()

    def _happened(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, MessageArrived):
                self.session.answer(event.sequence)
                self._progress.unreported -= 1
            else:
                assert isinstance(event, Answered | Bound)
        for number in range(min(self.session.free, self._progress.unsent)):
            self._progress.unsent -= 1
            text = b"Your parcel arrives today, number %d" % number
            self.session.submit(self._template.body("14255550199", text), None, 0.0)
        if not self._progress.unreported:
            self._progress.done.set()


def serve(pipe: Pipe) -> None:
    """The SMSC's process: tells its port, then the CPU seconds it has used when asked."""

    async def run() -> None:
        smsc = Smsc({"load": "load"}, keep=0, window=WINDOW)
        await smsc.start()
        pipe.send(smsc.port)
        await asyncio.to_thread(pipe.recv)
        pipe.send((time.process_time(), smsc.counts.accepted, smsc.counts.delivered))

    uvloop.run(run())


async def load(port: int, messages: int) -> float:
    """Messages a second, all reported."""
    progress = Progress(messages)
    loads = [Load(progress) for _ in range(BINDS)]
    started = time.perf_counter()
    for one in loads:
        await one.start(port)
    async with asyncio.timeout(60):
        await progress.done.wait()
    return messages / (time.perf_counter() - started)


def main() -> None:
    """Print the figure."""
    run(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)


def run(messages: int) -> None:
    """Measure with `messages` and print."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    port = ours.recv()
    rate = uvloop.run(load(port, messages))
    ours.send(None)
    cpu_s, accepted, delivered = ours.recv()
    process.join()
    assert accepted == delivered == messages
    print(f"SMSC alone: {rate:,.0f} msg/s with receipts ({messages:,} messages, {BINDS} binds, window {WINDOW}; the")
    print(f"client beside it on the same machine); CPU of the SMSC {cpu_s / messages * 1e6:.1f} us a message")


if __name__ == "__main__":
    main()
