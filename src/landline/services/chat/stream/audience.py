"""Who reads in this process, and who of them may see a change: asked of the threads' rosters as they were at it."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from landline.core.errors import TooMany, Unavailable
from landline.core.ids import RawId, ResourceId
from landline.services.chat.model.log import Logged
from landline.services.chat.realtime.tickets import Holder
from landline.services.chat.records import Key
from landline.services.chat.stream import records
from landline.services.chat.stream.frames import Frame, Logline
from landline.store.database import Database

MOST = 20_000
"""Readers of a process."""
MOST_OF_A_RESOURCE = 10_000
MOST_OF_A_USER = 32
BEHIND_BYTES = 1 << 14
"""Who has more than this unread is behind. Each may be, by far (`readers.UNREAD_BYTES`), but not all at once."""
MOST_BEHIND = 1024
_REMEMBERED = 200_000
"""Participants, of all threads together."""
_PASSING = frozenset({Logged.PARTICIPANTS_REMOVED, Logged.THREAD_DELETED})
"""Those who went are told of it, and are in no roster."""
_Roster = Mapping[RawId, datetime]


class Reader(Protocol):
    """One connection of a user."""

    holder: Holder

    @property
    def unsent(self) -> int:
        """Bytes that this process holds until the client reads them."""
        ...

    def cut(self) -> None:
        """It holds too much: away with it."""
        ...

    def push(self, frame: Frame) -> None:
        """Keep `frame`, which comes after those before, until the next `flush`."""
        ...

    def flush(self) -> None:
        """Send what waits."""
        ...

    def progress(self, frame: Frame) -> None:
        """Nothing more has happened up to this frame's position."""
        ...

    def restart(self, frame: Frame, position: int) -> None:
        """Send `frame`, and go on after `position`, which need not be after those before."""
        ...

    def fail(self) -> None:
        """Nothing more can be brought here: the client has to come again."""
        ...


