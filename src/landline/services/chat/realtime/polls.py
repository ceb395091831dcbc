"""Sessions of long polls. Each is in the process that gave its id; polls that reach another one, since every poll may
come over another connection, are answered by it over the bus."""

import asyncio
import os
import re
from dataclasses import dataclass, field
from itertools import count

import msgspec
import structlog

from landline.core.errors import Conflict, Forbidden, NotFound, Refusal, TooLarge, TooMany, Unauthorized, Unavailable
from landline.core.ids import ResourceId
from landline.ports.bus import Bus, Subscription
from landline.services.chat.realtime.hub import Hub
from landline.services.chat.realtime.polling import POLL_S, PollingMember
from landline.services.chat.realtime.tickets import Holder, Tickets
from landline.services.chat.realtime.watch import Watch

log = structlog.get_logger()
_LONGEST_SID = 64
_HOME = re.compile(r"([0-9a-f]{16})-[0-9a-f]{32}")
_HEARD_S = 2.0
"""Within which a process that is there says that it has heard a question."""
_LATE_S = 5.0
"""How much longer than a poll waits its answer may take."""
_LARGEST_BYTES = 1 << 18
"""Of what a client says at once."""
_REFUSALS = {each.__name__: each for each in (Conflict, Forbidden, NotFound, TooMany, Unauthorized)}


class _Asked(msgspec.Struct, frozen=True, tag=True):
    """A poll, or what a client says, of a session of another process."""

    number: int
    asker: str
    sid: str
    ticket: str
    said: bytes | None


class _Heard(msgspec.Struct, frozen=True, tag=True):
    """The question has come; its answer may take as long as a poll does."""

    number: int


class _Told(msgspec.Struct, frozen=True, tag=True):
    """The answer: a text, or the name of a refusal and its message."""

    number: int
    text: str
    refused: str | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Asked | _Heard | _Told).decode


