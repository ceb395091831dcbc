"""Delivery of events: from the transaction that emits them to the webhook, through failures and crashes."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import msgspec
import pytest
from aiohttp import web
from azure.core.messaging import CloudEvent
from azure.eventgrid import EventGridEvent, SystemEventNames
from structlog.testing import capture_logs
from tests.contract.events.webhooks import REPORT, RESOURCE, Call, Slice, Webhook, process, webhook, working
from tests.support.patience import PATIENCE_S

from landline.core.errors import Unavailable
from landline.services.events import lanes, records, records_ladder, results
from landline.services.events.model import (
    Again,
    Delivered,
    Delivery,
    Outcome,
    Schema,
    Secrets,
    State,
    verify_signature,
)
from landline.services.events.subscriptions import Edit
from landline.services.events.worker import EventsWorker
from landline.store import parts as parts_of_statements
from landline.store.blocks import LEASE
from landline.store.database import Connection
from landline.store.parts import Part


@pytest.fixture
async def here(dsn: str, database: object) -> AsyncGenerator[Slice]:
    async with process(dsn) as slice_:
        yield slice_


async def test_an_event_reaches_the_subscription_that_wants_it(here: Slice) -> None:
    async with webhook() as hook, working(here.events):
        await here.subscribe("Reports", hook.url, types=(REPORT,))
        event = here.event()
        await here.emit(event, here.event(type="Microsoft.Communication.SMSReceived"))
        (call,) = await hook.wait_for(1)
        await here.settle()
        assert len(hook.calls) == 1
        parsed = EventGridEvent.from_dict(call.json[0])
        assert parsed.id == str(event.event_id)
        assert parsed.event_type == SystemEventNames.AcsSmsDeliveryReportReceivedEventName
        assert parsed.subject == event.subject
        assert parsed.data == {"messageId": "m"}
        assert parsed.topic is not None
        assert parsed.topic.endswith("/providers/Microsoft.Communication/communicationServices/local")
        assert call.headers["content-type"] == "application/json; charset=utf-8"
        assert call.headers["aeg-event-type"] == "Notification"
        assert call.headers["aeg-subscription-name"] == "REPORTS"
        assert call.headers["aeg-delivery-count"] == "0"
        assert call.headers["aeg-data-version"] == "1.0"
        assert call.headers["aeg-metadata-version"] == "1"
        (row,) = await here.rows()
        assert row["delivered_at"] is not None
        assert row["attempts"] == 1
        assert row["status"] == 200
        assert await here.blocks() == 0


async def test_cloud_events_come_one_by_one_or_in_batches(here: Slice) -> None:
    async with webhook() as hook, webhook() as batched, working(here.events):
        await here.subscribe("one", hook.url, schema=Schema.CLOUD_EVENTS)
        await here.subscribe("many", batched.url, schema=Schema.CLOUD_EVENTS, batch_events=10)
        sent = [here.event() for _ in range(7)]
        await here.emit(*sent)
        await hook.wait_for(7)
        await here.settle()
        ids = {CloudEvent.from_json(call.body).id for call in hook.calls}
        assert ids == {str(event.event_id) for event in sent}
        assert hook.calls[0].headers["content-type"] == "application/cloudevents+json; charset=utf-8"
        assert hook.calls[0].headers["webhook-request-origin"] == "landline.example"
        (call,) = batched.calls
        assert call.headers["content-type"] == "application/cloudevents-batch+json; charset=utf-8"
        assert {CloudEvent.from_dict(one).id for one in call.json} == ids
        assert {one["specversion"] for one in call.json} == {"1.0"}


async def test_a_batch_keeps_both_its_limits(here: Slice) -> None:
    async with webhook() as hook, working(here.events):
        await here.subscribe("many", hook.url, batch_events=50, batch_kilobytes=4)
        await here.emit(*(here.event(data=b'"' + b"x" * 900 + b'"') for _ in range(40)))
        await here.settle()
        assert len(set(hook.event_ids)) == 40
        assert all(len(call.body) <= 4096 for call in hook.calls)
        assert sum(len(call.json) == 1 for call in hook.calls) <= 1


async def test_what_is_due_together_goes_together_under_load(here: Slice, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_SLOW_S", "TIMEOUT_S"):  # a slow one has little in memory, a hanging one is asked again
        monkeypatch.setattr(lanes, name, 1000.0)
    async with webhook() as hook, working(here.events):
        await here.subscribe("many", hook.url, batch_events=50, batch_kilobytes=1024)
        hook.gate.clear()
        sent = [[here.event() for _ in range(20)] for _ in range(40)]
        for number, commit in enumerate(sent, 1):
            await here.emit(*commit)
            await hook.wait_for(min(number, 16))  # a new lane's requests under way; what comes then waits together
        hook.gate.set()
        await here.settle()
        assert sorted(hook.event_ids) == sorted(str(event.event_id) for commit in sent for event in commit)
        assert sorted(len(call.json) for call in hook.calls) == [*16 * [20], 30, *9 * [50]]


async def test_every_subscription_gets_the_event_in_its_own_schema(here: Slice) -> None:
    async with webhook() as one, webhook() as two, webhook() as clouds, working(here.events):
        await here.subscribe("one", one.url)
        await here.subscribe("two", two.url, batch_events=10)
        await here.subscribe("clouds", clouds.url, schema=Schema.CLOUD_EVENTS)
        event = here.event()
        await here.emit(event)
        await here.settle()
        assert one.calls[0].body == two.calls[0].body
        assert one.event_ids == [str(event.event_id)]
        cloud = CloudEvent.from_json(clouds.calls[0].body)
        assert (cloud.id, cloud.type, cloud.data) == (str(event.event_id), REPORT, {"messageId": "m"})
        assert clouds.calls[0].json["specversion"] == "1.0"


async def test_a_signed_delivery_proves_itself_with_either_secret(here: Slice) -> None:
    secrets = Secrets(("old-secret-0123456789", "new-secret-0123456789"), (("authorization", "Bearer t"),))
    async with webhook() as hook, working(here.events):
        await here.subscribe("signed", hook.url, secrets=secrets, signed=True)
        await here.emit(here.event())
        (call,) = await hook.wait_for(1)
        header = call.headers["x-landline-signature"]
        assert call.headers["authorization"] == "Bearer t"
        for secret in secrets.signatures:
            assert verify_signature(header, call.body, secret, datetime.now(UTC))
        assert not verify_signature(header, call.body + b" ", secrets.signatures[0], datetime.now(UTC))


async def test_a_rolled_back_transaction_sends_nothing(here: Slice) -> None:
    async with webhook() as hook, working(here.events):
        await here.subscribe("all", hook.url)
        try:
            async with here.database.transaction() as connection:
                await here.events.emit(connection, [here.event()])
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        await here.settle()
        assert not hook.calls
        assert not await here.rows()
        assert await here.blocks() == 0


async def test_a_whole_retry_ladder_runs_in_driven_time(here: Slice) -> None:
    async with webhook(lambda _call: web.Response(status=500)) as hook, working(here.events):
        await here.subscribe("broken", hook.url)
        about = uuid4()
        event = here.event(about=about)
        await here.emit(event)
        await here.settle()
        await here.clock.advance(timedelta(hours=24))
        # 10 s, 30 s, 1, 5, 10, 30 min, 1, 3, 6, 12 h after each other; the next would be after 24 h.
        assert [call.headers["aeg-delivery-count"] for call in hook.calls] == [str(n) for n in range(11)]
        assert set(hook.event_ids) == {str(event.event_id)}
        tries = await here.events.tries(event.resource, about)
        assert [one.attempt for one in tries] == list(range(1, 12))
        gaps = [(b.at - a.at).total_seconds() for a, b in pairwise(tries)]
        steps = (10, 30, 60, 300, 600, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600)
        for gap, step in zip(gaps, steps, strict=True):
            assert step <= gap <= step * 1.05 + 1
        assert {one.status for one in tries} == {500}
        assert tries[-1].next_at is None
        (row,) = await here.rows()
        assert row["reason"] == "TimeToLiveExceeded"
        assert row["dead_at"] is not None


async def test_the_timeline_says_when_the_next_try_is(here: Slice) -> None:
    async with webhook(lambda _call: web.Response(status=503)) as hook, working(here.events):
        await here.subscribe("broken", hook.url)
        event = here.event()
        await here.emit(event)
        await here.settle()
        assert event.about is not None
        (one,) = await here.events.tries(event.resource, event.about)
        assert (one.subscription, one.attempt, one.status) == ("broken", 1, 503)
        assert one.next_at is not None
        hook.answer = lambda _call: web.Response(status=202)
        await here.clock.advance(timedelta(seconds=12))
        first, second = await here.events.tries(event.resource, event.about)
        assert (first.status, first.next_at) == (503, None)
        assert (second.status, second.attempt, second.next_at) == (202, 2, None)


@pytest.mark.parametrize(
    ("status", "reason"),
    [(400, "BadRequest"), (401, "Unauthorized"), (403, "Forbidden"), (413, "RequestEntityTooLarge")],
)
async def test_a_hopeless_answer_ends_a_delivery_at_once(here: Slice, status: int, reason: str) -> None:
    async with webhook(lambda _call: web.Response(status=status)) as hook, working(here.events):
        await here.subscribe("picky", hook.url)
        await here.emit(here.event())
        await here.clock.advance(timedelta(hours=24))
        assert len(hook.calls) == 1
        (row,) = await here.rows()
        assert (row["reason"], row["attempts"], row["status"]) == (reason, 1, status)


async def test_of_what_an_endpoint_refuses_for_good_one_line_a_minute_is_logged(here: Slice) -> None:
    async with webhook(lambda _call: web.Response(status=401)) as hook, working(here.events):
        await here.subscribe("picky", hook.url)
        with capture_logs() as logs:
            for _ in range(2):
                await here.emit(*[here.event() for _ in range(50)])
                await here.clock.advance(timedelta(seconds=61))
        assert [each["reason"] for each in await here.rows()] == ["Unauthorized"] * 100
    told = [each for each in logs if each["event"] == "events.dead_letter"]
    assert [each["count"] for each in told] == [1, 50]
    assert {each["subscription"] for each in told} == {"picky"}


async def test_attempts_and_time_to_live_can_be_less(here: Slice) -> None:
    async with webhook(lambda _call: web.Response(status=500)) as few, working(here.events):
        await here.subscribe("few", few.url, max_attempts=3)
        await here.subscribe("short", few.url, ttl_minutes=1)
        await here.emit(here.event())
        await here.clock.advance(timedelta(hours=24))
        rows = {row["reason"]: row["attempts"] for row in await here.rows()}
        assert rows == {"MaxDeliveryAttemptsExceeded": 3, "TimeToLiveExceeded": 3}


async def test_an_endpoint_that_hangs_does_not_hold_up_another(here: Slice) -> None:
    async with webhook() as hanging, webhook() as quick, working(here.events):
        await here.subscribe("hanging", hanging.url)
        await here.subscribe("quick", quick.url)
        hanging.gate.clear()
        for _ in range(10):
            await here.emit(*(here.event() for _ in range(30)))
        await quick.wait_for(300)
        assert len(hanging.calls) <= 64
        hanging.gate.set()


async def test_what_does_not_fit_in_memory_is_delivered_from_the_database(
    here: Slice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "LANE_LIMIT", 20)
    async with webhook() as hook, working(here.events):
        await here.subscribe("all", hook.url)
        sent = [here.event() for _ in range(700)]
        await here.emit(*sent)
        waiting = [row for row in await here.rows() if row["next_at"] is not None]
        assert len(waiting) >= 600
        await here.settle()
        assert sorted(hook.event_ids) == sorted(str(event.event_id) for event in sent)
        assert all(row["delivered_at"] and row["next_at"] is None for row in await here.rows())


async def test_events_of_a_crashed_process_are_delivered_by_another(here: Slice, dsn: str) -> None:
    async with webhook() as hook:
        await here.subscribe("all", hook.url)
        async with working(here.events):
            done = here.event()
            await here.emit(done)
            await here.settle()
        here.events.sender = Forgetful()
        lost = [here.event() for _ in range(50)]
        await here.emit(*lost)  # committed, and gone from memory
        async with process(dsn, here.clock) as other:
            async with working(other.events):
                await other.settle()
                assert len(hook.calls) == 1  # the lease of the dead process still runs
            await here.clock.advance(LEASE + timedelta(seconds=1))
            async with working(other.events):
                await other.settle()
        assert sorted(hook.event_ids[1:]) == sorted(str(event.event_id) for event in lost)
        assert await here.blocks() == 0
        assert all(row["delivered_at"] for row in await here.rows())


async def test_a_lone_process_takes_over_at_once(here: Slice, dsn: str) -> None:
    async with webhook() as hook:
        await here.subscribe("all", hook.url)
        here.events.sender = Forgetful()
        lost = here.event()
        await here.emit(lost)
        async with process(dsn, here.clock) as other, working(other.events, alone=True):
            await hook.wait_for(1)
        assert hook.event_ids == [str(lost.event_id)]


async def test_a_closing_process_leaves_its_work_to_the_next(here: Slice, dsn: str) -> None:
    async with webhook() as hook:
        await here.subscribe("all", hook.url)
        hook.gate.clear()
        async with working(here.events) as worker:
            events = [here.event() for _ in range(200)]
            await here.emit(*events)
            await hook.wait_for(1)
            closing = asyncio.create_task(worker.close())
            while here.events.sender is not None:
                await asyncio.sleep(0)
            hook.gate.set()
            await closing
        first = len(hook.calls)
        assert first < 200
        async with process(dsn, here.clock) as other, working(other.events):
            await other.settle()
        assert sorted(hook.event_ids) == sorted(str(event.event_id) for event in events)


async def test_a_block_whose_commit_nobody_heard_of_is_found_again(here: Slice) -> None:
    async with webhook() as hook, working(here.events) as worker:
        await here.subscribe("all", hook.url)
        async with here.database.transaction() as connection:
            await here.events.emit(connection, [here.event()])
        await look(here, worker, 2)
        assert len(hook.calls) == 1


async def look(here: Slice, worker: EventsWorker, times: int = 1) -> None:
    """What the worker does every five seconds."""
    for _ in range(times):
        worker._poll = True
        worker.wake()
        await here.settle()


async def test_a_commit_that_is_answered_after_its_block_was_found_delivers_once(here: Slice) -> None:
    async with webhook() as hook, working(here.events) as worker:
        await here.subscribe("all", hook.url)
        async with here.database.transaction() as connection:
            emitted = await here.events.emit(connection, [here.event()])
        await look(here, worker, 2)
        here.events.committed(emitted)
        await here.settle()
        assert len(hook.calls) == 1
        assert await here.blocks() == 0


@pytest.mark.parametrize("status", [200, 503])
async def test_what_is_written_again_since_its_answer_was_lost_counts_once(
    here: Slice, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    lost = iter([Unavailable("PostgreSQL is away")])

    async def execute(connection: Connection, parts: Sequence[Part]) -> None:
        await parts_of_statements.execute(connection, parts)
        for error in lost:
            raise error

    async with webhook(lambda _call: web.Response(status=status)) as hook, working(here.events):
        await here.subscribe("all", hook.url)
        monkeypatch.setattr(results, "execute", execute)
        event = here.event()
        await here.emit(event)
        await here.clock.advance(timedelta(seconds=5))
        assert next(lost, None) is None
        assert event.about is not None
        assert [each.attempt for each in await here.events.tries(RESOURCE, event.about)] == [1]


async def test_what_was_written_one_by_one_is_counted_once(here: Slice, monkeypatch: pytest.MonkeyPatch) -> None:
    """One result cannot be written; the database goes away while its neighbours are, each alone."""
    answers = iter([ZeroDivisionError(), None, Unavailable("PostgreSQL is away")])

    async def execute(connection: Connection, parts: Sequence[Part]) -> None:
        answer = next(answers, None)
        if answer is not None:
            raise answer
        await parts_of_statements.execute(connection, parts)

    async with webhook() as hook, working(here.events):
        await here.subscribe("all", hook.url, batch_events=2)
        await here.subscribe("slow", hook.url, types=(REPORT,), rate_per_minute=1)
        await here.emit(here.event())
        await here.settle()
        monkeypatch.setattr(results, "execute", execute)
        await here.emit(here.event(), here.event(type="another"))
        await here.clock.advance(timedelta(seconds=2))
        assert await here.blocks() == 1  # one of its events waits for the slow subscription


@asynccontextmanager
async def tried_again(here: Slice, hook: Webhook, status: int) -> AsyncGenerator[None]:
    """An event's second try stands before the gate, and is answered with `status` in the end."""
    hook.answer = lambda _call: web.Response(status=503)
    await here.emit(here.event())
    await hook.wait_for(1)
    await here.settle()
    hook.gate.clear()
    advancing = asyncio.create_task(here.clock.advance(timedelta(seconds=11)))
    await hook.wait_for(2)
    yield
    hook.answer = lambda _call: web.Response(status=status)
    hook.gate.set()
    await advancing
    await here.settle()


