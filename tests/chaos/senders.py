"""Who sends by HTTP: with the official SDK, with signed requests that are repeated until they are answered, at a time
to come, and to people who opt out and in again."""

import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from random import Random
from typing import Any
from urllib.parse import quote

from azure.communication.sms import SmsClient
from azure.core.exceptions import AzureError
from tests.chaos.ledger import Asked, Ledger
from tests.chaos.stage import Machine, Stage
from tests.support.signed import SMS_VERSION, Raw, signed_headers, sms_body

from landline.testing.admin import AdminError

NUMBERS = [f"+1425555{number:04d}" for number in range(2000)]
PACED = "+18775550100"
"""A number of which a campaign takes a minute, and more of memory than one sender may have."""
PACED_PER_S = 40
SLOW = [f"+18885550{number:03d}" for number in range(30)]
"""Numbers that are slower, many at once: more than memory holds of each, and of all together."""
SLOW_PER_S = 3
LONG = 25
"""How often a long text says its token: 3 parts."""
VALID_S = 60
"""The shortest validity there is; a campaign of the paced number before a text may last longer."""
READERS = [f"+1425888{number:04d}" for number in range(40)]
"""Who is written to from the pool, again and again, by both servers at once."""
TAGS = (None, None, "spring", "autumn", "otp")
_TIMEOUT_S = 8.0
_REPEATED = 0.1
"""Of requests that were answered, how many are sent again."""


