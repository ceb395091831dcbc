"""The end of the log, followed by one task for all readers of the process: each change read once, encoded once, and
written once to each reader. The bus only wakes it (docs/design/chat-feed.md)."""

import asyncio
import os
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

import structlog

from landline.core.errors import Unavailable
from landline.core.ids import ResourceId
from landline.ports.bus import Subscription
from landline.ports.clock import Alarm, Clock
from landline.services.chat.feed import Feed
from landline.services.chat.model.changes import ChatChange, ReadReceiptReceived, TypingIndicatorReceived
from landline.services.chat.stream import frames, records
from landline.services.chat.stream.audience import Audience, Reader
from landline.services.chat.stream.frames import Frame, Logline
from landline.store.database import Database, Record
from landline.wire import chat_feed as wire

log = structlog.get_logger()

PAGE = 64
"""With the largest messages 1.8 MB, which each reader may be given at once."""
BEAT = timedelta(seconds=5)
"""How long a change may go unnoticed of which the bus lost the news."""
_PROGRESS_BEATS = 5
_AGAIN_S = 0.003
_AGAIN_MOST_S = 0.1
_HELD_S = 5.0


class Tail:
    """Fills the readers that `join`. `position`: all up to it has been pushed to those it is for."""

    def __init__(self, database: Database, feed: Feed, clock: Clock, audience: Audience) -> None:
        self._database = database
        self._feed = feed
        self._clock = clock
        self._audience = audience
        self._ears: dict[ResourceId, Subscription] = {}
        self._opening = asyncio.Lock()
        self._alarm: Alarm | None = None
        self._beats = 0
        self._position: int | None = None
        """None while nobody reads, and nothing is followed."""
        self.epoch = ""
        self.floor = 0

    @property
    def position(self) -> int:
        """Raises `Unavailable` when following has failed, and who joined has to come again."""
        if self._position is None:
            raise Unavailable("The feed is not followed here.")
        return self._position

    async def join(self, reader: Reader) -> None:
        """`reader` is pushed every change after `position` from now on. Raises `TooMany`, `Unavailable`."""
        resource = reader.holder.resource
        self._audience.join(reader)
        try:
            async with self._opening:
                if self._position is None:
                    await self._begin()
                if resource not in self._ears:
                    self._ears[resource] = await self._feed.listen(resource, partial(self._heard, resource))
        except BaseException:
            self.leave(reader)
            raise
        self._wake()

    def leave(self, reader: Reader) -> None:
        """`reader` is pushed nothing more."""
        if self._audience.leave(reader):
            ear = self._ears.pop(reader.holder.resource, None)
            if ear is not None:
                ear.close()
        if not self._audience.size:
            self._position = None

    async def look(self) -> None:
        """Find out what this course of positions is called, and where it begins. Raises `Unavailable`."""
        epoch, self.floor = await records.state(self._database, os.urandom(8).hex())
        if epoch != self.epoch:
            begun, self.epoch = self.epoch, epoch
            if begun and self._position is not None:
                await self._restart()

    async def run(self) -> None:
        """Until cancelled."""
        alarm = self._alarm = self._clock.alarm()
        beat_at = self._clock.now() + BEAT
        try:
            while True:
                await self.follow()
                now = self._clock.now()
                if not now < beat_at <= now + BEAT:  # later than that: the clock was set back
                    await self._beat()
                    beat_at = self._clock.now() + BEAT
                await alarm.wait(beat_at if self._position is not None else None)
        finally:
            self._alarm = None
            alarm.close()

    def close(self) -> None:
        """Hear nothing more."""
        for ear in self._ears.values():
            ear.close()
        self._ears.clear()

    def _wake(self) -> None:
        if self._alarm is not None:
            self._alarm.ring()

    def _heard(self, resource: ResourceId, change: ChatChange) -> None:
        if not isinstance(change, TypingIndicatorReceived | ReadReceiptReceived):
            self._wake()
            return
        readers = [
            reader
            for user in change.recipients
            if user != change.sender
            for reader in self._audience.of(resource, user)
        ]
        if readers:
            frame = frames.passing(change, self.epoch)
            for reader in readers:
                reader.push(frame)
                reader.flush()
                self._audience.written(reader)

    async def _begin(self) -> None:
        await self.look()
        self._position = await records.settled(self._database)

    async def _restart(self) -> None:
        """The database is not the one it was, or not as far: what readers know means nothing there."""
        self._position = position = await records.settled(self._database)
        frame = Frame(wire.Reset(position, self.epoch, "epochChanged"), self.epoch, position)
        for reader in self._audience.all():
            reader.restart(frame, position)

    async def _beat(self) -> None:
        try:
            await self.look()
        except Unavailable:
            return  # with the next beat
        self._beats += 1
        if self._position is not None and self._beats % _PROGRESS_BEATS == 0:
            frame = Frame(wire.Progress(self._position), self.epoch, self._position)
            for reader in self._audience.all():
                reader.progress(frame)

    async def follow(self) -> None:
        """Push all there is. Waits for who has taken a position and not committed: milliseconds."""
        loop = asyncio.get_running_loop()
        again_s, held_at, told = _AGAIN_S, loop.time(), False
        while self._position is not None:
            before = self._position
            try:
                done = await self._page(before)
            except Unavailable:
                done, again_s = False, 1.0
            except Exception:
                log.exception("chat.feed_failed")
                self._give_up()
                return
            if done:
                return
            if self._position != before:
                again_s, held_at, told = _AGAIN_S, loop.time(), False
                continue
            if not told and loop.time() - held_at > _HELD_S:
                told = True
                log.warning("chat.feed_held_back", position=before)
            await asyncio.sleep(again_s)
            again_s = min(again_s * 2, _AGAIN_MOST_S)

    async def _page(self, position: int) -> bool:
        """Push the changes after `position` that nothing can come before; whether those were all there are."""
        resources = list(self._ears)
        rows = await records.after(self._database, position, None, resources, PAGE)
        done, upto = len(rows) < PAGE, position + _unbroken(rows, position)
        if upto > position:
            done = done and upto == rows[-1]["position"]
            rows = rows[: upto - position]
        elif rows:  # the next position is nobody's, or somebody's who has not committed
            upto = min(await records.settled(self._database), rows[-1]["position"])
            if upto <= position:
                return False
            rows, done = await records.after(self._database, position, upto, resources, PAGE), False
            upto = rows[-1]["position"] if len(rows) == PAGE else upto
        lines = [line for row in rows if row["of_resource"] in self._ears and (line := Logline.of(row))]
        told = await self._audience.told(lines)
        if self._position == position:  # else it began anew meanwhile, or nobody reads
            self._position = upto
            self._push(lines, told)
        return done

    def _push(self, lines: Sequence[Logline], told: Sequence[tuple[list[Reader], list[Reader]]]) -> None:
        due: dict[Reader, None] = {}
        for line, (full, blank) in zip(lines, told, strict=True):
            for readers, blanked in ((full, False), (blank, True)):
                if readers:
                    frame = line.frame(self.epoch, blank=blanked)
                    for reader in readers:
                        reader.push(frame)
                        due[reader] = None
        for reader in due:
            reader.flush()
            self._audience.written(reader)

    def _give_up(self) -> None:
        for reader in self._audience.all():
            reader.fail()
        self._position = None


def _unbroken(rows: Sequence[Record], position: int) -> int:
    """How many of `rows` come right after `position`, none left out."""
    for at, row in enumerate(rows):
        if row["position"] != position + at + 1:
            return at
    return len(rows)
