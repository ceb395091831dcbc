"""What carriers bring back: answers to submissions, receipts, texts from phones. Fills the port `CarrierEvents`.

A receipt may be on its way into the database beside the answer it belongs to (engines keep it back until they were told
that the answer is stored, but other processes may bring it): it is parked then, and `records_receipts.unpark` mends it.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import structlog

from landline.ports.clock import Clock
from landline.ports.sms_carrier import Arrival, Receipt, Submitted
from landline.services.sms import records_progress as records
from landline.services.sms import records_receipts, taken
from landline.services.sms.failover import Failover
from landline.services.sms.handover import HandOver, Pending
from landline.services.sms.inbound import Inbound
from landline.services.sms.model import details
from landline.services.sms.model.messages import State
from landline.services.sms.observers import Observers
from landline.services.sms.outcomes import Brought, Outcome, Outcomes, size_of
from landline.services.sms.records import ANSWERED_LATE
from landline.services.sms.records_progress import Deferral, TakenAfterAll
from landline.services.sms.records_receipts import Ending
from landline.services.sms.reported import Reported
from landline.services.sms.silences import Silences
from landline.store.blocks import Blocks
from landline.store.database import Connection, Database, Record
from landline.store.group_commit import GroupCommit

log = structlog.get_logger()

_LANES = 3
_TOGETHER = 128
"""Messages. What carriers bring is committed together up to so many, and beyond that beside each other: PostgreSQL
works on one while the next is prepared."""


class News:
    """Stores the carriers' news. Every method returns after commit and may be repeated."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        handover: HandOver,
        blocks: Blocks,
        inbound: Inbound,
        failover: Failover,
        outcomes: Outcomes,
        observers: Observers,
    ) -> None:
        self._database = database
        self._clock = clock
        self._handover = handover
        self._blocks = blocks
        self._inbound = inbound
        self._failover = failover
        self._outcomes = outcomes
        self._counts = observers.counts
        self._silences = Silences()
        self._reported = Reported(database, observers.events, observers.insights, handover, blocks)
        self._taken = taken.Taken(database, handover, self._reported.remember)
        self._group: GroupCommit[Brought, None] = GroupCommit(
            self._commit, lanes=_LANES, batch_limit=_TOGETHER, size=size_of
        )

    async def submitted(self, carrier: str, answers: Sequence[Submitted]) -> None:
        """The carrier answered submissions."""
        await self._group.submit(Brought(carrier=carrier, answers=answers))

    async def submitted_late(self, carrier: str, answers: Sequence[Submitted]) -> None:
        """The carrier has messages that it did not answer in time."""
        await self._group.submit(Brought(carrier=carrier, late=answers))

    async def reported(self, carrier: str, receipts: Sequence[Receipt]) -> None:
        """The carrier brought delivery receipts."""
        endings = [(receipt.carrier_message_id, records_receipts.ending(receipt)) for receipt in receipts]
        await self._group.submit(Brought(carrier=carrier, endings=endings))

    async def early(self, carrier: str, ids: Sequence[str]) -> list[Receipt]:
        """See `ports.sms_carrier.CarrierEvents`."""
        async with self._database.connection() as connection:
            return await records_receipts.early(connection, carrier, ids, self._clock.now())

    async def forget_early(self, carrier: str, ids: Sequence[str]) -> None:
        """See `ports.sms_carrier.CarrierEvents`."""
        async with self._database.connection() as connection:
            await records_receipts.forget_early(connection, carrier, ids)

    async def arrived(self, carrier: str, arrivals: Sequence[Arrival]) -> None:
        """The carrier brought texts from phones."""
        received = await self._inbound.receive(carrier, arrivals)
        self._counts.received += received

    async def give_up(self, messages: Sequence[tuple[UUID, UUID, int]]) -> None:
        """Fail (resource, message, detail code) for which nothing will come any more."""
        await self._group.submit(Brought(given_up=messages))

    async def expire(self, messages: Sequence[Pending]) -> None:
        """Fail `messages`, which waited too long for their carrier; not what another process has claimed meanwhile."""
        await self._group.submit(Brought(expired=messages))

    async def unpark(self, awaited: Sequence[tuple[str, str]] = ()) -> int:
        """Apply receipts that crossed their submissions: of `awaited` (carrier, its id), or the latest; how many."""
        async with self._database.transaction() as connection:
            parked = await records_receipts.unpark(connection, self._clock.now(), awaited)
            done = Outcome(self._handover.taken)
            for carrier in sorted({row["carrier"] for row in parked}):
                endings = [records_receipts.parked(row) for row in parked if row["carrier"] == carrier]
                await self._end_reported(connection, done, carrier, endings, parked=True)
            emitted = await self._outcomes.write(connection, done)
        self._outcomes.committed(done, emitted)
        return len(parked)

    async def _commit(self, news: list[Brought]) -> list[None]:
        left = await self._without_arrived(news)
        if left and not await self._taken_at_once(left):
            await self._commit_all(left)
        return [None] * len(news)

    async def _without_arrived(self, news: Sequence[Brought]) -> list[Brought]:
        """Store those receipts of `news` that take no more than a statement; what is left to be stored."""
        arrived, left = self._reported.part(news)
        for carrier, some in arrived.items():
            stored = await self._reported.store(carrier, some)
            if stored is None:
                left.append(Brought(carrier, endings=[(message_id, ending) for message_id, ending, _ in some]))
            else:
                self._outcomes.committed(*stored)
        return left

    async def _taken_at_once(self, news: Sequence[Brought]) -> bool:
        """Store what is nothing but one carrier's answers that it took messages; whether that was all."""
        carrier = news[0].carrier
        if any(item.carrier != carrier or len(item.answers) < size_of(item) for item in news):
            return False
        return await self._taken.store(carrier, [each for item in news for each in item.answers], self._clock.now())

    async def _commit_all(self, news: Sequence[Brought]) -> None:
        done = Outcome(self._handover.taken)
        async with self._database.transaction() as connection:
            for carrier in dict.fromkeys(item.carrier for item in news):
                own = [item for item in news if item.carrier == carrier]
                endings = await self._store_answers(
                    connection, done, carrier, [answer for item in own for answer in item.answers]
                )
                late = [answer for item in own for answer in item.late]
                if late:
                    endings += await self._store_late(connection, done, carrier, late)
                endings += [ending for item in own for ending in item.endings]
                await self._end_reported(connection, done, carrier, endings)
            given_up = [message for item in news for message in item.given_up]
            await self._outcomes.end(connection, done, given_up)
            expired = [(message, details.TEMPORARILY_UNAVAILABLE) for item in news for message in item.expired]
            await self._end_refused(connection, done, expired)
            done.answered.extend(message.submission.key for message, _ in expired)
            finished = self._handover.finished()
            emitted = await self._outcomes.write(connection, done, [self._blocks.closing(finished)] if finished else [])
        self._outcomes.committed(done, emitted)

    async def _store_answers(
        self, connection: Connection, done: Outcome, carrier: str, answers: Sequence[Submitted]
    ) -> list[tuple[str, Ending]]:
        """Store the answers; the receipts that had come before them."""
        known = [
            (answer, pending)
            for answer in answers
            if (pending := self._handover.in_hand(answer.key)) and taken.is_for(answer, carrier, pending)
        ]
        done.answered.extend(answer.key for answer, _ in known)
        refused = [(answer, pending) for answer, pending in known if answer.carrier_message_id is None]
        if refused:
            await self._store_refusals(connection, done, carrier, refused)
        had = [(answer, pending) for answer, pending in known if answer.carrier_message_id is not None]
        if not had:
            return []
        alone = [pending for _, pending in had if pending.alone]
        if alone:
            keys = [(pending.resource, pending.submission.key) for pending in alone]
            await records.wait_alone(connection, keys, [pending.report_by for pending in alone])
        parked = await records.submitted(
            connection,
            carrier,
            [(answer, pending.resource, pending.block) for answer, pending in had],
            self._clock.now(),
        )
        return [records_receipts.parked(row) for row in parked]

    async def _store_refusals(
        self, connection: Connection, done: Outcome, carrier: str, refused: Sequence[tuple[Submitted, Pending]]
    ) -> None:
        """Defer what may be tried again in time, or by another carrier; end the rest. Not what another process has
        claimed meanwhile, nor what a carrier has from an earlier hand-over."""
        for answer, pending in refused:
            if answer.unknown:
                self._silences.keep(carrier, pending)
        refused = [each for each in refused if self._handover.decides(each[1])]
        refused = await self._without_taken(connection, done, carrier, refused)
        if not refused:
            return
        now = self._clock.now()
        keys = [(pending.resource, answer.key) for answer, pending in refused]
        tried = await records.tried(connection, keys) if self._failover.possible else {}
        await records.attempted(connection, carrier, [(answer, pending.resource) for answer, pending in refused], now)
        final: list[tuple[Pending, int]] = []
        deferred: list[tuple[Pending, Deferral]] = []
        for answer, pending in refused:
            after = await self._failover.after(answer, pending, tried.get(answer.key, {}), now)
            if isinstance(after, int):
                final.append((pending, after))
            else:
                deferred.append((pending, after))
        await self._end_refused(connection, done, final)
        await self._outcomes.defer(connection, done, deferred)

    async def _end_refused(self, connection: Connection, done: Outcome, final: Sequence[tuple[Pending, int]]) -> None:
        """End what is refused for good, or late, unless another process has claimed it: that one says what follows."""
        keys = [(pending.resource, pending.submission.key, code) for pending, code in final]
        ended = await self._outcomes.end(connection, done, keys, owner=self._blocks.owner)
        await self._outcomes.notice_lost(connection, done, [pending for pending, _ in final], ended)

    async def _without_taken(
        self, connection: Connection, done: Outcome, carrier: str, refused: Sequence[tuple[Submitted, Pending]]
    ) -> list[tuple[Submitted, Pending]]:
        """`refused` without what a carrier has from an earlier hand-over, as it said late, or as another process could
        store late only: its report is waited for."""
        again = [(answer, pending) for answer, pending in refused if pending.doubt > pending.marked]
        if not again:
            return list(refused)
        keys = [(pending.resource, pending.block, answer.key) for answer, pending in again]
        had = await records.taken_before(connection, keys)
        if not had:
            return list(refused)
        answered = [(answer, pending) for answer, pending in again if answer.key in had]
        attempts = [(answer, pending.resource) for answer, pending in answered]
        await records.attempted(connection, carrier, attempts, self._clock.now())
        after_all = [
            TakenAfterAll(
                pending.resource,
                answer.key,
                had[answer.key],
                pending.doubt,
                pending.doubt - (pending.marked and not answer.unknown),
            )
            for answer, pending in answered
        ]
        done.moved(await records.taken_after_all(connection, after_all))
        return [each for each in refused if each[0].key not in had]

    async def _store_late(
        self, connection: Connection, done: Outcome, carrier: str, answers: Sequence[Submitted]
    ) -> list[tuple[str, Ending]]:
        """The carrier has what it did not answer in time: as far as that is not too late, it is not handed over again.
        The receipts that had come before."""
        found = [(answer, silence) for answer in answers if (silence := self._silences.of(carrier, answer.key))]
        by_id = {answer.carrier_message_id: (answer, silence) for answer, silence in found if answer.carrier_message_id}
        stored = await records.known_submissions(connection, carrier, list(by_id))
        known = [each for carrier_id, each in by_id.items() if (carrier_id, each[0].key) not in stored]
        if not known:
            return []
        now = self._clock.now()
        after_all = [TakenAfterAll(silence.resource, answer.key, carrier, silence.doubt) for answer, silence in known]
        waiting = await records.taken_after_all(connection, after_all)
        done.moved(waiting)
        done.withdrawn.extend(record["message_id"] for record in waiting)
        notes = [
            (Submitted(answer.key, None, ANSWERED_LATE, temporary=True, unknown=True), silence.resource)
            for answer, silence in known
        ]
        await records.attempted(connection, carrier, notes, now)
        rows = [(answer, silence.resource, silence.block) for answer, silence in known]
        parked = await records.submitted(connection, carrier, rows, now)
        done.late += len(known)
        log.info("sms.answered_late", carrier=carrier, messages=len(known), in_time=len(waiting))
        return [records_receipts.parked(row) for row in parked]

    async def _end_reported(
        self,
        connection: Connection,
        done: Outcome,
        carrier: str,
        endings: Sequence[tuple[str, Ending]],
        *,
        parked: bool = False,
    ) -> None:
        if endings:
            now = self._clock.now()
            ended = await records_receipts.report(connection, carrier, endings, now)
            done.moved(ended)
            if len(ended) < len(endings) and not parked:
                await records_receipts.park_repeated(connection, carrier, endings, ended, now)
            failures = [each for each in endings if each[1].state is State.FAILED]
            if failures and self._failover.possible:
                if len(ended) < len(endings):
                    await records_receipts.failed_elsewhere(connection, carrier, failures, now)
                ended = await self._fail_over(connection, done, carrier, ended)
            await self._outcomes.tell(connection, done, ended)

    async def _fail_over(
        self, connection: Connection, done: Outcome, carrier: str, ended: Sequence[Record]
    ) -> list[Record]:
        """Give what just failed to other carriers where its resource wants that; what has ended for good."""
        now = self._clock.now()
        failed = [record for record in ended if await self._may_go_elsewhere(record, now)]
        if not failed:
            return list(ended)
        tried = await records.tried(connection, [(record["resource_id"], record["message_id"]) for record in failed])
        deferred: list[Deferral] = []
        receipts: list[tuple[Submitted, UUID]] = []
        for record in failed:
            resource, message = record["resource_id"], record["message_id"]
            place = (resource, record["sender"], record["recipient"], record["tag"])
            doubt = max(record["doubt"] - 1, 0)  # without the hand-over that this receipt is of
            elsewhere = await self._failover.elsewhere(*place, {*tried.get(message, ()), carrier}, doubt)
            if elsewhere is not None:
                was, attempts = record["carrier"], record["attempts"]
                deferred.append(Deferral(resource, message, now, elsewhere, doubt, was, attempts))
                receipts.append((Submitted(message, None, record["code"], reason="negative receipt"), resource))
                if not record["attempts"]:
                    done.left.append(record["block_id"])
        if deferred:
            await records.attempted(connection, carrier, receipts, now)
            done.failed_over += done.moved(await records.defer(connection, deferred, self._blocks.owner, reopened=True))
            done.deferred = True
        gone = {deferral.message for deferral in deferred}
        return [record for record in ended if record["message_id"] not in gone]

    async def _may_go_elsewhere(self, record: Record, now: datetime) -> bool:
        if record["state"] != State.FAILED or record["code"] in details.OF_THE_MESSAGE:
            return False
        if now >= (record["valid_until"] or record["report_by"]):
            return False
        return await self._failover.wants_failover(record["resource_id"])
