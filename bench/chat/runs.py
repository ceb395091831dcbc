"""What is measured of a venue: deliveries a second, alone or in bursts; how late they are; what idling costs."""

import re
import time
from dataclasses import dataclass
from statistics import median

from bench.chat.ears import Ear
from bench.chat.venues import Venue
from bench.gateway.usage import cpu_s, resident_mib

TEXT = "See you at noon in front of the museum?"
_GRACE_S = 10.0
_SETTLE_S = 1.0
_NUMBER = re.compile(rb"\[(\d{9})\]")


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor seconds of the server, of its database and of this process."""

    server_s: float
    database_s: float
    own_s: float

    @classmethod
    def of(cls, venue: Venue) -> "Usage":
        """As of now."""
        server, database = venue.pids()
        return cls(cpu_s(server), cpu_s(database), time.process_time())

    def since(self, earlier: "Usage") -> "Usage":
        """What was used between the two."""
        return Usage(self.server_s - earlier.server_s, self.database_s - earlier.database_s, self.own_s - earlier.own_s)


@dataclass(frozen=True, slots=True)
class Spread:
    """What came of a run of deliveries."""

    seconds: float
    messages: int
    deliveries: int
    reads: int
    used: Usage

    @property
    def per_s(self) -> float:
        """Deliveries a second."""
        return self.deliveries / self.seconds

    def text(self) -> str:
        """In a line."""
        each = 1e6 / max(self.deliveries, 1)
        used = self.used
        return (
            f"{self.messages / self.seconds:,.0f} messages/s; {self.deliveries / max(self.reads, 1):.2f} frames a read;"
            f" CPU us a delivery: server {used.server_s * each:.1f}, database {used.database_s * each:.1f},"
            f" generator {used.own_s * each:.1f}"
        )


class Lost(Exception):
    """Not every delivery came."""


def spread(venue: Venue, rooms: int, members: int, seconds: float, *, under_way: int) -> Spread:
    """Keep `under_way` messages in each room, sending the next when one has reached all members, for `seconds`. With
    one under way no frame can be written together with another."""
    ears, loop = venue.ears, venue.loop
    ears.reset()
    had = [0] * rooms
    refused: list[int] = []
    messages = 0
    end = float("inf")

    def say(room: int) -> None:
        nonlocal messages
        messages += 1
        venue.send(room, TEXT, lambda taken: None if taken else refused.append(room))

    def heard(ear: Ear, count: int, _data: memoryview) -> None:
        room = ear.room
        before = had[room] // members
        had[room] += count
        if had[room] // members > before and time.perf_counter() < end:
            for _ in range(had[room] // members - before):
                say(room)

    ears.heard = heard
    before, began = Usage.of(venue), time.perf_counter()
    end = began + seconds
    for room in range(rooms):
        for _ in range(under_way):
            say(room)
    loop.until(lambda: time.perf_counter() >= end, seconds + 1)
    reached, reads, wall = ears.frames, ears.reads, time.perf_counter() - began
    used = Usage.of(venue).since(before)
    if not loop.until(lambda: ears.frames >= messages * members, _GRACE_S) or refused:
        raise Lost(f"{venue.name}: {ears.frames} of {messages * members} came, {len(refused)} refused")
    ears.heard = None
    return Spread(wall, messages, reached, reads, used)


@dataclass(frozen=True, slots=True)
class Delays:
    """From the moment a message was due to be sent to each of its deliveries, in milliseconds."""

    p50: float
    p99: float
    most: float
    deliveries: int


def delays(venue: Venue, rooms: int, members: int, rate_per_s: float, seconds: float) -> Delays:
    """Messages to the rooms in turn at even intervals."""
    ears, loop = venue.ears, venue.loop
    ears.reset()
    dues: list[float] = []
    found: list[float] = []
    refused: list[int] = []

    def heard(_: Ear, __: int, data: memoryview) -> None:
        now = time.perf_counter()
        found.extend([now - dues[int(number)] for number in _NUMBER.findall(data)])

    ears.heard = heard
    began = time.perf_counter()
    total = int(rate_per_s * seconds)
    while len(dues) < total:
        due = began + len(dues) / rate_per_s
        while (left := due - time.perf_counter()) > 0:
            loop.turn(left)
        number = len(dues)
        dues.append(due)
        venue.send(number % rooms, f"{TEXT} [{number:09}]", lambda taken: None if taken else refused.append(1))
    if not loop.until(lambda: len(found) >= total * members, _GRACE_S) or refused:
        raise Lost(f"{venue.name}: {len(found)} of {total * members} came, {len(refused)} refused")
    ears.heard = None
    ordered = sorted(found)
    return Delays(median(ordered) * 1000, ordered[int(len(ordered) * 0.99)] * 1000, ordered[-1] * 1000, len(ordered))


def idle(venue: Venue) -> tuple[float, float]:
    """Open all sockets: KiB of the server's resident memory each, and the seconds it took."""
    server, _ = venue.pids()
    before, began = resident_mib(server), time.perf_counter()
    venue.listen()
    took = time.perf_counter() - began
    venue.loop.until(lambda: False, _SETTLE_S)
    return (resident_mib(server) - before) * 1024 / len(venue.ears.every), took


def idling(venue: Venue, seconds: float) -> float:
    """Processor time of the server in percent of a core while nothing happens."""
    server, _ = venue.pids()
    before = cpu_s(server)
    venue.loop.until(lambda: False, seconds)
    return (cpu_s(server) - before) / seconds * 100
