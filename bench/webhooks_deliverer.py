"""The measured half of bench/webhooks.py: the events slice of one process, told on standard input what to deliver."""

import asyncio
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import uvloop

from landline.core.ids import ResourceId, time_ordered
from landline.engines.callout import HttpCallout
from landline.engines.clock import SystemClock
from landline.services.events.model import Event, Secrets, Settings
from landline.services.events.service import Events
from landline.services.events.subscriptions import Subscriptions
from landline.services.events.worker import EventsWorker
from landline.store.changes import Changes
from landline.store.database import Database
from landline.store.migrations import migrate
from landline.store.sealing import Sealer

TYPE = "Microsoft.Communication.SMSDeliveryReportReceived"
_TOGETHER, _IN_MEMORY, _CONCURRENT = 20, 2000, 16
"""Events of one commit, events emitted and not delivered, and requests at once of the callout alone."""
_DATA = json.dumps(
    {
        "messageId": str(uuid4()),
        "from": "+18005550100",
        "to": "+14255550123",
        "deliveryStatus": "Delivered",
        "deliveryStatusDetails": "DELIVERED",
        "deliveryAttempts": [{"timestamp": "2026-11-21T08:00:00.0000000+00:00", "segmentsSucceeded": 1}],
        "receivedTimestamp": "2026-11-21T08:00:00.0000000+00:00",
        "tag": "campaign",
    }
).encode()
_HEADERS = {
    "aeg-event-type": "Notification",
    "aeg-subscription-name": "REPORTS",
    "aeg-delivery-count": "0",
    "content-type": "application/json; charset=utf-8",
    "aeg-data-version": "1.0",
    "aeg-metadata-version": "1",
}
_SUBSCRIPTIONS = {"events": (1,), "events-two-subscriptions": (1, 1), "events-in-batches": (10,)}
"""For each case, how many events each subscription takes in one request."""


class Deliverer:
    """The slice, running, and a resource for each case."""

    def __init__(self, database: Database, changes: Changes, callout: HttpCallout, ports: list[int]) -> None:
        self._database = database
        self._callout = callout
        self._urls = [f"http://127.0.0.1:{ports[0]}/hook", f"https://localhost:{ports[1]}/hook"]
        self._resources = {case: ResourceId(uuid4()) for case in _SUBSCRIPTIONS}
        self.events = Events(
            database,
            SystemClock(),
            changes,
            callout,
            Sealer(b"s" * 32),
            uuid4(),
            public_base_url="https://landline.example",
            resource_name=self._name,
            resource_named=self._id,
        )

    async def subscribe(self) -> None:
        """The subscriptions of all cases."""
        subscriptions = Subscriptions(self.events)
        for case, sizes in _SUBSCRIPTIONS.items():
            for number, size in enumerate(sizes):
                settings = Settings(self._urls[0], types=(TYPE,), batch_events=size)
                await subscriptions.add(case, f"one-{number}", lambda *_, s=settings: (s, Secrets()), validation=False)

    async def run(self, case: str, count: int) -> None:
        """Deliver `count` events, or send as many requests."""
        if case.startswith("callout"):
            await self._requests(self._urls[case == "callout-tls"], count)
            return
        done = asyncio.Semaphore(_IN_MEMORY // _TOGETHER)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(count // _TOGETHER):
                await done.acquire()
                tasks.create_task(self._emit(self._resources[case])).add_done_callback(lambda _: done.release())
        await self._all_delivered()

    async def _all_delivered(self) -> None:
        while True:
            if not await self._database.fetchval("SELECT count(*) FROM events_batches"):
                return
            await asyncio.sleep(0.05)

    async def _emit(self, resource: ResourceId) -> None:
        now = datetime.now(UTC)
        batch = [
            Event(time_ordered(now, os.urandom(10)), resource, TYPE, "/phonenumber/14255550123", _DATA, now, uuid4())
            for _ in range(_TOGETHER)
        ]
        async with self._database.transaction() as connection:
            emitted = await self.events.emit(connection, batch)
        self.events.committed(emitted)

    async def _requests(self, url: str, count: int) -> None:
        async def some() -> None:
            for _ in range(count // _CONCURRENT):
                answer = await self._callout.request(
                    "POST", url, headers=dict(_HEADERS), body=_DATA, answer_limit_bytes=1024
                )
                assert answer.status == 200

        async with asyncio.TaskGroup() as tasks:
            for _ in range(_CONCURRENT):
                tasks.create_task(some())

    async def _name(self, resource: ResourceId) -> str:
        return next(case for case, known in self._resources.items() if known == resource)

    async def _id(self, name: str) -> ResourceId:
        return self._resources[name]


async def deliver(dsn: str, bundle: str, *ports: str) -> None:
    """Do what standard input says, one case a line, until it ends."""
    database = await Database.connect(dsn, size=4)
    await migrate(database)
    changes = Changes(dsn)
    await changes.start()
    callout = HttpCallout(loopback_open=True, ca_bundle=Path(bundle))
    deliverer = Deliverer(database, changes, callout, [int(port) for port in ports])
    await deliverer.subscribe()
    worker = EventsWorker(deliverer.events)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.run())
        print("done", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            case, count = line.split()
            await deliverer.run(case, int(count))
            print("done", flush=True)
        await worker.close()
    await changes.close()
    await callout.close()
    await database.close()


if __name__ == "__main__":
    uvloop.run(deliver(*sys.argv[1:]))