@pytest.mark.parametrize("taken", ["events_deliveries SET block_id = $1", "events_blocks SET owner = $1"])
async def test_a_late_verdict_does_not_touch_what_another_process_has_in_hand(here: Slice, taken: str) -> None:
    async with webhook() as hook, working(here.events):
        await here.subscribe("all", hook.url)
        async with tried_again(here, hook, 400):
            await here.database.execute(f"UPDATE {taken}", uuid4())
            (before,) = await here.rows()
        assert await here.rows() == [before]


@pytest.mark.parametrize(
    "taken", ["UPDATE events_batches SET owner = $1", "DELETE FROM events_batches WHERE owner <> $1"]
)
async def test_a_late_first_verdict_is_left_to_who_has_the_batch_or_had_it(here: Slice, taken: str) -> None:
    async with webhook(lambda _call: web.Response(status=400)) as hook, working(here.events):
        await here.subscribe("all", hook.url)
        hook.gate.clear()
        await here.emit(here.event())
        await hook.wait_for(1)
        await here.database.execute(taken, uuid4())
        ours = here.event()
        await here.emit(ours)
        hook.gate.set()
        await here.settle()
        assert [row["event_id"] for row in await here.rows()] == [ours.event_id]


async def test_what_another_process_delivers_late_stays_delivered(here: Slice) -> None:
    """Both have the batch: one as its lease ended, the other as it does not know that."""
    async with webhook(lambda _call: web.Response(status=400)) as hook, working(here.events):
        await here.subscribe("all", hook.url)
        hook.gate.clear()
        event = here.event()
        await here.emit(event)
        await hook.wait_for(1)
        (subscription,) = await here.database.fetch("SELECT subscription_id FROM events_subscriptions")
        (part,) = records.writing(
            [
                records.Result(
                    Delivery(event, subscription["subscription_id"], here.clock.now(), block=uuid4()),
                    Outcome(here.clock.now(), 200),
                    Delivered(),
                )
            ],
            uuid4(),
        )
        async with here.database.connection() as connection:
            await parts_of_statements.execute(connection, [part])
        hook.gate.set()
        await here.settle()
        (row,) = await here.rows()
        assert row["delivered_at"] is not None
        assert row["dead_at"] is None


