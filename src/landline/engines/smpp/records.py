"""The SMPP engine's own tables: parts of long texts in both directions, and fingerprints of texts that arrived."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from uuid import UUID

from msgspec.structs import replace

from landline.ports.sms_carrier import Receipt
from landline.protocols.smpp.joiner import GroupKey, Joined, TextPart, join
from landline.protocols.smpp.texts import Alphabet
from landline.store.database import Connection, Database, Record

REPEAT = timedelta(minutes=2)
"""How long after its arrival in one process a text that comes to another counts as the same, unless it is settled."""
KEPT = timedelta(minutes=10)
"""How long whole texts' parts and fingerprints are kept."""
FOLLOWED = timedelta(minutes=1)
"""How soon after parts that may be repeated ones come those that tell that they are of a new text."""
SENT_KEPT = timedelta(days=8)
"""How long receipts of a long message's parts are waited for."""
ENDED_KEPT = timedelta(hours=6)
"""How long they are known once all have come, for the SMSC may bring one again: an SMSC that was restarted may give
their ids to other messages."""

_DELIVERED = 2000

GIVEN_UP_AT_ONCE = 100
"""Texts that are given up together."""

_ARRIVALS = 0x61727276  # "arrv": the first half of an advisory lock, whose second is of the carrier
_GROUP = ("sender", "recipient", "reference", "total", "wide")
_COLUMNS = ", ".join(_GROUP)


def parts_of(text: str, carrier: str = "$1") -> str:
    """A query for the parts of a carrier's `text`, an alias that has its columns: their rows, each with its `place`,
    the ctid to change it by. For LATERAL. The order keeps PostgreSQL to the index that has all these columns, where it
    takes the table to be empty and the other one to be as cheap (docs/design/plans.md)."""
    matched = " AND ".join(f"k.{column} = {text}.{column}" for column in _GROUP)
    return (
        f"SELECT k.ctid AS place, k.* FROM smpp_inbound_parts k WHERE k.carrier = {carrier} AND {matched}"
        " ORDER BY k.sequence"
    )


# Likewise: without the order either index of these is as cheap, and the wrong one has all of the carrier's.
_OF_FINGERPRINTS = """
SELECT a.fingerprint, a.key, a.settled_at FROM (SELECT DISTINCT unnest($2::bytea[])) AS n (fingerprint)
CROSS JOIN LATERAL (
    SELECT * FROM smpp_arrivals WHERE carrier = $1 AND fingerprint >= n.fingerprint AND fingerprint <= n.fingerprint
    AND owner <> $3 AND at BETWEEN $4 AND $5 -- later: the clock was set back since
    ORDER BY fingerprint
) AS a ORDER BY a.at DESC
"""
_OF_KEYS = """
ctid = ANY(ARRAY(SELECT (
    SELECT ctid FROM smpp_arrivals WHERE carrier = $1 AND key >= n.key AND key <= n.key ORDER BY key LIMIT 1
) FROM unnest($2::text[]) AS n (key)))
"""
_GROUP_ARRAYS = "$2::text[], $3::text[], $4::int[], $5::smallint[], $6::boolean[]"
_NEW_PARTS = (
    f"unnest({_GROUP_ARRAYS}, $7::smallint[], $8::smallint[], $9::bytea[])"
    " AS n (sender, recipient, reference, total, wide, sequence, data_coding, octets)"
)

_COLUMNS_OF_P = ", ".join(f"p.{column}" for column in _GROUP)
_OTHER_IN_PLACE = (
    f"SELECT DISTINCT {_COLUMNS_OF_P} FROM {_NEW_PARTS} JOIN LATERAL ({parts_of('n')}) AS p ON p.sequence = n.sequence"
    " WHERE p.octets <> n.octets AND "
)

