"""An SMSC that forgets nothing: in a process of its own, with a journal from which it goes on after a SIGKILL.

Run as a module it is that process: `python -m tests.chaos.smsc <port> <journal> <life> <name>`, with a certificate and
its key behind them when it is to speak TLS. It reads commands from standard input, a JSON object a line:
`{"conduct": {...}}`, `{"text": [from, to, words, token]}`, `{"cut": true}`, `{"listen": false}`.
"""

import asyncio
import json
import os
import re
import signal
import ssl
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

from landline.engines.smpp.encoding import address_of
from landline.protocols.smpp import pdu, status, texts
from landline.protocols.smpp.commands import MessageState
from landline.protocols.smpp.events import Answered
from landline.protocols.smpp.limits import Limits
from landline.protocols.smpp.pdu import ShortMessage
from landline.testing.smsc import Conduct, ReceiptTime, Rule, Smsc
from landline.testing.smsc.connection import Connection

SYSTEM_ID, PASSWORD = "landline", "secret"
TOKEN = re.compile(r"\b([a-z][0-9]{6})\b")
"""What each text of a run bears, in each of its parts: the name by which all witnesses know it."""
IDS_A_LIFE = 1_000_000
RECEIPT_DELAY_S = 0.3
TRAITS: dict[str, dict[str, Any]] = {
    "north": {},
    "south": {"response_id": "{id:X}", "receipt_id": "{id:012d}"},
    "west": {"deliver_retry_s": 15.0},
}
"""What each SMSC does all along; ids in the journal are plain numbers."""
ENQUIRE_S = 5.0


class Owed(bytes):
    """A delivery's body; `number` tells it from another one of the same octets."""

    number: str


class Durable(Smsc):
    """Writes down what it takes before it answers, and what it owes until that is acknowledged."""

    def __init__(self, journal: Path, life: int, name: str, tls: ssl.SSLContext | None) -> None:
        self.tls = tls
        self.usual: dict[str, Any] = {"response_delay_s": 0.005, "receipt_delay_s": RECEIPT_DELAY_S, **TRAITS[name]}
        super().__init__({SYSTEM_ID: PASSWORD}, conduct=Conduct(**self.usual), keep=50_000, window=50)
        # A connection whose other end is gone without a word is given up, as SMSCs do.
        self.limits = Limits(window=50, enquire_link_s=ENQUIRE_S, response_s=10.0, init_s=None)
        self.ids = count(life * IDS_A_LIFE)
        self._owed = (f"{life}-{number}" for number in count(1))
        self._file = os.open(journal, os.O_WRONLY | os.O_APPEND)

    def note(self, what: str, *details: Any) -> None:
        """One line of the journal."""
        os.write(self._file, json.dumps([time.time(), what, *details]).encode() + b"\n")

    def remember(self, system_id: str, message_id: str, message: ShortMessage) -> None:
        super().remember(system_id, message_id, message)
        piece = texts.read(message)
        text = texts.decode(piece.data_coding, piece.octets)
        joint = piece.concatenation
        part = [joint.reference, joint.sequence, joint.total] if joint is not None else [0, 1, 1]
        found = TOKEN.search(text)
        sender, recipient = f"+{message.source_addr}", f"+{message.destination_addr}"
        self.note("taken", self.number(message_id), sender, recipient, found[1] if found else "", part, text[:40])

    def number(self, message_id: str) -> str:
        """The plain number of an id as responses have it."""
        return str(int(message_id, 16 if "response_id" in self.usual else 10)) if message_id else ""

    def owe(self, body: bytes, what: str) -> Owed:
        """A delivery that is to be brought until it is acknowledged."""
        owed = Owed(body)
        owed.number = next(self._owed)
        self.note("owed", owed.number, body.hex(), what)
        return owed

    def phone(self, sender: str, recipient: str, words: str, token: str) -> None:
        """A phone's text."""
        source_ton, source_npi, source = address_of(sender)
        ton, npi, destination = address_of(recipient)
        for part in texts.write(words, texts.LongStyle.UDH8, texts.Alphabet.GSM, next(self._references)):
            body = pdu.encode_body(
                ShortMessage(
                    source_addr_ton=source_ton,
                    source_addr_npi=source_npi,
                    source_addr=source,
                    dest_addr_ton=ton,
                    dest_addr_npi=npi,
                    destination_addr=destination,
                    esm_class=part.esm_class,
                    data_coding=part.data_coding,
                    short_message=part.short_message,
                    tlvs=part.tlvs,
                )
            )
            self.deliver(SYSTEM_ID, [self.owe(body, token)])

    def _connected(self) -> Connection:
        connection = Noted(self)
        self._connections.add(connection)
        self.counts.connections += 1
        return connection

    async def watch(self) -> None:
        """The sessions' own timers, which the SMSC of the tests has no use for."""
        while True:
            await asyncio.sleep(0.5)
            for each in list(self._connections):
                each.pump.expire()
                each.pump.flush()
                if each.session.ended:
                    each.pump.abort()


class Noted(Connection):
    """Says which of its answers were written, and which of its deliveries were acknowledged."""

    _smsc: Durable

    def _answer(self, sequence: int, state: int, message_id: str) -> None:
        if self.session.ended or self.pump.session.ended:
            return
        super()._answer(sequence, state, message_id)
        self._smsc.note("answered", self._smsc.number(message_id), state)

    def _receipt(self, message: ShortMessage, number: int, rule: Rule, at: Any) -> bytes:
        body = super()._receipt(message, number, rule, at)
        return self._smsc.owe(body, str(number))

    def _answered(self, event: Answered) -> None:
        super()._answered(event)
        assert isinstance(event.context, Owed)
        self._smsc.note("acked" if event.status == status.ESME_ROK else "refused", event.context.number, event.status)


def left(journal: Path) -> list[bytes]:
    """What an earlier life had not brought yet, in order."""
    waiting: dict[str, Owed] = {}
    for line in journal.read_text().splitlines():
        _, what, *details = json.loads(line)
        if what == "owed":
            waiting[details[0]] = Owed(bytes.fromhex(details[1]))
            waiting[details[0]].number = details[0]
        elif what == "acked":
            waiting.pop(details[0], None)
    return list(waiting.values())


def _conduct(smsc: Durable, changes: dict[str, Any]) -> None:
    smsc.conduct = Conduct(**smsc.usual)
    for name, value in changes.items():
        if name == "rules":
            value = [
                Rule(**{**rule, "state": MessageState(rule.get("state", MessageState.DELIVERED))}) for rule in value
            ]
        if name == "receipts":
            value = ReceiptTime(value)
        setattr(smsc.conduct, name, value)


async def _command(smsc: Durable, port: int, line: str) -> None:
    asked = json.loads(line)
    if "conduct" in asked:
        _conduct(smsc, asked["conduct"])
    if "text" in asked:
        smsc.phone(*asked["text"])
    if asked.get("cut"):
        smsc.cut()
    if asked.get("listen") is False:
        await smsc.stop_listening()
    if asked.get("listen") and smsc._server is None:
        await smsc.start(port=port, tls=smsc.tls)


async def _main(port: int, journal: Path, life: int, name: str, *certificate: str) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) if certificate else None
    if tls is not None:
        tls.load_cert_chain(*certificate)
    smsc = Durable(journal, life, name, tls)
    waiting = left(journal)
    await smsc.start(port=port, tls=smsc.tls)
    smsc.deliver(SYSTEM_ID, waiting)
    watching = asyncio.create_task(smsc.watch())
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print("ready", flush=True)
    while line := await lines.readline():
        await _command(smsc, port, line.decode())
    watching.cancel()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:]))