class Audience:
    """All readers of this process."""

    def __init__(
        self,
        database: Database,
        *,
        most: int = MOST,
        most_of_a_resource: int = MOST_OF_A_RESOURCE,
        most_of_a_user: int = MOST_OF_A_USER,
        most_behind: int = MOST_BEHIND,
    ) -> None:
        self._database = database
        self._most = most
        self._most_of_a_resource = most_of_a_resource
        self._most_of_a_user = most_of_a_user
        self._most_behind = most_behind
        self._rooms: dict[ResourceId, dict[RawId, list[Reader]]] = {}
        self._sizes: dict[ResourceId, int] = {}
        self._joined: set[Reader] = set()
        self._behind: dict[Reader, None] = {}
        """Those who were behind when they were last written to, the first of them first."""
        self._rosters: OrderedDict[Key, tuple[int, _Roster]] = OrderedDict()
        self._remembered = 0

    @property
    def size(self) -> int:
        """How many they are."""
        return len(self._joined)

    def join(self, reader: Reader) -> None:
        """Raises `TooMany`, `Unavailable`."""
        resource, user = reader.holder.resource, reader.holder.user
        if self.size >= self._most:
            raise Unavailable("This process has as many feeds open as it can have.", retry_after_s=5.0)
        if self._sizes.get(resource, 0) >= self._most_of_a_resource:
            raise TooMany(f"A resource has at most {self._most_of_a_resource} feeds open.", retry_after_s=5.0)
        readers = self._rooms.get(resource, {}).get(user, ())
        if len(readers) >= self._most_of_a_user:
            raise TooMany(f"A user has at most {self._most_of_a_user} feeds open.", retry_after_s=5.0)
        self._rooms.setdefault(resource, {}).setdefault(user, []).append(reader)
        self._sizes[resource] = self._sizes.get(resource, 0) + 1
        self._joined.add(reader)

    def leave(self, reader: Reader) -> bool:
        """Whether it was the last of its resource; again it changes nothing."""
        if reader not in self._joined:
            return False
        self._joined.remove(reader)
        self._behind.pop(reader, None)
        resource, user = reader.holder.resource, reader.holder.user
        room = self._rooms[resource]
        room[user].remove(reader)
        self._sizes[resource] -= 1
        if not room[user]:
            del room[user]
        if not room:
            del self._rooms[resource], self._sizes[resource]
        return not room

    def of(self, resource: ResourceId, user: RawId) -> Sequence[Reader]:
        """The readers of one user."""
        return self._rooms.get(resource, {}).get(user, ())

    def all(self) -> list[Reader]:
        """Each of them."""
        return list(self._joined)

    def written(self, reader: Reader) -> None:
        """`reader` was just written to. Readers that are all slow could hold more together than the process has: who
        is behind for longest goes."""
        if reader.unsent <= BEHIND_BYTES:
            self._behind.pop(reader, None)
            return
        if reader in self._joined:
            self._behind[reader] = None
        while len(self._behind) > self._most_behind:
            first = next(iter(self._behind))
            del self._behind[first]
            if first.unsent > BEHIND_BYTES:
                first.cut()

    async def told(self, lines: Sequence[Logline]) -> list[tuple[list[Reader], list[Reader]]]:
        """Of each line, who is told it, and who is told it without what its message says: those who went before the
        message was changed to what it is now. Raises `Unavailable`."""
        rosters = await self._of(lines)
        found: list[tuple[list[Reader], list[Reader]]] = []
        for line, roster in zip(lines, rosters, strict=True):
            readers = list(self._readers(line, roster))
            if not readers or not line.superseded:
                found.append((readers, []))
                continue
            async with self._database.connection() as connection:
                still = await records.still_in(connection, line.key)
            full = [reader for reader in readers if reader.holder.user in still]
            found.append((full, [reader for reader in readers if reader.holder.user not in still]))
        return found

    def _readers(self, line: Logline, roster: _Roster) -> Iterator[Reader]:
        room = self._rooms.get(line.key[0], {})
        for user in room if len(room) < len(roster) else roster:
            if user in roster and (line.created_at is None or roster[user] <= line.created_at):
                yield from room.get(user, ())

    async def _of(self, lines: Sequence[Logline]) -> list[_Roster]:
        found: list[_Roster | None] = [self._known(line) for line in lines]
        # Of lines that share a roster the first is asked for, the others find it remembered.
        wanted: dict[object, Logline] = {}
        for line, known in zip(lines, found, strict=True):
            if known is None:
                name = line.position if line.kind in _PASSING else (line.key, line.roster_version)
                wanted.setdefault(name, line)
        if wanted:
            asked = list(wanted.values())
            async with self._database.connection() as connection:
                read = await records.rosters(connection, [(line.key, line.position) for line in asked])
            answers = dict(zip(wanted, read, strict=True))
            for at, line in enumerate(lines):
                if found[at] is None:
                    name = line.position if line.kind in _PASSING else (line.key, line.roster_version)
                    found[at] = answers[name]
            for line, roster in zip(asked, read, strict=True):
                self._remember(line, roster)
        return [roster if roster is not None else {} for roster in found]

    def _known(self, line: Logline) -> _Roster | None:
        known = self._rosters.get(line.key)
        if known is None or known[0] != line.roster_version or line.kind in _PASSING:
            return None
        self._rosters.move_to_end(line.key)
        return known[1]

    def _remember(self, line: Logline, roster: _Roster) -> None:
        if line.kind in _PASSING:
            return
        self._forget(line.key)
        self._rosters[line.key] = (line.roster_version, roster)
        self._remembered += len(roster)
        while self._remembered > _REMEMBERED and self._rosters:
            self._forget(next(iter(self._rosters)))

    def _forget(self, key: Key) -> None:
        known = self._rosters.pop(key, None)
        if known is not None:
            self._remembered -= len(known[1])