@pytest.mark.parametrize("stored", [True, False])
async def test_what_is_in_hand_twice_is_delivered_where_it_was_taken_once(here: Slice, stored: bool) -> None:
    """Two tries of it end in the same moment: that of a block whose lease had ended, and that of the block after it."""
    subscription, now, block = await here.subscribe("all", "http://127.0.0.1:9/"), here.clock.now(), uuid4()
    deliveries = [Delivery(here.event(), subscription, now, block=block) for _ in range(3)]
    async with here.database.connection() as connection:
        if stored:
            await parts_of_statements.execute(connection, [records.inserting(deliveries, now)])
            lease = {"block": block, "owner": here.events.owner, "lease_until": now + LEASE}
            deliveries = await records_ladder.claim(here.database, now, 10, (), **lease)
        else:
            kept = records.keeping(deliveries, block, here.events.owner, now + LEASE, now)
            await parts_of_statements.execute(connection, [kept])
        twice, other, failed = deliveries
        again = Again(now + timedelta(seconds=10))
        tries = [
            records.Result(twice, Outcome(now, 503), again),
            records.Result(msgspec.structs.replace(twice, block=uuid4()), Outcome(now, 200), Delivered()),
            records.Result(other, Outcome(now, 200), Delivered()),
            records.Result(failed, Outcome(now, 503), again),
        ]
        await parts_of_statements.execute(connection, records.writing(tries, here.events.owner))
    rows = {row["event_id"]: (row["delivered_at"] is not None, row["next_at"] is not None) for row in await here.rows()}
    delivered, waits = (True, False), (False, True)
    assert rows == {
        twice.event.event_id: delivered,
        other.event.event_id: delivered,
        failed.event.event_id: waits,
    }


