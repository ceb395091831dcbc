"""The binds of one carrier in this process: one link, or a pair, for each slot it holds; opened and ended as its slots
come and go."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import asdict
from random import Random

import structlog

from landline.core.errors import Invalid
from landline.engines.smpp.config import Binding, SmppConfig
from landline.engines.smpp.link import Link, LinkCounters, LinkOwner
from landline.engines.smpp.slots import Slots
from landline.ports.clock import Clock
from landline.protocols.smpp.commands import BindKind
from landline.store.watched import watched

log = structlog.get_logger()


class Binds:
    """See the module. `on_reachable` is called when `reachable` has changed."""

    def __init__(self, config: SmppConfig, clock: Clock, random: Random, owner: LinkOwner, slots: Slots) -> None:
        self.links: list[Link] = []
        """All that are up, being made or being ended."""
        self.tasks: list[asyncio.Task[None]] = []
        self.on_reachable: Callable[[], None] = _nobody
        self._config = config
        self._clock = clock
        self._random = random
        self._owner = owner
        self._slots = slots
        self._of_slot: dict[int, list[Link]] = {}
        self._tls: ssl.SSLContext | None = None
        self._former = LinkCounters()
        self._reachable = False
        self._closing = False

    @property
    def held(self) -> int:
        """How many of the carrier's binds are this process's to keep up."""
        return len(self._slots.held)

    @property
    def reachable(self) -> bool:
        """Whether a slot is ours and not being given up, be its bind up or being made: up, where others can submit and
        we could not the last time."""
        return self._reachable and not self._closing

    @property
    def usable(self) -> bool:
        """Whether a submit_sm may be sent now."""
        return not self._closing and any(link.usable for link in self.links)

    @property
    def usable_elsewhere(self) -> bool:
        """Whether a submit_sm may be sent by another process while none of the slots is ours."""
        return not self.reachable and self._slots.up_elsewhere

    def changed(self) -> None:
        """A bind is up, or down."""
        if not self._closing:
            self._slots.say_up(self.usable)
            self._look()

    async def start(self) -> None:
        """Returns when each bind was tried once. Raises `Unavailable` when the slots are not known."""
        self._tls = None if self._config.tls is None else self._config.tls.context()
        await self._slots.start(self._arrange)
        self._arrange()
        await asyncio.gather(*(link.attempted.wait() for link in self.links))

    def settle(self, link: Link) -> None:
        """End `link` if it is to be ended and nothing it sent is unanswered."""
        if (self._closing or link.draining) and (link.session is None or not link.session.in_flight):
            link.close()

    def drain(self) -> None:
        """No more is sent; each bind ends when what it has sent is answered."""
        self._closing = True
        for link in list(self.links):
            self.settle(link)

    async def end(self) -> None:
        """Unbind everywhere, and wait for it."""
        for link in list(self.links):
            link.close()
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=self._config.connect_s)

    async def close(self) -> None:
        """Cut what has not ended, and give the slots back."""
        self._closing = True
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self._slots.close()

    def counters(self) -> dict[str, int]:
        """`LinkCounters` of all binds there were since the start."""
        figures = asdict(self._former)
        for link in self.links:
            for name, value in asdict(link.counters).items():
                figures[name] += value
        return figures

    def _arrange(self) -> None:
        """Open what has become ours, begin to end what is ours no more."""
        if self._closing:
            return
        held = self._slots.held
        for slot in sorted(held):
            self._open(slot)
        for slot, links in list(self._of_slot.items()):
            for link in links:
                link.draining = slot not in held
                self.settle(link)
        self._look()

    def _look(self) -> None:
        reachable = bool(self._slots.held) and (self.usable or not self._slots.on_trial)
        if self._reachable != reachable:
            self._reachable = reachable
            self.on_reachable()

    def _open(self, slot: int) -> None:
        """Open what `slot` lacks: of a pair that comes back while it is being given up, one may be gone already."""
        config = self._config
        kinds = [BindKind.TRANSCEIVER]
        if config.binding is Binding.PAIR:
            kinds = [BindKind.TRANSMITTER, BindKind.RECEIVER]
        links = self._of_slot.setdefault(slot, [])
        there = [link.kind for link in links]
        for kind in kinds:
            if kind in there:
                continue
            name = f"{config.name}/{slot}/{kind.name.lower()}"
            link = Link(config, kind, name, self._clock, self._owner, self._random, self._tls_now)
            links.append(link)
            self.links.append(link)
            task = watched(self._run(slot, link), f"smpp {name}")
            self.tasks.append(task)
            task.add_done_callback(self._ended)

    def _tls_now(self) -> ssl.SSLContext | None:
        """The context for a new connection, of what its files hold now; the last that worked when they do not."""
        if self._config.tls is not None:
            try:
                self._tls = self._config.tls.context()
            except Invalid as error:
                log.error("smpp.tls_not_loaded", carrier=self._config.name, reason=error.message)
        return self._tls

    async def _run(self, slot: int, link: Link) -> None:
        await link.run()
        if self._closing:
            return
        self.links.remove(link)
        for name, value in asdict(link.counters).items():
            setattr(self._former, name, getattr(self._former, name) + value)
        links = self._of_slot[slot]
        links.remove(link)
        if slot in self._slots.held:  # it has come back to us meanwhile
            self._open(slot)
        elif not links:
            del self._of_slot[slot]
            self._slots.let_go(slot)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not self._closing:
            self.tasks.remove(task)


def _nobody() -> None:
    return None
