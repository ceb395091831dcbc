"""Phones: they answer texts, and some opt out and in again, which whoever sends to them must notice."""

import asyncio
import time
from random import Random

from tests.chaos.ledger import Ledger, Texted
from tests.chaos.senders import Senders
from tests.chaos.stage import Stage

LEAVERS = [f"+1425666{number:04d}" for number in range(6)]
_PATIENCE_S = 90.0


class Phones:
    """See the module."""

    def __init__(self, stage: Stage, ledger: Ledger, random: Random, senders: Senders) -> None:
        self.stage = stage
        self.ledger = ledger
        self.random = random
        self.senders = senders
        self.stopping = False
        self._said: set[tuple[str, str]] = set()

    def loops(self) -> list[object]:
        return [self._chat, *(lambda phone=phone: self._leave(phone) for phone in LEAVERS)]

    def text(self, sender: str, recipient: str, words: str, token: str) -> Texted:
        """A phone texts, over any carrier that lives."""
        names = [name for name, smsc in self.stage.smscs.items() if smsc.running]
        name = self.random.choice(names or list(self.stage.smscs))
        texted = Texted(token, sender, recipient, words, name, time.time())
        self.ledger.texted[token] = texted
        self.stage.smscs[name].say(text=[sender, recipient, words, token])
        return texted

    async def _chat(self) -> None:
        while not self.stopping:
            token = self.ledger.token("p")
            words = " ".join([token] * (60 if self.random.random() < 0.1 else 2))
            sender = f"+1425777{self.random.randrange(300):04d}"
            self.text(sender, self.random.choice(self.senders.senders), words, token)
            await asyncio.sleep(self.random.expovariate(3))

    async def _leave(self, phone: str) -> None:
        """STOP, then texts that must not arrive; START, then texts that must not be blocked. The same number all along,
        as opt-outs are of one."""
        ours = self.random.choice(self.senders.senders)
        while not self.stopping:
            if not await self._keyword(phone, ours, "STOP"):
                return
            for _ in range(3):
                await self._expect(phone, ours, blocked=True)
                await asyncio.sleep(self.random.random() * 2)
            if not await self._keyword(phone, ours, "START"):
                return
            await self._expect(phone, ours, blocked=False)
            await asyncio.sleep(self.random.random() * 3)

    async def leave(self, phones: list[str], ours: str) -> None:
        """STOP from each, at any moment of some seconds. They never come back."""
        for phone in phones:
            self._write(phone, ours, "STOP")
            await asyncio.sleep(self.random.random() / 4)

    async def _keyword(self, phone: str, ours: str, word: str) -> bool:
        """Whether it was acknowledged: the SMSC has the deliver_sm_resp. When that stays open nothing can be said."""
        texted = self._write(phone, ours, word)
        deadline = time.monotonic() + _PATIENCE_S
        while texted.acked is None:
            if time.monotonic() > deadline or self.stopping:
                return False
            await asyncio.sleep(0.05)
        return True

    def _write(self, phone: str, ours: str, word: str) -> Texted:
        token = self.ledger.token("k")
        name = self.random.choice(list(self.stage.smscs))
        words = self._variant(phone, word)
        texted = Texted(token, phone, ours, words, name, time.time(), keyword=True)
        self.ledger.texted[token] = texted
        self.stage.smscs[name].say(text=[phone, ours, words, token])
        return texted

    def _variant(self, phone: str, word: str) -> str:
        """The keyword as this phone never wrote it before: what is said again while it is in doubt whether its SMSC
        knows that it was taken cannot be told from the same text, brought again."""
        while True:
            written = "".join(self.random.choice([letter, letter.lower()]) for letter in word)
            words = written + self.random.choice(["", ".", "!", "!!", "...", " ", "?", " !"])
            if (phone, words) not in self._said:
                self._said.add((phone, words))
                return words

    async def _expect(self, phone: str, ours: str, *, blocked: bool) -> None:
        token = self.ledger.token("o")
        await self.senders.send(token, [phone], f"{token} still there?", kind="optout", sender=ours, blocked=blocked)
