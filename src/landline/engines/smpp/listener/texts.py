"""Long texts that come in parts: each is one message with one id, whichever binds, processes and restarts lie between
its parts. The parts themselves are kept by the engine's `records`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from landline.engines.smpp.records import Records, Whole
from landline.ports.esme_gateway import Gateway, ReportOut, ReportWish
from landline.protocols.smpp.commands import MessageState
from landline.protocols.smpp.joiner import GroupKey, TextPart
from landline.protocols.smpp.texts import Alphabet
from landline.store.database import Connection, Database, Record

log = structlog.get_logger()

PATIENCE = timedelta(hours=1)
"""How long the missing parts of a text are waited for."""
_KEPT = timedelta(hours=2)
_ON_ITS_WAY = timedelta(seconds=10)

_GROUP = ("sender", "recipient", "reference", "total", "wide")
_COLUMNS = ", ".join(_GROUP)
_ARRAYS = "$2::text[], $3::text[], $4::int[], $5::smallint[], $6::boolean[]"

_RENEW = (
    "WITH renewed AS ("
    "UPDATE smpp_customer_texts t SET message_id = n.message_id, begun_at = $10, done = false, wish = 0, parts = '{}'"
    f" FROM unnest({_ARRAYS}, $7::smallint[], $8::bytea[], $9::uuid[])"
    f" AS n ({_COLUMNS}, sequence, octets, message_id)"
    f" LEFT JOIN smpp_inbound_parts p ON p.carrier = $11 AND p.sequence = n.sequence AND "
    + " AND ".join(f"p.{column} = n.{column}" for column in _GROUP)
    + " WHERE t.system_id = $1 AND CASE WHEN p.octets IS NULL THEN t.done"
    " ELSE p.octets <> n.octets AND (t.done OR t.begun_at <= $12) END AND "
    + " AND ".join(f"t.{column} = n.{column}" for column in _GROUP)
    + f" RETURNING {', '.join(f't.{column}' for column in _GROUP)})"
    " DELETE FROM smpp_inbound_parts p USING renewed r WHERE p.carrier = $11 AND "
    + " AND ".join(f"p.{column} = r.{column}" for column in _GROUP)
)
_BEGIN = (
    f"INSERT INTO smpp_customer_texts AS t (system_id, {_COLUMNS}, message_id, begun_at, wish, parts)"
    f" SELECT $1, {_COLUMNS}, message_id, $10, wish, string_to_array(parts, ',')::smallint[]"
    f" FROM unnest({_ARRAYS}, $7::uuid[], $8::smallint[], $9::text[]) AS n ({_COLUMNS}, message_id, wish, parts)"
    f" ON CONFLICT (system_id, {_COLUMNS}) DO UPDATE SET parts = t.parts || excluded.parts,"
    " wish = CASE WHEN excluded.wish IN (0, t.wish) THEN t.wish WHEN t.wish = 0 THEN excluded.wish"
    f" ELSE {int(ReportWish.ALWAYS)} END RETURNING {_COLUMNS}, message_id, wish, parts"
)
_OF_KEYS = f"unnest({_ARRAYS}) AS n ({_COLUMNS}) WHERE t.system_id = $1 AND " + " AND ".join(
    f"t.{column} = n.{column}" for column in _GROUP
)
_BEGUN = f"SELECT t.* FROM smpp_customer_texts t, {_OF_KEYS}"
_FINISH = f"UPDATE smpp_customer_texts t SET done = true FROM {_OF_KEYS}"
_FORGET = (
    f"WITH forgotten AS (DELETE FROM smpp_customer_texts t USING {_OF_KEYS} RETURNING t.*)"
    " DELETE FROM smpp_inbound_parts p USING forgotten f WHERE p.carrier = $7 AND "
    + " AND ".join(f"p.{column} = f.{column}" for column in _GROUP)
)
_FORGET_OLD = (
    "DELETE FROM smpp_customer_texts t WHERE t.system_id = $1 AND t.begun_at < $2 AND NOT EXISTS ("
    "SELECT FROM smpp_inbound_parts p WHERE p.carrier = $3 AND NOT p.done AND "
    + " AND ".join(f"p.{column} = t.{column}" for column in _GROUP)
    + ")"
)
_LOCK = 0x74657874  # "text": the first half of an advisory lock, whose second is of the system id


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
    """The long texts of one account. Every method is durable when it returns; all raise `Unavailable`."""

    def __init__(self, database: Database, system_id: str, owner: UUID, alphabet: Alphabet) -> None:
        self._database = database
        self._system_id = system_id
        self._carrier = f"esme:{system_id}"
        self._records = Records(database, self._carrier, owner, alphabet)

    async def keep(
        self, parts: Sequence[tuple[TextPart, ReportWish]], new_id: Mapping[GroupKey, UUID], now: datetime
    ) -> tuple[dict[GroupKey, Begun], list[Whole]]:
        """Store `parts`: what each text of theirs is, and which texts are whole now, again each time until `finish` is
        told of them. `new_id` is what a text becomes that is new."""
        begun = await self._begin(parts, new_id, now)
        whole = await self._records.keep_parts([part for part, _ in parts], now)
        if whole:  # what is asked of parts that came to others meanwhile was stored before them
            begun |= await self._begun([text.joined.key for text in whole])
        return begun, whole

    async def _begin(
        self, parts: Sequence[tuple[TextPart, ReportWish]], new_id: Mapping[GroupKey, UUID], now: datetime
    ) -> dict[GroupKey, Begun]:
        wished: dict[GroupKey, _Wished] = {}
        for part, wish in parts:
            of_text = wished.setdefault(part.key, _Wished())
            if wish is not ReportWish.NEVER:
                mixed = of_text.wish not in (ReportWish.NEVER, wish)
                of_text.wish = ReportWish.ALWAYS if mixed else wish
                of_text.parts.append(part.sequence)
        async with self._database.connection() as connection:
            # A reference used again: other octets in the same place begin a new text, if the other text is done or its
            # parts are not on their way at this moment (two binds may bring them at once); and so does what a text that
            # is done has no place for, because its parts are kept no longer or it was given up without them.
            await connection.execute(
                _RENEW,
                self._system_id,
                *_columns(part.key for part, _ in parts),
                [part.sequence for part, _ in parts],
                [part.octets for part, _ in parts],
                [new_id[part.key] for part, _ in parts],
                now,
                self._carrier,
                now - _ON_ITS_WAY,
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

    async def _begun(self, keys: Sequence[GroupKey]) -> dict[GroupKey, Begun]:
        rows = await self._database.fetch(_BEGUN, self._system_id, *_columns(keys))
        return {_key(row): _read(row) for row in rows}

    async def finish(self, keys: Sequence[GroupKey]) -> None:
        """The texts of `keys` were accepted."""
        if keys:
            await self._records.finish(keys)
            await self._database.execute(_FINISH, self._system_id, *_columns(keys))

    async def forget(self, keys: Sequence[GroupKey]) -> None:
        """The texts of `keys` were refused for good: what comes next by their references is new."""
        if keys:
            async with self._database.connection() as connection:
                await self.forget_by(connection, keys)

    async def forget_by(self, connection: Connection, keys: Sequence[GroupKey]) -> None:
        """As `forget`, in the transaction of `connection`: what comes next waits for its end."""
        await connection.execute(_FORGET, self._system_id, *_columns(keys), self._carrier)

    async def give_up_alone(self, connection: Connection) -> bool:
        """Whether no other process gives up this account's texts before the transaction of `connection` has ended."""
        return await connection.fetchval("SELECT pg_try_advisory_xact_lock($1, hashtext($2))", _LOCK, self._system_id)

    async def overdue(self, now: datetime) -> list[tuple[GroupKey, ReportOut | None]]:
        """Texts whose missing parts are waited for no more, again each time until `forget` is told of them, and the
        receipts of the parts that came. What is kept no longer is deleted on the way."""
        given_up = [whole.joined.key for whole in await self._records.overdue(now, PATIENCE)]
        async with self._database.connection() as connection:
            await connection.execute(_FORGET_OLD, self._system_id, now - _KEPT, self._carrier)
            rows = await connection.fetch(_BEGUN, self._system_id, *_columns(given_up)) if given_up else []
        reports = {_key(row): _expired(row, now) for row in rows}
        return [(key, reports.get(key)) for key in given_up]