@pytest.mark.parametrize("meanwhile", ["dead_at = since, reason = 'BadRequest'", "next_at = since + interval '1 hour'"])
async def test_what_another_process_gave_up_or_put_off_and_was_then_taken_is_done_with(
    here: Slice, meanwhile: str
) -> None:
    async with webhook() as hook, working(here.events):
        await here.subscribe("all", hook.url)
        async with tried_again(here, hook, 200):
            await here.database.execute(f"UPDATE events_deliveries SET block_id = NULL, {meanwhile}")
        (row,) = await here.rows()
        assert row["delivered_at"] is not None
        assert (row["dead_at"], row["reason"], row["next_at"]) == (None, None, None)
        await here.clock.advance(timedelta(hours=2))
        assert len(hook.calls) == 2


async def test_of_a_batch_only_what_came_to_nothing_yet_is_delivered_by_another_process(here: Slice, dsn: str) -> None:
    async with webhook() as hook, process(dsn, here.clock) as other:
        await here.subscribe("all", hook.url)
        here.events.sender = Forgetful()
        async with here.database.transaction() as connection:
            emitted = await here.events.emit(connection, [here.event() for _ in range(3)])
        first, second, third = emitted.deliveries
        now = here.clock.now()
        written = [
            records.Result(first, Outcome(now, 200), Delivered()),
            records.Result(second, Outcome(now, 503), Again(now + timedelta(hours=1))),
        ]
        async with here.database.connection() as connection:
            await parts_of_statements.execute(connection, records.writing(written, here.events.owner))
        await here.clock.advance(LEASE + timedelta(seconds=1))
        async with working(other.events):
            await other.settle()
        assert hook.event_ids == [str(third.event.event_id)]
        assert await here.blocks() == 0
        rows = {row["event_id"]: row for row in await here.rows()}
        assert rows[first.event.event_id]["delivered_at"] is not None
        assert rows[second.event.event_id]["next_at"] == now + timedelta(hours=1)
        assert rows[second.event.event_id]["data"] == second.event.data


