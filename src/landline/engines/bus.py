"""The bus of a single process, what is published is heard here in the next turn of the event loop; and the ears that
every bus has in its own process."""

import asyncio
from collections.abc import Callable

import structlog

from landline.ports.bus import Heard

log = structlog.get_logger()


class MemoryBus:
    """Fills `ports.bus.Bus` where one process is the whole deployment."""

    together = False

    def __init__(self) -> None:
        self._ears = Ears()

    async def start(self) -> None:
        """See `Bus.start`."""

    async def check(self) -> None:
        """See `Bus.check`: nobody is missed."""

    def publish(self, subject: str, data: bytes) -> None:
        """See `Bus.publish`."""
        self._ears.hear(subject, data)

    async def subscribe(self, subject: str, heard: Heard) -> "Ear":
        """See `Bus.subscribe`."""
        return self._ears.add(subject, heard)

    async def close(self) -> None:
        """See `Bus.close`."""
        self._ears.close()


class Ears:
    """Who listens in this process. `changed` is called when the first ear of a subject comes or the last one goes."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self._ears: dict[str, list[Ear]] = {}
        self._changed = changed

    def __contains__(self, subject: str) -> bool:
        return subject in self._ears

    def subjects(self) -> set[str]:
        """Those that somebody in this process listens to."""
        return set(self._ears)

    def hear(self, subject: str, data: bytes) -> None:
        """Have all ears of `subject` hear `data` in the next turn of the event loop."""
        ears = self._ears.get(subject)
        if ears:
            loop = asyncio.get_running_loop()
            for ear in ears:
                loop.call_soon(ear.hear, data)

    def add(self, subject: str, heard: Heard) -> "Ear":
        """Have `heard` called for what is published on `subject`, until the ear is closed."""
        ear = Ear(self, subject, heard)
        ears = self._ears.get(subject)
        self._ears[subject] = [*(ears or ()), ear]
        if ears is None:
            self._changed()
        return ear

    def remove(self, ear: "Ear") -> None:
        """`ear` hears no more; it is one of these."""
        others = [each for each in self._ears[ear.subject] if each is not ear]
        if others:
            self._ears[ear.subject] = others
        else:
            del self._ears[ear.subject]
            self._changed()

    def close(self) -> None:
        """Close all ears."""
        for ear in [ear for ears in self._ears.values() for ear in ears]:
            ear.close()


class Ear:
    """Fills `ports.bus.Subscription`."""

    __slots__ = ("_ears", "_heard", "subject")

    def __init__(self, ears: Ears, subject: str, heard: Heard) -> None:
        self._ears = ears
        self.subject = subject
        self._heard: Heard | None = heard

    def hear(self, data: bytes) -> None:
        """Call whoever listens with `data`; what it raises is logged."""
        if self._heard is None:
            return  # closed after it was published
        try:
            self._heard(data)
        except Exception:
            log.exception("bus.listener_failed", subject=self.subject)

    def close(self) -> None:
        """See `Subscription.close`."""
        if self._heard is not None:
            self._heard = None
            self._ears.remove(self)