class Senders:
    """See the module."""

    def __init__(self, stage: Stage, ledger: Ledger, random: Random, connection: str, senders: list[str]) -> None:
        self.stage = stage
        self.ledger = ledger
        self.random = random
        self.senders = senders
        self.stopping = False
        self.pace = 1.0
        self._key = dict(part.split("=", 1) for part in connection.split(";") if part)["accesskey"]
        self._serving = [machine for machine in stage.machines if machine.kind == "serve"]
        bundle = str(stage.certificate)
        self._raws = {
            machine.name: Raw(f"https://localhost:{machine.port}/", self._key, bundle) for machine in self._serving
        }
        for machine in self._serving:
            self._raws[machine.name].host_header = f"localhost:{machine.port}"
        self._clients = {
            machine.name: SmsClient.from_connection_string(
                f"endpoint=https://localhost:{machine.port}/;accesskey={self._key}",
                connection_verify=bundle,
                connection_timeout=3,
                read_timeout=_TIMEOUT_S,
            )
            for machine in self._serving
        }

    def loops(self) -> list[Callable[[], Any]]:
        return [self._sdk, self._signed, self._signed, self._batches, self._scheduled, self._pooled, self._pooled]

    async def _rest(self, mean_s: float) -> None:
        await asyncio.sleep(min(self.random.expovariate(1 / mean_s), 4 * mean_s) / self.pace)

    def _machine(self) -> Machine:
        return self.random.choice(self._serving)

    async def _sdk(self) -> None:
        """One text at a time, as applications send; what is not answered stays so."""
        while not self.stopping:
            token, to, sender = self.ledger.token("s"), self.random.choice(NUMBERS), self.random.choice(self.senders)
            asked = self.ledger.asked[token, to] = Asked(token, to, "sdk", time.time(), sender)
            client = self._clients[self._machine().name]
            try:
                (item,) = await asyncio.to_thread(
                    client.send, sender, to, f"{token} hello", enable_delivery_report=True
                )
                if item.successful:
                    asked.acked, asked.message_id = time.time(), item.message_id
                else:
                    self.ledger.refusals[f"item {item.http_status_code} {item.error_message}"] += 1
            except AzureError as error:
                self.ledger.refusals[f"sdk {type(error).__name__} {getattr(error, 'status_code', '')}"] += 1
            await self._rest(0.2)

    async def _signed(self) -> None:
        while not self.stopping:
            recipients = self.random.sample(NUMBERS, self.random.choice([1, 1, 1, 3]))
            long = self.random.random() < 0.12
            token = self.ledger.token("l" if long else "h")
            words = " ".join([token] * LONG * 2) if long else f"{token} hello there"
            await self.send(token, recipients, words, kind="long" if long else "http", tag=self.random.choice(TAGS))
            await self._rest(0.3)

    async def _batches(self) -> None:
        while not self.stopping:
            token = self.ledger.token("b")
            await self.send(token, self.random.sample(NUMBERS, 40), f"{token} news", kind="batch", tag="spring")
            await self._rest(4.0)

    async def _pooled(self) -> None:
        while not self.stopping:
            token, readers = self.ledger.token("n"), self.random.sample(READERS, self.random.choice([1, 2, 8]))
            await self.send(token, readers, f"{token} from the pool", kind="pool", sender="pool:news")
            await self._rest(0.6)

    async def burst(self, count: int, sender: str | None = None) -> list[Asked]:
        """More at once than all windows hold."""
        told = {} if sender is None else {"sender": sender}
        made: list[Asked] = []
        for _ in range(count // 100):
            token, recipients = self.ledger.token("u"), self.random.sample(NUMBERS, 100)
            made += await self.send(token, recipients, f"{token} burst", kind="batch", tag="autumn", **told)
        return made

    async def send(
        self, token: str, recipients: list[str], words: str, *, kind: str, tag: str | None = None, **told: Any
    ) -> list[Asked]:
        """One request, byte by byte the same until a 202 answers it, at either server: a repeat is never a second
        message. Given up after a while."""
        sender = told.pop("sender", None) or self.random.choice(self.senders)
        options = {} if tag is None else {"tag": tag}
        body = json.dumps(sms_body(sender, list(recipients), words, **options)).encode()
        made = [Asked(token, to, kind, time.time(), sender, tag=tag, **told) for to in recipients]
        for asked in made:
            self.ledger.asked[token, asked.to] = asked
        deadline = time.monotonic() + 45.0
        while time.monotonic() < deadline:
            answer = await asyncio.to_thread(self._post, body)
            if answer is not None:
                for item in answer["value"]:
                    self._answered(self.ledger.asked[token, item["to"]], item)
                if self.random.random() < _REPEATED:
                    await self._repeat(body, made)
                return made
            if self.stopping and kind != "optout":
                break
            await asyncio.sleep(0.5)
        return made

    async def _repeat(self, body: bytes, made: list[Asked]) -> None:
        """The same request once more, perhaps at the other server, perhaps as a new process: the same messages."""
        await asyncio.sleep(self.random.random() * 5)
        answer = await asyncio.to_thread(self._post, body)
        known = {asked.to: asked.message_id for asked in made if asked.message_id}
        for item in [] if answer is None else answer["value"]:
            if known.get(item["to"], item.get("messageId")) != item.get("messageId"):
                self.ledger.troubles.append(f"{made[0].token} {known[item['to']]}, repeated, was answered {item}")

    def _answered(self, asked: Asked, item: dict[str, Any]) -> None:
        if item["successful"]:
            asked.acked, asked.message_id = time.time(), item["messageId"]
        else:
            self.ledger.refusals[f"item {item['httpStatusCode']} {item.get('errorMessage')}"] += 1

    def _post(self, body: bytes) -> Any:
        raw = self._raws[self._machine().name]
        try:
            target = f"/sms?api-version={SMS_VERSION}"
            headers = signed_headers(raw.key, raw.host_header, "POST", target, body)
            headers["content-type"] = "application/json"
            answer = raw.send("POST", target, body, headers, timeout_s=_TIMEOUT_S)
        except (OSError, HTTPException) as error:
            self.ledger.refusals[f"http {type(error).__name__}"] += 1
            return None
        if answer.status == 202:
            return answer.json()
        self.ledger.refusals[f"http {answer.status}"] += 1
        if answer.status not in (429, 503):
            self.ledger.troubles.append(f"a request was answered {answer}")
        return None

    async def _scheduled(self) -> None:
        """Texts for a time to come, some of which are taken back."""
        while not self.stopping:
            token, to = self.ledger.token("d"), self.random.choice(NUMBERS)
            sender = self.random.choice([*self.senders, PACED])
            due = datetime.now(UTC) + timedelta(seconds=self.random.uniform(5, 25))
            asked = Asked(token, to, "scheduled", time.time(), sender, not_before=due.timestamp())
            self.ledger.asked[token, to] = asked
            body: dict[str, Any] = {"from": sender, "to": [to], "message": f"{token} later", "sendAt": due.isoformat()}
            if self.random.random() < 0.5:
                body["validitySeconds"] = VALID_S
                asked.not_after = due.timestamp() + VALID_S
            machine = self._machine()
            answer = await self._admin(machine, "POST", "/resources/local/messages", body)
            if answer is not None:
                self._answered(asked, answer["value"][0])
            if asked.message_id and self.random.random() < 0.3:
                await asyncio.sleep(self.random.uniform(0, 6))
                path = f"/messages/{quote(asked.message_id)}"
                if await self._admin(self._machine(), "DELETE", path, None, refusable=(404, 409)) is not None:
                    asked.canceled = time.time()
            await self._rest(1.0)

    async def _admin(
        self, machine: Machine, method: str, path: str, body: Any, *, refusable: tuple[int, ...] = ()
    ) -> Any:
        try:
            answer = await asyncio.to_thread(machine.admin.call, method, path, body, timeout_s=_TIMEOUT_S)
            return answer if answer is not None else {}
        except AdminError as error:
            self.ledger.refusals[f"admin {method} {error.status}"] += 1
            late = "sendAt is not within" in str(error)  # it was asked too late
            if error.status not in (0, 503, *refusable) and not late:
                self.ledger.troubles.append(f"admin: {error}")
        except HTTPException as error:
            self.ledger.refusals[f"admin {type(error).__name__}"] += 1
        return None