async def claimed_on_the_ladder(here: Slice) -> None:
    """An event that failed once is in the hands of `here`, which does not know."""
    await here.emit(here.event())
    await here.settle()
    due = here.clock.now() + timedelta(seconds=11)
    block, owner = uuid4(), here.events.blocks.owner
    assert await records_ladder.claim(
        here.database, due, 10, set(), block=block, owner=owner, lease_until=here.clock.now() + LEASE
    )


async def test_an_event_on_the_ladder_waits_for_no_dead_process_longer_than_any_other(here: Slice, dsn: str) -> None:
    async with webhook(lambda _call: web.Response(status=503)) as hook:
        await here.subscribe("all", hook.url)
        async with working(here.events):
            await claimed_on_the_ladder(here)
        hook.answer = lambda _call: web.Response(status=200)
        await here.clock.advance(LEASE + timedelta(seconds=1))
        async with process(dsn, here.clock) as other, working(other.events):
            await other.settle()
        assert len(hook.calls) == 2
        assert await here.blocks() == 0
        assert all(row["delivered_at"] and row["next_at"] is None for row in await here.rows())


async def test_a_claim_whose_answer_was_lost_is_found_again(here: Slice) -> None:
    async with webhook(lambda _call: web.Response(status=503)) as hook, working(here.events) as worker:
        await here.subscribe("all", hook.url)
        await claimed_on_the_ladder(here)
        hook.answer = lambda _call: web.Response(status=200)
        await look(here, worker, 2)
        assert len(hook.calls) == 2
        assert await here.blocks() == 0