async def old_ones(database: Database, now: datetime) -> list[str]:
    """The system ids that began texts so long ago that those are to be given up, if they are not whole, or forgotten:
    whoever is bound. Raises `Unavailable`."""
    rows = await database.fetch(
        "SELECT DISTINCT system_id FROM smpp_customer_texts WHERE begun_at <= $1 ORDER BY 1", now - PATIENCE
    )
    return [row["system_id"] for row in rows]


async def give_up(database: Database, gateway: Gateway, owner: UUID, system_id: str, now: datetime) -> None:
    """Have an account's texts reported whose missing parts never came, unless another process is at it. Raises
    `Unavailable`."""
    texts = Texts(database, system_id, owner, Alphabet.GSM)  # nothing is read as text
    async with database.transaction() as connection:
        if not await texts.give_up_alone(connection):
            return
        overdue = await texts.overdue(now)
        if not overdue:
            return
        log.warning("smpp.incomplete_given_up", system_id=system_id, count=len(overdue))
        # Whoever submits their parts again meanwhile waits, and begins new texts.
        await texts.forget_by(connection, [key for key, _ in overdue])
        await gateway.unsubmitted(system_id, [report for _, report in overdue if report is not None])


def _read(row: Record) -> Begun:
    return Begun(row["message_id"], ReportWish(row["wish"]), tuple(sorted(set(row["parts"]))))


def _expired(row: Record, now: datetime) -> ReportOut | None:
    if row["wish"] not in (ReportWish.ALWAYS, ReportWish.ON_FAILURE):
        return None
    return ReportOut(
        row["message_id"],
        row["sender"],
        row["recipient"],
        MessageState.EXPIRED,
        submitted_at=row["begun_at"],
        done_at=now,
        parts=tuple(sorted(set(row["parts"]))),
    )


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
