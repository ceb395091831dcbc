"""What the listener knows of an account while it is bound: its connections, its pace, and what waits for them."""

from collections import deque
from dataclasses import dataclass, field

from landline.engines.smpp.listener.connection import Connection, Handed, settle
from landline.ports.esme_gateway import Account
from landline.protocols.smpp.pace import Pace


@dataclass(slots=True, eq=False)
class Customer:
    """See the module."""

    account: Account
    pace: Pace
    connections: dict[Connection, None] = field(default_factory=dict[Connection, None])
    """In the order they were bound."""
    waiting: deque[Handed] = field(default_factory=deque[Handed])

    @property
    def receivers(self) -> list[Connection]:
        """The connections that take deliveries."""
        return [connection for connection in self.connections if connection.session.can_deliver]

    @property
    def lively(self) -> list[Connection]:
        """The receivers that answer what they are brought."""
        return [connection for connection in self.receivers if not connection.stalled]

    def takes(self, now: float, part: float) -> bool:
        """Whether one more submission is within its rate, of which `part` is this process's; it is counted then."""
        if self.account.rate_per_s is not None:
            self.pace.limit(self.account.rate_per_s * part)
        allowed = self.pace.allowance(now)
        if allowed is not None and allowed < 1:
            return False
        self.pace.sent(1, now)
        return True

    def drain(self) -> list[Connection]:
        """Spread what waits over the receivers, which are returned; those that answer nothing get none while there are
        others. Without receivers it is given up."""
        if not self.waiting:
            return []
        receivers = self.lively or self.receivers
        while self.waiting and not receivers:
            settle(self.waiting.popleft(), None)
        free = [(connection, connection.free) for connection in receivers]
        while self.waiting and (free := [(connection, left) for connection, left in free if left]):
            share = len(self.waiting) // len(free) or 1
            free = [(connection, left - self._hand(connection, min(left, share))) for connection, left in free]
        return receivers

    def _hand(self, connection: Connection, count: int) -> int:
        """Hand over the next `count` that are still to be; how many there were."""
        handed = 0
        while self.waiting and handed < count:
            item = self.waiting.popleft()
            if not item.acknowledged.done():
                connection.hand(item)
                handed += 1
        return handed

    def expire(self, now: float) -> list[float]:
        """Give up what has waited for a free window for too long; when the next has, if there is one."""
        waiting = self.waiting
        while waiting and waiting[0].until.timestamp() <= now:
            settle(waiting.popleft(), None)
        return [waiting[0].until.timestamp()] if waiting else []