# Parts in front of the first other one are the new text's, too, if they came again lately: after that one did, or else
# its text was brought again as a whole.
_KEPT_FOR_NEW = "p.sequence < b.sequence AND p.again_at >= $10 AND (b.again_at IS NULL OR p.again_at > b.again_at)"
_BEGIN_ANEW = (
    f"WITH begun AS MATERIALIZED (SELECT {_COLUMNS_OF_P}, min(p.sequence) AS sequence, max(p.again_at) AS again_at"
    f" FROM {_NEW_PARTS} JOIN LATERAL ({parts_of('n')}) AS p ON p.sequence = n.sequence"
    f" WHERE p.done AND p.octets <> n.octets GROUP BY {_COLUMNS_OF_P}),"
    " kept AS (UPDATE smpp_inbound_parts p SET done = false, at = p.again_at, again_at = NULL"
    f" FROM begun b CROSS JOIN LATERAL ({parts_of('b')}) AS found WHERE p.ctid = found.place AND {_KEPT_FOR_NEW})"
    f" DELETE FROM smpp_inbound_parts p USING begun b CROSS JOIN LATERAL ({parts_of('b')}) AS found"
    f" WHERE p.ctid = found.place AND ({_KEPT_FOR_NEW}) IS NOT TRUE"
)
# First: what another process changes meanwhile has another place after that, where `_BEGIN_ANEW` would not find it.
_LOCK = (
    f"SELECT FROM unnest({_GROUP_ARRAYS}) AS n ({_COLUMNS}) CROSS JOIN LATERAL ({parts_of('n')} FOR UPDATE) AS locked"
)
# As a whole: what is left of a text's would keep those of a new one from being told of.
_FORGET_PARTS = (
    "DELETE FROM smpp_inbound_parts p WHERE p.carrier = $1 AND p.done AND p.at < $2 AND"
    f" (SELECT true FROM ({parts_of('p')}) AS n WHERE n.at >= $2 OR n.again_at >= $2 LIMIT 1) IS NULL"
)


@dataclass(frozen=True, slots=True)
class Look:
    """A text whose key is asked for, by its fingerprint. `key` is what it gets when it is new, `came_at` when it came
    to this process, `other` the key of an equal text that this process knows to be another one."""

    fingerprint: bytes
    key: str
    came_at: datetime
    other: str = ""


@dataclass(frozen=True, slots=True)
class Whole:
    """A text made of parts. `key` stays the same when it is made again."""

    key: str
    joined: Joined