async def test_a_disabled_subscription_keeps_what_waits_until_it_is_enabled(here: Slice) -> None:
    keep = lambda settings, secrets: (settings, secrets)  # noqa: E731
    async with webhook(lambda _call: web.Response(status=500)) as hook, working(here.events):
        await here.subscribe("on-off", hook.url)
        await here.emit(here.event())
        await here.settle()
        await here.subscriptions.change("local", "on-off", keep, enabled=False, validation=False)
        await here.emit(here.event())  # not wanted by anyone
        await here.clock.advance(timedelta(hours=1))
        assert len(hook.calls) == 1
        hook.answer = lambda _call: web.Response(status=200)
        changed = await here.subscriptions.change("local", "on-off", keep, enabled=True, validation=False)
        assert changed.state is State.ENABLED
        await here.settle()
        assert len(hook.calls) == 2
        assert len(await here.rows()) == 1


async def test_events_go_where_they_went_while_another_endpoint_is_asked(here: Slice) -> None:
    def to(url: str) -> Edit:
        return lambda settings, secrets: (msgspec.structs.replace(settings, endpoint=url), secrets)

    def consents(call: Call) -> web.StreamResponse:
        if call.headers["aeg-event-type"] == "Notification":
            return web.Response(status=200)
        return web.json_response({"validationResponse": call.json[0]["data"]["validationCode"]})

    async with webhook(consents) as old, webhook(consents) as new, working(here.events):
        await here.subscriptions.add("local", "moved", to(old.url), validation=True)
        new.gate.clear()
        moving = asyncio.create_task(
            here.subscriptions.change("local", "moved", to(new.url), enabled=None, validation=True)
        )
        await new.wait_for(1)
        await here.emit(here.event())
        await old.wait_for(2)
        new.gate.set()
        assert (await moving).state is State.ENABLED
        assert len(new.calls) == 1
        await here.emit(here.event())
        await new.wait_for(2)
        new.gate.clear()
        asking = asyncio.create_task(here.subscriptions.validate("local", "moved"))
        await new.wait_for(3)
        await here.emit(here.event())
        await new.wait_for(4)
        new.gate.set()
        assert (await asking).state is State.ENABLED
        assert len(old.calls) == 2


