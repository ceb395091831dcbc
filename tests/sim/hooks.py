"""Faulty webhooks: an endpoint that all processes reach, and each process's own way of posting to it."""

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from tests.sim.loop import Process

from landline.ports.callout import Answer, Answered, CalloutFailed, Headers

FINAL = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 413: "RequestEntityTooLarge"}


@dataclass(eq=False)
class Post:
    """One request, whether or not it reached its endpoint."""

    process: Process
    subscription: str
    events: list[UUID]
    at: float
    """By the loop's time, as `told_at`."""
    status: int | None = None
    """What the endpoint said, whether or not it was heard."""
    told_at: float | None = None

    @property
    def taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True)
class Temper:
    """How often, of 1, a request meets what."""

    refuses: float
    """No connection."""
    silent: float
    """No answer ever; whether the events were taken or not."""
    slow: float
    away: float
    """5xx, 404 or 429."""
    final: float
    """A 4xx after which nothing is tried again."""


CALM = Temper(0, 0, 0, 0, 0)
TEMPERS = (
    CALM,
    CALM,
    Temper(0.05, 0.02, 0.3, 0.1, 0.01),
    Temper(0.0, 0.0, 1.0, 0.0, 0.0),
    Temper(0.2, 0.2, 0.2, 0.3, 0.05),
    Temper(0.0, 0.0, 0.0, 1.0, 0.0),
    Temper(0.0, 0.7, 0.1, 0.0, 0.0),
)


class Hook:
    """The far side of an endpoint, and what it saw."""

    def __init__(self, temper: Temper, dice: random.Random) -> None:
        self.temper = temper
        self.dice = dice
        self.posts: list[Post] = []

    async def answer(self, post: Post, timeout_s: float) -> int:
        """The status of the answer. Raises `CalloutFailed`."""
        dice, temper = self.dice, self.temper
        self.posts.append(post)
        if dice.random() < temper.refuses:
            await asyncio.sleep(dice.choice([0.0, 3.0]))
            raise CalloutFailed("connection", "refused")
        status = dice.choice([200, 204])
        if dice.random() < temper.final:
            status = dice.choice(list(FINAL))
        elif dice.random() < temper.away:
            status = dice.choice([500, 503, 404, 429])
        if dice.random() < temper.silent:
            post.status = dice.choice([None, 200])
            await asyncio.sleep(timeout_s)
            raise CalloutFailed("timeout", "no answer")
        post.status = status
        await asyncio.sleep(dice.choice([0.05, 2.0, 12.0, 29.0]) if dice.random() < temper.slow else 0.0)
        post.told_at = asyncio.get_running_loop().time()
        return status


class SimCallout:
    """Fills the port `Callout` for one process."""

    def __init__(self, hooks: Mapping[str, Hook], process: Process) -> None:
        self._hooks = hooks
        self._process = process
        self._posts: set[asyncio.Task[Answer]] = set()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | Headers,
        body: bytes = b"",
        timeout_s: float = 30.0,
        answer_limit_bytes: int = 65536,
    ) -> Answer:
        assert method == "POST"
        assert isinstance(headers, Headers)
        lines = dict(line.split(": ", 1) for line in headers.lines.decode().split("\r\n") if line)
        told = json.loads(body)
        events = [UUID(each["id"]) for each in (told if isinstance(told, list) else [told])]
        name = lines["aeg-subscription-name"].lower()
        post = Post(self._process, name, events, asyncio.get_running_loop().time())
        return Answer(await self._hooks[url].answer(post, timeout_s), {}, b"")

    def post(
        self,
        url: str,
        *,
        headers: Headers,
        body: bytes,
        timeout_s: float,
        answer_limit_bytes: int,
        answered: Answered,
    ) -> None:
        def ended(post: "asyncio.Task[Answer]") -> None:
            self._posts.discard(post)
            if not post.cancelled():
                failure = post.exception()
                answered(failure if isinstance(failure, Exception) else post.result())

        asking = self.request("POST", url, headers=headers, body=body, timeout_s=timeout_s)
        post = asyncio.get_running_loop().create_task(asking)
        self._posts.add(post)
        post.add_done_callback(ended)

    def check(self, url: str) -> None:
        assert url in self._hooks

    async def close(self) -> None:
        return None
