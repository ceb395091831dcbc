"""Who is in each thread, remembered by the roster's version, which is read with every lock of a thread."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from landline.core.ids import RawId
from landline.services.chat import records
from landline.services.chat.records import Key
from landline.store.database import Connection, Record

_REMEMBERED = 200_000
"""Participants, of all threads together; about 150 bytes each."""
_Roster = tuple[RawId, ...]


class Rosters:
    """A cache that is never stale: a roster counts only for the version that the thread has now."""

    def __init__(self) -> None:
        self._known: OrderedDict[Key, tuple[int, _Roster]] = OrderedDict()
        self._size = 0

    async def of(self, connection: Connection, threads: Mapping[Key, Record]) -> dict[Key, _Roster]:
        """Who is in each of `threads`, which the transaction holds locked."""
        found: dict[Key, _Roster] = {}
        missing: list[Key] = []
        for key, thread in threads.items():
            known = self._known.get(key)
            if known is not None and known[0] == thread["roster_version"]:
                self._known.move_to_end(key)
                found[key] = known[1]
            else:
                missing.append(key)
        if missing:
            found |= await self._read(connection, threads, missing)
        return found

    async def _read(
        self, connection: Connection, threads: Mapping[Key, Record], missing: Sequence[Key]
    ) -> dict[Key, _Roster]:
        read = await records.rosters(connection, missing)
        found = {key: tuple(read.get(key, ())) for key in missing}
        for key, roster in found.items():
            self._forget(key)
            self._known[key] = (threads[key]["roster_version"], roster)
            self._size += len(roster)
        while self._size > _REMEMBERED and self._known:
            self._forget(next(iter(self._known)))
        return found

    def _forget(self, key: Key) -> None:
        known = self._known.pop(key, None)
        if known is not None:
            self._size -= len(known[1])