@dataclass(slots=True)
class _Question:
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    told: "asyncio.Future[_Told]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Polls:
    """The sessions of one process, and the way to those of the others."""

    def __init__(self, hub: Hub, tickets: Tickets, watch: Watch, bus: Bus) -> None:
        self._hub = hub
        self._tickets = tickets
        self._watch = watch
        self._bus = bus
        self._name = os.urandom(8).hex()
        self._sessions: dict[str, PollingMember] = {}
        self._numbers = count()
        self._questions: dict[int, _Question] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._ear: Subscription | None = None

    def __len__(self) -> int:
        return len(self._sessions)

    async def start(self) -> None:
        """Answer other processes. Raises `Unavailable`."""
        self._ear = await self._bus.subscribe(_subject(self._name), self._hears)

    async def close(self) -> None:
        """Answer nobody any more; who waits is told that its session has ended."""
        if self._ear is not None:
            self._ear.close()
        for task in self._answering:
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)

    def new_sid(self) -> str:
        """The id of a new session, which will be here."""
        return f"{self._name}-{os.urandom(16).hex()}"

    async def poll(self, ticket: str | None, sid: str) -> str:
        """What there is to say in a session, which begins with its first poll. Raises `Unauthorized`, `Forbidden`,
        `NotFound`, `TooMany`, `Unavailable`."""
        holder = await self._tickets.read(ticket)
        home = self._elsewhere(sid)
        return await self._poll(holder, sid) if home is None else await self._ask(home, sid, ticket, None)

    async def say(self, ticket: str | None, sid: str, said: bytes) -> None:
        """What the client says in a session. Raises as `poll`, and `Conflict` and `TooLarge`."""
        holder = await self._tickets.read(ticket)
        home = self._elsewhere(sid)
        if home is None:
            self._say(holder, sid, said)
        elif len(said) > _LARGEST_BYTES:
            raise TooLarge(f"A client says at most {_LARGEST_BYTES} bytes at once.")
        else:
            await self._ask(home, sid, ticket, said)

    def _elsewhere(self, sid: str) -> str | None:
        """The process whose session it is; None when it is here, or nobody else can be asked."""
        found = _HOME.fullmatch(sid)
        if found is None or found.group(1) == self._name or sid in self._sessions or not self._bus.together:
            return None
        return found.group(1)

    async def _poll(self, holder: Holder, sid: str) -> str:
        member = self._sessions.get(sid)
        if member is None:
            member = await self._new(holder, sid)
        elif _who(member.holder) != _who(holder):
            raise NotFound("There is no such session.")
        return await member.poll()

    def _say(self, holder: Holder, sid: str, said: bytes) -> None:
        member = self._sessions.get(sid)
        if member is None or _who(member.holder) != _who(holder):
            raise NotFound("There is no such session.")
        member.receive(said.decode("utf-8", "replace"))

    async def _new(self, holder: Holder, sid: str) -> PollingMember:
        if len(sid) > _LONGEST_SID:
            raise NotFound("There is no such session.")
        member = self._sessions[sid] = PollingMember(holder, lambda: self._gone(sid), self._hub.figures)
        try:
            await self._hub.join(member)
        except BaseException:
            member.discard()
            if self._sessions.get(sid) is member:
                del self._sessions[sid]
            raise
        if self._sessions.get(sid) is not member:
            raise NotFound("The session has ended.")
        self._watch.joined(member)
        return member

    def _gone(self, sid: str) -> None:
        member = self._sessions.pop(sid)
        self._watch.left(member)
        self._hub.leave(member)

    async def _ask(self, home: str, sid: str, ticket: str | None, said: bytes | None) -> str:
        number, question = next(self._numbers), _Question()
        self._questions[number] = question
        self._bus.publish(_subject(home), _encode(_Asked(number, self._name, sid, ticket or "", said)))
        try:
            try:
                async with asyncio.timeout(_HEARD_S):
                    await question.heard.wait()
            except TimeoutError:
                raise NotFound("There is no such session.") from None  # its process is gone: the client begins anew
            try:
                async with asyncio.timeout(POLL_S + _LATE_S):
                    told = await question.told
            except TimeoutError:
                raise Unavailable("The process that has the session does not answer.") from None
        finally:
            del self._questions[number]
        if told.refused is None:
            return told.text
        refusal = _REFUSALS.get(told.refused)
        raise Unavailable(told.text) if refusal is None else refusal(told.text)

    def _hears(self, data: bytes) -> None:
        news: _Asked | _Heard | _Told = _decode(data)
        match news:
            case _Asked() as asked:
                self._bus.publish(_subject(asked.asker), _encode(_Heard(asked.number)))
                task = asyncio.create_task(self._answer(asked))
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)
            case _Heard(number=number):
                question = self._questions.get(number)
                if question is not None:
                    question.heard.set()
            case _Told(number=number) as told:
                question = self._questions.get(number)
                if question is not None and not question.told.done():
                    question.heard.set()
                    question.told.set_result(told)

    async def _answer(self, asked: _Asked) -> None:
        try:
            holder = await self._tickets.read(asked.ticket)
            if asked.said is None:
                told = _Told(asked.number, await self._poll(holder, asked.sid))
            else:
                self._say(holder, asked.sid, asked.said)
                told = _Told(asked.number, "")
        except asyncio.CancelledError:
            told = _Told(asked.number, "The session has ended.", NotFound.__name__)
            self._bus.publish(_subject(asked.asker), _encode(told))
            raise
        except (Refusal, Unavailable) as error:
            told = _Told(asked.number, error.message, type(error).__name__)
        except Exception:
            log.exception("chat.poll_failed")
            told = _Told(asked.number, "The poll could not be answered.", Unavailable.__name__)
        self._bus.publish(_subject(asked.asker), _encode(told))


def _who(holder: Holder) -> tuple[ResourceId, str]:
    return holder.resource, holder.user


def _subject(process: str) -> str:
    return f"chat.polls.{process}"