class Records:
    """One carrier's rows. Every method is durable when it returns and may be repeated; all raise `Unavailable`."""

    def __init__(
        self, database: Database, carrier: str, owner: UUID, default: Alphabet, *, one_receipt: bool = False
    ) -> None:
        """`one_receipt`: a long message that is sent has one receipt, of whichever part."""
        self._database = database
        self._carrier = carrier
        self._owner = owner
        self._default = default
        self._one_receipt = one_receipt

    async def keep_parts(self, parts: Sequence[TextPart], now: datetime) -> list[Whole]:
        """Store `parts`; the texts among theirs that are whole now, again each time until `finish` is told of them."""
        async with self._database.connection() as connection:
            return await self.keep_parts_by(connection, parts, now)

    async def keep_parts_by(self, connection: Connection, parts: Sequence[TextPart], now: datetime) -> list[Whole]:
        """As `keep_parts`. In a transaction whoever else stores parts of the same texts is to wait for its end."""
        columns = [*_group_columns([part.key for part in parts]), *_part_columns(parts)]
        # A reference used again: other octets in the same place of a text that is done begin a new text.
        anew = await connection.fetch(_OTHER_IN_PLACE + "p.done", self._carrier, *columns)
        if anew:
            async with connection.transaction():
                await connection.fetch(_LOCK, self._carrier, *_group_columns([_group_of(row) for row in anew]))
                await connection.execute(_BEGIN_ANEW, self._carrier, *columns, now - FOLLOWED)
        await connection.execute(
            "INSERT INTO smpp_inbound_parts (carrier, sender, recipient, reference, total, wide, sequence,"
            f" data_coding, octets, at) SELECT DISTINCT ON ({', '.join(f'n.{c}' for c in _GROUP)}, n.sequence)"
            f" $1, n.*, $10::timestamptz FROM {_NEW_PARTS} ON CONFLICT (carrier, {_COLUMNS}, sequence)"
            " DO UPDATE SET again_at = excluded.at WHERE smpp_inbound_parts.done",
            self._carrier,
            *columns,
            now,
        )
        # Its own statement, after the commit of the one before, or after that of who stored parts before us: of two
        # processes that store a text's last parts at the same time at least one sees all of them.
        return await self._wholes(connection, list(dict.fromkeys(part.key for part in parts)))

    async def interrupted(self, parts: Sequence[TextPart]) -> list[Whole]:
        """Texts that are not whole and never will be: one of `parts` has other octets than theirs in the same place, so
        their reference is used again. To be passed on as they are, and told to `finish`, before `keep_parts`."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                _OTHER_IN_PLACE + "NOT p.done",
                self._carrier,
                *_group_columns([part.key for part in parts]),
                *_part_columns(parts),
            )
            return await self._wholes(connection, [_group_of(row) for row in rows], missing=True)

    async def finish(self, keys: Sequence[GroupKey]) -> None:
        """The texts of `keys` were passed on."""
        if keys:
            async with self._database.connection() as connection:
                await connection.execute(
                    "UPDATE smpp_inbound_parts p SET done = true FROM"
                    f" unnest({_GROUP_ARRAYS}) AS n ({_COLUMNS}) CROSS JOIN LATERAL ({parts_of('n')}) AS found"
                    " WHERE p.ctid = found.place",
                    self._carrier,
                    *_group_columns(keys),
                )

    async def overdue(self, now: datetime, patience: timedelta) -> list[Whole]:
        """Texts whose missing parts are waited for no more, up to `GIVEN_UP_AT_ONCE`; what is kept no longer is deleted
        on the way."""
        async with self._database.connection() as connection:
            await self.forget_old(connection, now)
            rows = await connection.fetch(
                f"SELECT {', '.join(_GROUP)} FROM smpp_inbound_parts WHERE carrier = $1 AND NOT done"
                f" GROUP BY {', '.join(_GROUP)} HAVING min(at) <= $2 LIMIT {GIVEN_UP_AT_ONCE}",
                self._carrier,
                now - patience,
            )
            return await self._wholes(connection, [_group_of(row) for row in rows], missing=True)

    async def forget_old(self, connection: Connection, now: datetime) -> None:
        """Delete what is kept no longer."""
        for sql, until in (
            (_FORGET_PARTS, now - KEPT),
            ("DELETE FROM smpp_arrivals WHERE carrier = $1 AND at < $2", now - KEPT),
            ("DELETE FROM smpp_sent_parts WHERE carrier = $1 AND sent_at < $2", now - SENT_KEPT),
        ):
            await connection.execute(sql, self._carrier, until)

    async def _wholes(self, connection: Connection, keys: list[GroupKey], *, missing: bool = False) -> list[Whole]:
        if not keys:
            return []
        rows = await connection.fetch(
            f"SELECT p.* FROM unnest({_GROUP_ARRAYS}) AS n ({_COLUMNS}) CROSS JOIN LATERAL ({parts_of('n')}) AS p"
            " ORDER BY p.at, p.sequence",
            self._carrier,
            *_group_columns(keys),
        )
        groups: dict[GroupKey, dict[int, TextPart]] = {}
        since: dict[GroupKey, datetime] = {}
        done = {_group_of(row) for row in rows if row["done"]}
        for row in rows:
            key = _group_of(row)
            if key in done:
                continue
            groups.setdefault(key, {})[row["sequence"]] = TextPart(
                key, row["sequence"], row["data_coding"], row["octets"]
            )
            since.setdefault(key, row["at"])
        return [
            self._whole(key, parts, since[key]) for key, parts in groups.items() if missing or len(parts) == key.total
        ]

    def _whole(self, key: GroupKey, parts: dict[int, TextPart], since: datetime) -> Whole:
        joined = join(parts, key, self._default)
        stamp = f"{key.reference}:{len(parts)}:{since.timestamp()}"
        return Whole(fingerprint(key.sender, key.recipient, joined.text + stamp).hex(), joined)

    async def arrival_keys(self, looks: Sequence[Look], now: datetime) -> list[str]:
        """The key of each: that of the same text lately taken in by another process, or else the new one, which is
        remembered."""
        async with self._database.transaction() as connection:
            # Of two processes that look at the same moment, as after a database that stood still, one sees the other's.
            await connection.execute("SELECT pg_advisory_xact_lock($1, hashtext($2))", _ARRIVALS, self._carrier)
            keys = await self._keys(connection, looks, now)
            new = [look for look, key in zip(looks, keys, strict=True) if key == look.key]
            await connection.execute(
                "INSERT INTO smpp_arrivals (carrier, fingerprint, owner, at, key)"
                " SELECT $1, f, $2, $3, k FROM unnest($4::bytea[], $5::text[]) AS n (f, k) ON CONFLICT DO NOTHING",
                self._carrier,
                self._owner,
                now,
                [look.fingerprint for look in new],
                [look.key for look in new],
            )
            return keys

    async def known_keys(self, looks: Sequence[Look], now: datetime) -> list[str]:
        """As `arrival_keys`, and nothing new is remembered."""
        async with self._database.connection() as connection:
            return await self._keys(connection, looks, now)

    async def _keys(self, connection: Connection, looks: Sequence[Look], now: datetime) -> list[str]:
        rows = await connection.fetch(
            _OF_FINGERPRINTS,
            self._carrier,
            [look.fingerprint for look in looks],
            self._owner,
            now - REPEAT,
            now + REPEAT,
        )
        return _known_keys(looks, rows)

    async def unsettled(self, keys: Sequence[str], until: datetime) -> frozenset[str]:
        """Which of `keys`, given lately, are of texts that equal ones may be, as far as anybody knew `until` then."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                f"SELECT key FROM smpp_arrivals WHERE {_OF_KEYS} AND (settled_at IS NULL OR settled_at > $3)",
                self._carrier,
                list(keys),
                until,
            )
        return frozenset(row["key"] for row in rows)

    async def settled(self, prompt: Sequence[str], late: Sequence[str], now: datetime) -> None:
        """The SMSC knows that the texts of these keys were taken in: what equals them is another text. The `late` ones
        were acknowledged so late that it may have brought them to another process before, which may not have looked at
        them yet: what came to it until `now` is the same text."""
        async with self._database.connection() as connection:
            if prompt:
                await connection.execute(f"DELETE FROM smpp_arrivals WHERE {_OF_KEYS}", self._carrier, list(prompt))
            if late:
                await connection.execute(
                    f"UPDATE smpp_arrivals SET settled_at = $3 WHERE {_OF_KEYS}",
                    self._carrier,
                    list(late),
                    now,
                )

    async def remember_sent(self, messages: Sequence[Sequence[str]], now: datetime) -> None:
        """The part ids of long messages whose receipts will come; the first of each names the message. To be repeated
        with the same `now`."""
        rows = [(part, ids[0], 1 if self._one_receipt else len(ids)) for ids in messages for part in ids]
        async with self._database.transaction() as connection:
            # An SMSC that counts its ids anew: what had them before is another message.
            await connection.execute(
                "DELETE FROM smpp_sent_parts"
                " WHERE carrier = $1 AND (part_id = ANY($2) OR message_id = ANY($3)) AND sent_at < $4",
                self._carrier,
                [part for part, _, _ in rows],
                [ids[0] for ids in messages],
                now,
            )
            await connection.execute(
                "INSERT INTO smpp_sent_parts (carrier, part_id, message_id, total, sent_at)"
                " SELECT $1, p, m, t, $5 FROM unnest($2::text[], $3::text[], $4::smallint[]) AS n (p, m, t)"
                " ON CONFLICT DO NOTHING",
                self._carrier,
                [part for part, _, _ in rows],
                [message for _, message, _ in rows],
                [total for _, _, total in rows],
                now,
            )

    async def sent_parts(self, ids: Collection[str]) -> frozenset[str]:
        """Which of `ids` are parts of long messages that were sent, by any process."""
        rows = await self._database.fetch(
            "SELECT part_id FROM smpp_sent_parts WHERE carrier = $1 AND part_id = ANY($2)", self._carrier, list(ids)
        )
        return frozenset(row["part_id"] for row in rows)

    async def fold(self, receipts: Sequence[Receipt], now: datetime) -> list[Receipt]:
        """`receipts` with those of parts folded: a long message's single receipt is there once as
        many of its parts' are as come."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                # A failure may be taken back; of failures the first counts.
                "WITH news AS (SELECT DISTINCT ON (part_id) part_id, code FROM unnest($2::text[], $3::int[])"
                f"  WITH ORDINALITY AS n (part_id, code, place) ORDER BY part_id, code <> {_DELIVERED}, place),"
                " folded AS (UPDATE smpp_sent_parts s SET code ="
                f"   CASE WHEN n.code = {_DELIVERED} THEN n.code ELSE coalesce(s.code, n.code) END FROM news n"
                "  WHERE s.carrier = $1 AND s.part_id = n.part_id RETURNING s.part_id, s.message_id)"
                " SELECT part_id, message_id FROM folded",
                self._carrier,
                [receipt.carrier_message_id for receipt in receipts],
                [receipt.code for receipt in receipts],
            )
            if not rows:
                return list(receipts)
            ended = await connection.fetch(
                "WITH ended AS (SELECT message_id, array_agg(code ORDER BY part_id) AS codes FROM smpp_sent_parts"
                "  WHERE carrier = $1 AND message_id = ANY($2) GROUP BY message_id HAVING count(code) >= min(total)),"
                " forgotten_soon AS (UPDATE smpp_sent_parts s SET sent_at = $3 FROM ended e"
                "  WHERE s.carrier = $1 AND s.message_id = e.message_id AND s.sent_at > $3)"
                " SELECT message_id, codes FROM ended",
                self._carrier,
                list({row["message_id"] for row in rows}),
                now - SENT_KEPT + ENDED_KEPT,
            )
        return _folded(receipts, {row["part_id"]: row["message_id"] for row in rows}, ended)


def fingerprint(sender: str, recipient: str, text: str) -> bytes:
    """16 octets that stand for a text between two numbers."""
    whole = f"{sender}\n{recipient}\n{text}".encode("utf-8", "surrogatepass")
    return blake2b(whole, digest_size=16).digest()


def _known_keys(looks: Sequence[Look], rows: Sequence[Record]) -> list[str]:
    """The key of each look. `rows`, newest first, are equal texts of other processes, each of which stands for one."""
    equal: dict[bytes, list[Record]] = {}
    for row in rows:
        equal.setdefault(row["fingerprint"], []).append(row)
    keys: list[str] = []
    for look in looks:
        theirs = equal.get(look.fingerprint, [])
        same = next((row for row in theirs if _is_same(look, row)), None)
        if same is not None:
            theirs.remove(same)
        keys.append(look.key if same is None else same["key"])
    return keys


def _is_same(look: Look, row: Record) -> bool:
    return row["key"] != look.other and (row["settled_at"] is None or look.came_at < row["settled_at"])


def _folded(receipts: Sequence[Receipt], part_of: dict[str, str], ended: Sequence[Record]) -> list[Receipt]:
    codes_of: dict[str, list[int | None]] = {row["message_id"]: row["codes"] for row in ended}
    passed: list[Receipt] = []
    for receipt in receipts:
        message = part_of.get(receipt.carrier_message_id)
        if message is None:
            passed.append(receipt)
            continue
        codes = codes_of.pop(message, None)
        if codes is not None:
            failures = [code for code in codes if code is not None and code != _DELIVERED]
            passed.append(
                replace(
                    receipt,
                    carrier_message_id=message,
                    delivered=not failures,
                    code=failures[0] if failures else _DELIVERED,
                    segments_delivered=codes.count(_DELIVERED),
                )
            )
    return passed


def _group_of(row: Record) -> GroupKey:
    return GroupKey(row["sender"], row["recipient"], row["reference"], row["total"], row["wide"])


def _group_columns(keys: Sequence[GroupKey]) -> list[list[object]]:
    return [
        [key.sender for key in keys],
        [key.recipient for key in keys],
        [key.reference for key in keys],
        [key.total for key in keys],
        [key.wide for key in keys],
    ]


def _part_columns(parts: Sequence[TextPart]) -> list[list[object]]:
    return [
        [part.sequence for part in parts],
        [part.data_coding for part in parts],
        [part.octets for part in parts],
    ]