async def test_events_go_where_they_went_until_the_new_endpoint_has_consented(here: Slice) -> None:
    def to(url: str, header: str) -> Edit:
        secrets = Secrets(signatures=(header * 20,), headers=(("x-who", header),))
        return lambda settings, _secrets: (msgspec.structs.replace(settings, endpoint=url, signed=True), secrets)

    async with webhook() as old, webhook() as new, working(here.events):
        await here.subscriptions.add("local", "moved", to(old.url, "a"), validation=False)
        moving = await here.subscriptions.change("local", "moved", to(new.url, "b"), enabled=None, validation=True)
        assert moving.state is State.ENABLED
        await here.emit(here.event())
        (kept,) = await old.wait_for(1)
        assert kept.headers["x-who"] == "a"
        assert len(new.calls) == 1
        asked = new.calls[0]
        assert asked.headers["x-who"] == "b"
        query = parse_qs(urlsplit(asked.json[0]["data"]["validationUrl"]).query)
        await here.subscriptions.consent(moving.subscription_id, query["token"][0], None)
        await here.emit(here.event())
        assert (await new.wait_for(2))[1].headers["x-who"] == "b"
        assert len(old.calls) == 1


async def test_a_removed_subscription_takes_its_deliveries_with_it(here: Slice) -> None:
    async with webhook(lambda _call: web.Response(status=500)) as hook, working(here.events):
        await here.subscribe("gone", hook.url)
        await here.emit(here.event())
        await here.settle()
        await here.subscriptions.remove("local", "gone")
        await here.clock.advance(timedelta(hours=24))
        assert len(hook.calls) == 1
        assert not await here.rows()


async def test_an_allowed_rate_is_kept(here: Slice) -> None:
    async with webhook() as hook, working(here.events):
        await here.subscribe("slow", hook.url, rate_per_minute=6)
        await here.emit(*(here.event() for _ in range(5)))
        await here.settle()
        assert len(hook.calls) == 1
        await here.clock.advance(timedelta(seconds=21))
        assert len(hook.calls) == 3
        await here.clock.advance(timedelta(seconds=60))
        assert len(hook.calls) == 5


async def test_an_allowed_rate_is_kept_by_all_processes_together(dsn: str, database: object) -> None:
    async with webhook() as hook, process(dsn, share=2) as one, process(dsn, one.clock, share=2) as other:
        await one.subscribe("slow", hook.url, rate_per_minute=1)
        async with working(one.events), working(other.events):
            for each in (one, other):
                await each.emit(*(each.event() for _ in range(3)))
            await hook.wait_for(2)
            for minutes in (1, 2, 3, 4):
                await one.clock.advance(timedelta(minutes=1))
                assert len(hook.calls) == 2 + minutes // 2 * 2


