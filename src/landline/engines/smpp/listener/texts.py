"""Long texts that come in parts: each is one message with one id, whichever binds, processes and restarts lie between
its parts. The parts themselves are kept by the engine's `records`; of a text that is not accepted `given_up` tells.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from landline.engines.smpp.records import Records, Whole, parts_of
from landline.ports.esme_gateway import ReportWish
from landline.protocols.smpp.commands import MessageState
from landline.protocols.smpp.joiner import GroupKey, TextPart
from landline.protocols.smpp.texts import Alphabet
from landline.store.database import Connection, Database, Record

PATIENCE = timedelta(hours=1)
"""How long the missing parts of a text are waited for."""
_KEPT = timedelta(hours=2)
_ON_ITS_WAY = timedelta(seconds=10)
_BEING_ACCEPTED = timedelta(minutes=10)
"""How long a text that is whole may be on its way into the messages, whatever the database does."""
_AT_ONCE = 1000

_GROUP = ("sender", "recipient", "reference", "total", "wide")
_COLUMNS = ", ".join(_GROUP)
_ARRAYS = "$2::text[], $3::text[], $4::int[], $5::smallint[], $6::boolean[]"
# Texts are found one by one by their keys, whatever PostgreSQL believes of the table (docs/design/plans.md), and are
# changed by ctid. It stays: `_TAKE` or `_BEGIN` has locked them, and nobody changes parts but who holds their text.
_FOUND = "SELECT ctid AS place, * FROM smpp_customer_texts t WHERE t.system_id = $1 AND " + " AND ".join(
    f"t.{column} = n.{column}" for column in _GROUP
)
_OF_KEYS = (
    f"unnest({_ARRAYS}) AS n ({_COLUMNS}) CROSS JOIN LATERAL ({_FOUND} LIMIT 1) AS found WHERE t.ctid = found.place"
)
_OF_IDS = (
    f"unnest({_ARRAYS}, $7::uuid[]) AS n ({_COLUMNS}, message_id) CROSS JOIN LATERAL ({_FOUND} LIMIT 1) AS found"
    " WHERE t.ctid = found.place AND t.message_id = n.message_id"
)
_NOTE = (
    "INSERT INTO smpp_customer_given_up"
    " (system_id, message_id, sender, recipient, state, begun_at, done_at, due_at, parts)"
)
_AS_EXPIRED = f"{_NOTE} SELECT system_id, message_id, sender, recipient, {int(MessageState.EXPIRED)}, begun_at"
_WANTS_FAILURE = f"wish IN ({int(ReportWish.ALWAYS)}, {int(ReportWish.ON_FAILURE)})"

# One order for all who take rows of several texts, so that they never wait for each other in a ring.
_TAKE = (
    f"SELECT FROM (SELECT DISTINCT * FROM unnest({_ARRAYS}) AS n ({_COLUMNS}) ORDER BY {_COLUMNS}) AS n"
    f" CROSS JOIN LATERAL ({_FOUND} LIMIT 1 FOR UPDATE) AS taken"
)
_RENEW = (
    "WITH old AS (SELECT t.*, n.message_id AS new_id"
    f" FROM unnest({_ARRAYS}, $7::smallint[], $8::bytea[], $9::uuid[], $14::boolean[])"
    f" AS n ({_COLUMNS}, sequence, octets, message_id, anew) CROSS JOIN LATERAL ({_FOUND} LIMIT 1) AS t"
    f" LEFT JOIN LATERAL ({parts_of('n', '$11')}) AS p ON p.sequence = n.sequence"
    " WHERE CASE WHEN t.begun_at < $15 THEN true WHEN p.octets IS NULL THEN t.done"
    " ELSE n.anew AND t.done OR p.octets <> n.octets AND (t.done OR t.begun_at <= $12) END),"
    f" told AS ({_AS_EXPIRED}, $10, coalesce(whole_at + $13::interval, $10), parts"
    f" FROM old WHERE NOT done AND {_WANTS_FAILURE}"
    " ON CONFLICT DO NOTHING),"
    " renewed AS (UPDATE smpp_customer_texts t SET message_id = o.new_id, begun_at = $10, done = false, wish = 0,"
    " parts = '{}', whole_at = NULL FROM old o WHERE t.ctid = o.place)"
    f" DELETE FROM smpp_inbound_parts p USING old o CROSS JOIN LATERAL ({parts_of('o', '$11')}) AS found"
    " WHERE p.ctid = found.place"
)
_BEGIN = (
    f"INSERT INTO smpp_customer_texts AS t (system_id, {_COLUMNS}, message_id, begun_at, wish, parts)"
    f" SELECT $1, {_COLUMNS}, message_id, $10, wish, string_to_array(parts, ',')::smallint[]"
    f" FROM unnest({_ARRAYS}, $7::uuid[], $8::smallint[], $9::text[]) AS n ({_COLUMNS}, message_id, wish, parts)"
    f" ORDER BY {_COLUMNS}"
    f" ON CONFLICT (system_id, {_COLUMNS}) DO UPDATE SET"
    " parts = CASE WHEN t.parts @> excluded.parts THEN t.parts ELSE t.parts || excluded.parts END,"
    " wish = CASE WHEN excluded.wish IN (0, t.wish) THEN t.wish WHEN t.wish = 0 THEN excluded.wish"
    f" ELSE {int(ReportWish.ALWAYS)} END RETURNING {_COLUMNS}, message_id, wish, parts"
)
_WHOLE = f"UPDATE smpp_customer_texts t SET whole_at = $7 FROM {_OF_KEYS} RETURNING t.*"
_FINISH = (
    f"WITH finished AS (UPDATE smpp_customer_texts t SET done = true FROM {_OF_IDS} RETURNING t.*)"
    f" UPDATE smpp_inbound_parts p SET done = true FROM finished f CROSS JOIN LATERAL ({parts_of('f', '$8')}) AS found"
    " WHERE p.ctid = found.place"
)
_REFUSE = (
    f"WITH refused AS (DELETE FROM smpp_customer_texts t USING {_OF_IDS} RETURNING t.*),"
    f" told AS ({_NOTE} SELECT r.system_id, r.message_id, r.sender, r.recipient, {int(MessageState.UNDELIVERABLE)},"
    " r.begun_at, $9, $9,"
    " array(SELECT unnest(r.parts) EXCEPT SELECT unnest(string_to_array(a.parts, ',')::smallint[]))"
    " FROM refused r JOIN unnest($7::uuid[], $10::text[]) AS a (message_id, parts) ON a.message_id = r.message_id"
    f" WHERE r.{_WANTS_FAILURE} ON CONFLICT DO NOTHING)"
    f" DELETE FROM smpp_inbound_parts p USING refused r CROSS JOIN LATERAL ({parts_of('r', '$8')}) AS found"
    " WHERE p.ctid = found.place"
)
_OVERDUE = (
    "SELECT * FROM smpp_customer_texts WHERE system_id = $1 AND begun_at <= $2 AND NOT done"
    f" AND coalesce(whole_at <= $3, true) ORDER BY {_COLUMNS} LIMIT {_AT_ONCE} FOR UPDATE"
)
_GIVE_UP = (
    f"WITH old AS (DELETE FROM smpp_customer_texts t USING {_OF_IDS} RETURNING t.*),"
    f" told AS ({_AS_EXPIRED}, $9, $9, parts FROM old WHERE {_WANTS_FAILURE} ON CONFLICT DO NOTHING)"
    f" DELETE FROM smpp_inbound_parts p USING old o CROSS JOIN LATERAL ({parts_of('o', '$8')}) AS found"
    " WHERE p.ctid = found.place"
)
_FORGET_OLD = (
    "DELETE FROM smpp_customer_texts t WHERE t.system_id = $1 AND t.begun_at < $2 AND"
    f" (SELECT true FROM ({parts_of('t', '$3')}) AS p WHERE NOT p.done LIMIT 1) IS NULL"
)
# Parts without a text: versions before 0034 left such behind.
_FORGET_LONELY = (
    "DELETE FROM smpp_inbound_parts p WHERE p.carrier = $3 AND p.at < $2 AND NOT p.done AND"
    f" (SELECT true FROM ({_FOUND.replace('n.', 'p.')} LIMIT 1) AS t) IS NULL"
)


@dataclass(frozen=True, slots=True)
class Begun:
    """A text of which parts came. `parts` are those whose receipts are wanted."""

    message_id: UUID
    wish: ReportWish
    parts: tuple[int, ...]


@dataclass(slots=True)
class _Wished:
    wish: ReportWish = ReportWish.NEVER
    parts: list[int] = field(default_factory=list[int])


class Texts:
    """The long texts of one account, which was made at `since`. Every method is durable when it returns; all raise
    `Unavailable`."""

    def __init__(
        self, database: Database, system_id: str, owner: UUID, alphabet: Alphabet, *, since: datetime | None = None
    ) -> None:
        self._database = database
        self._system_id = system_id
        self._since = since
        self._carrier = f"esme:{system_id}"
        self._records = Records(database, self._carrier, owner, alphabet)

    async def keep(
        self, parts: Sequence[tuple[TextPart, ReportWish, bool]], new_id: Mapping[GroupKey, UUID], now: datetime
    ) -> tuple[dict[GroupKey, Begun], list[Whole]]:
        """Store `parts`: what each text of theirs is, and which texts are whole now, again each time until `finish` is
        told of them. With each its wish, and whether it is no repetition: of a text that is done it begins another one.
        `new_id` is what a text becomes that is new."""
        # One transaction: nobody gives up a text between its row and its parts, or before it is known to be whole.
        async with self._database.transaction() as connection:
            await connection.execute(_TAKE, self._system_id, *_columns(part.key for part, _, _ in parts))
            begun = await self._begin(connection, parts, new_id, now)
            whole = await self._records.keep_parts_by(connection, [part for part, _, _ in parts], now)
            if whole:
                keys = _columns(text.joined.key for text in whole)
                rows = await connection.fetch(_WHOLE, self._system_id, *keys, now)
                begun |= {_key(row): _read(row) for row in rows}
        return begun, whole

    async def _begin(
        self,
        connection: Connection,
        parts: Sequence[tuple[TextPart, ReportWish, bool]],
        new_id: Mapping[GroupKey, UUID],
        now: datetime,
    ) -> dict[GroupKey, Begun]:
        wished: dict[GroupKey, _Wished] = {}
        for part, wish, _ in parts:
            of_text = wished.setdefault(part.key, _Wished())
            if wish is not ReportWish.NEVER:
                mixed = of_text.wish not in (ReportWish.NEVER, wish)
                of_text.wish = ReportWish.ALWAYS if mixed else wish
                if part.sequence not in of_text.parts:
                    of_text.parts.append(part.sequence)
        # A reference used again: other octets in the same place begin a new text, if the other text is done or its
        # parts are not on their way at this moment (two binds may bring them at once); and so does what a text that
        # is done has no place for, because its parts are kept no longer or it was given up without them. Of an
        # account that had the system id before nothing goes on.
        await connection.execute(
            _RENEW,
            self._system_id,
            *_columns(part.key for part, _, _ in parts),
            [part.sequence for part, _, _ in parts],
            [part.octets for part, _, _ in parts],
            [new_id[part.key] for part, _, _ in parts],
            now,
            self._carrier,
            now - _ON_ITS_WAY,
            _BEING_ACCEPTED,
            [anew for _, _, anew in parts],
            self._since,
        )
        rows = await connection.fetch(
            _BEGIN,
            self._system_id,
            *_columns(wished),
            [new_id[key] for key in wished],
            [of_text.wish for of_text in wished.values()],
            [",".join(map(str, of_text.parts)) for of_text in wished.values()],
            now,
        )
        return {_key(row): _read(row) for row in rows}

    async def finish(self, texts: Sequence[tuple[GroupKey, UUID]]) -> None:
        """These texts were accepted, as those messages."""
        await self._settle(texts, _FINISH)

    async def refuse(self, texts: Sequence[tuple[GroupKey, UUID, Sequence[int]]], now: datetime) -> None:
        """These texts, which would have been those messages, were refused for good: what comes next by their references
        is new, and the parts that were accepted, all but those given, are to be reported."""
        answered = [",".join(map(str, parts)) for _, _, parts in texts]
        await self._settle([(key, id_) for key, id_, _ in texts], _REFUSE, now, answered)

    async def _settle(self, texts: Sequence[tuple[GroupKey, UUID]], sql: str, *more: object) -> None:
        if texts:
            async with self._database.transaction() as connection:
                await connection.execute(_TAKE, self._system_id, *_columns(key for key, _ in texts))
                await connection.execute(sql, *self._these(texts), *more)

    async def give_up(self, now: datetime) -> int:
        """Give up the texts whose missing parts are waited for no more, and those that are whole but were never
        accepted; how many. What is kept no longer is deleted on the way."""
        count = 0
        while True:
            async with self._database.transaction() as connection:
                rows = await connection.fetch(_OVERDUE, self._system_id, now - PATIENCE, now - _BEING_ACCEPTED)
                texts = [(_key(row), row["message_id"]) for row in rows]
                if texts:  # whoever submits their parts again meanwhile waits, and begins new ones
                    await connection.execute(_GIVE_UP, *self._these(texts), now)
            count += len(texts)
            if len(texts) < _AT_ONCE:
                break
        async with self._database.connection() as connection:
            await self._records.forget_old(connection, now)
            for sql in (_FORGET_OLD, _FORGET_LONELY):
                await connection.execute(sql, self._system_id, now - _KEPT, self._carrier)
        return count

    def _these(self, texts: Sequence[tuple[GroupKey, UUID]]) -> list[object]:
        return [self._system_id, *_columns(key for key, _ in texts), [id_ for _, id_ in texts], self._carrier]


def _read(row: Record) -> Begun:
    return Begun(row["message_id"], ReportWish(row["wish"]), tuple(sorted(set(row["parts"]))))


def _key(row: Record) -> GroupKey:
    return GroupKey(row["sender"], row["recipient"], row["reference"], row["total"], row["wide"])


def _columns(keys: Iterable[GroupKey]) -> list[list[object]]:
    listed = list(keys)
    return [
        [key.sender for key in listed],
        [key.recipient for key in listed],
        [key.reference for key in listed],
        [key.total for key in listed],
        [key.wide for key in listed],
    ]
