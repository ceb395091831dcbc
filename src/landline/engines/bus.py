"""The bus of a single process: what is published is heard here, in the next turn of the event loop."""

import asyncio

import structlog

from landline.ports.bus import Heard

log = structlog.get_logger()


class MemoryBus:
    """Fills `ports.bus.Bus` where one process is the whole deployment."""

    def __init__(self) -> None:
        self._ears: dict[str, list[_Ear]] = {}

    def publish(self, subject: str, data: bytes) -> None:
        """See `Bus.publish`."""
        ears = self._ears.get(subject)
        if ears:
            loop = asyncio.get_running_loop()
            for ear in ears:
                loop.call_soon(ear.hear, data)

    async def subscribe(self, subject: str, heard: Heard) -> "_Ear":
        """See `Bus.subscribe`."""
        ear = _Ear(self._ears, subject, heard)
        self._ears.setdefault(subject, []).append(ear)
        return ear

    async def close(self) -> None:
        """See `Bus.close`."""
        for ear in [ear for ears in self._ears.values() for ear in ears]:
            ear.close()


class _Ear:
    def __init__(self, ears: "dict[str, list[_Ear]]", subject: str, heard: Heard) -> None:
        self._ears = ears
        self._subject = subject
        self._heard: Heard | None = heard

    def hear(self, data: bytes) -> None:
        if self._heard is None:
            return  # closed after it was published
        try:
            self._heard(data)
        except Exception:
            log.exception("bus.listener_failed", subject=self._subject)

    def close(self) -> None:
        if self._heard is None:
            return
        self._heard = None
        others = [ear for ear in self._ears[self._subject] if ear is not self]
        if others:
            self._ears[self._subject] = others
        else:
            del self._ears[self._subject]
