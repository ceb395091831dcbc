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
    begun: dict[Connection, deque[Handed]] = field(default_factory=dict[Connection, deque[Handed]])
    """What is left of the long text whose first parts a connection was brought last. Binds may be of programs that know
    nothing of each other: whoever has one part is to have all, or can never read the text."""

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
        if not self.waiting and not self.begun:
            return []
        receivers = self.lively or self.receivers
        if not receivers:
            _give_up(self.waiting)
        begun, self.begun = self.begun, {}
        for connection, rest in begun.items():
            if connection in receivers:
                self._hand(connection, rest, connection.free)
            else:  # it has to be begun anew
                _give_up(rest)
        free = [(connection, connection.free) for connection in receivers]
        while self.waiting and (free := [(connection, left) for connection, left in free if left]):
            share = len(self.waiting) // len(free) or 1
            free = [(connection, left - self._spread(connection, min(left, share), left)) for connection, left in free]
        return receivers

    def _spread(self, connection: Connection, count: int, room: int) -> int:
        """Hand over the next `count` that are still to be, and with the last the rest of its text, for which there may
        be more `room`; how many there were."""
        handed = 0
        while self.waiting and handed < count:
            some = deque((self.waiting.popleft(),))
            while self.waiting and some[0].text is not None and self.waiting[0].text == some[0].text:
                some.append(self.waiting.popleft())
            handed += self._hand(connection, some, room - handed)
        return handed

    def _hand(self, connection: Connection, some: deque[Handed], room: int) -> int:
        """Hand over so many of `some` as there is `room` for, and keep the rest for this connection; how many."""
        handed = 0
        while some and handed < room:
            item = some.popleft()
            if not item.acknowledged.done():
                connection.hand(item)
                handed += 1
        if some:
            self.begun[connection] = some
        return handed

    def expire(self, now: float) -> list[float]:
        """Give up what has waited for a free window for too long; when the next has, if there is one."""
        for waiting in (self.waiting, *self.begun.values()):
            while waiting and waiting[0].until.timestamp() <= now:
                settle(waiting.popleft(), None)
        return [waiting[0].until.timestamp() for waiting in (self.waiting, *self.begun.values()) if waiting]


def _give_up(items: deque[Handed]) -> None:
    while items:
        settle(items.popleft(), None)