async def test_lanes_that_wait_for_their_rate_and_for_a_free_request_wait_idly(
    here: Slice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by the simulation: two such lanes began requests for one another, for ever."""
    monkeypatch.setattr(lanes, "IN_FLIGHT_LIMIT", 1)
    async with asyncio.timeout(PATIENCE_S), webhook() as hook, working(here.events):
        await here.subscribe("one", hook.url, rate_per_minute=6)
        await here.subscribe("two", hook.url, rate_per_minute=6)
        await here.emit(*(here.event() for _ in range(3)))
        await here.settle()
        assert len(hook.calls) == 2
        await here.clock.advance(timedelta(seconds=30))
        assert len(hook.calls) == 6


async def test_what_fails_after_its_subscription_was_removed_is_pruned(here: Slice) -> None:
    async with webhook(lambda _call: web.Response(status=503)) as hook, working(here.events) as worker:
        await here.subscribe("gone", hook.url)
        await here.subscribe("stays", hook.url)
        hook.gate.clear()
        await here.emit(here.event())
        await hook.wait_for(2)
        await here.subscriptions.remove("local", "gone")
        hook.gate.set()
        await here.settle()
        worker._prune_at = None
        await look(here, worker)
        assert [row["subscription_id"] for row in await here.rows()] == [
            (await here.subscriptions.get("local", "stays")).subscription_id
        ]


async def test_old_rows_are_pruned(here: Slice) -> None:
    answers = {"ok": 200, "refused": 400, "late": 500}
    async with webhook() as hook, working(here.events):
        for name in answers:
            await here.subscribe(name, f"{hook.url}/{name}", max_attempts=2)

        def answer(call: object) -> web.Response:
            name = call.headers["aeg-subscription-name"].lower()  # type: ignore[attr-defined]
            if name == "late" and call.headers["aeg-delivery-count"] == "1":  # type: ignore[attr-defined]
                return web.Response(status=200)
            return web.Response(status=answers[name])

        hook.answer = answer
        await here.emit(here.event())
        await here.clock.advance(timedelta(hours=71))
        assert len(await here.rows()) == 3
        await here.clock.advance(timedelta(hours=3))
        (dead,) = await here.rows()
        assert dead["reason"] == "BadRequest"
        await here.clock.advance(timedelta(days=30))
        assert not await here.rows()


class Forgetful:
    """The sender of a process that is about to die: it takes everything and does nothing."""

    def room(self, subscription: object) -> int:
        return 1000

    def total_room(self) -> int:
        return 1000

    def take(self, deliveries: object) -> None: ...

    def wake(self) -> None: ...


async def test_a_subscription_that_cannot_be_looked_up_for_a_while_is_no_bug_and_waits(
    here: Slice, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_arguments: object) -> None:
        raise Unavailable("PostgreSQL is away")

    async with webhook() as hook, working(here.events):
        await here.subscribe("Reports", hook.url)
        await here.settle()
        with monkeypatch.context() as patched, capture_logs() as logs:
            patched.setattr(here.events, "target", away)
            await here.emit(here.event())
            await here.settle()
        assert [(each["event"], each["log_level"]) for each in logs] == [("events.delivery_waits", "warning")]
        await here.clock.advance(timedelta(seconds=12))
        await hook.wait_for(1)


async def test_a_database_that_is_away_is_asked_again_after_a_pause(
    here: Slice, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    look = records_ladder.look

    async def away(*_arguments: object, **_options: object) -> tuple[datetime | None, int]:
        nonlocal asked
        asked += 1
        raise Unavailable("PostgreSQL is away")

    async with webhook() as hook, working(here.events):
        await here.settle()
        monkeypatch.setattr(records_ladder, "look", away)
        here.events.sender.wake()  # type: ignore[union-attr]
        await here.clock.advance(timedelta(seconds=5))
        assert 1 <= asked <= 7
        monkeypatch.setattr(records_ladder, "look", look)
        await here.subscribe("Reports", hook.url)
        await here.emit(here.event())
        await hook.wait_for(1)


async def test_a_failure_among_many_deliveries_does_not_hold_up_the_rest(here: Slice) -> None:
    """Found by a soak: a width that was halved to a fraction let pumps begin that ended at once, for ever."""
    statuses = iter((200, 503))  # from 16 requests at once to 17, and then to half of that
    async with webhook(lambda _call: web.Response(status=next(statuses, 200))) as hook, working(here.events):
        await here.subscribe("Reports", hook.url)
        await here.emit(*(here.event() for _ in range(300)))
        await hook.wait_for(300)
