"""The stream of changes over the bus: told after the commit, heard by whoever serves sockets, in any process.

Lossy: who missed something reads the thread again. Of one thread, what one process tells is heard in the order of its
commits; `sequence` and `version` tell the order between processes.
"""

from collections.abc import Callable

from landline.core.ids import ResourceId
from landline.ports.bus import Bus, Subscription
from landline.services.chat.model import changes
from landline.services.chat.model.changes import ChatChange


class Feed:
    """Changes of all threads, by resource."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def tell(self, resource: ResourceId, change: ChatChange) -> None:
        """Tell every process of a committed `change`."""
        self._bus.publish(_subject(resource), changes.encode(change))

    async def listen(self, resource: ResourceId, heard: Callable[[ChatChange], None]) -> Subscription:
        """Call `heard` for each change of a thread of `resource` from now on; it returns at once. Raises
        `Unavailable`."""
        return await self._bus.subscribe(_subject(resource), lambda data: heard(changes.decode(data)))


def _subject(resource: ResourceId) -> str:
    return f"chat.{resource}"
