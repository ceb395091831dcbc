"""The SQL of what phones send us: received texts, opt-outs, and the keywords a number answers to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from landline.core.ids import ResourceId
from landline.ports.sms_carrier import Arrival
from landline.services.numbers.model import OwnedNumber
from landline.services.sms.model import details
from landline.services.sms.model.messages import State
from landline.store.database import Connection, Record


class Campaign(NamedTuple):
    """What a text from a phone answers."""

    tag: str
    carrier: str
    """The one that brought the campaign's message to the phone."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text from a phone about to be stored."""

    message_id: UUID
    number: OwnedNumber
    arrival: Arrival
    keyword: str | None
    answers: Campaign | None

    @property
    def tag(self) -> str | None:
        """Of the campaign it answers."""
        return None if self.answers is None else self.answers.tag


async def receive(connection: Connection, carrier: str, texts: Sequence[Text]) -> set[UUID]:
    """Store received texts; the ids of those that the carrier had not brought before."""
    rows = await connection.fetch(
        "INSERT INTO sms_inbound (resource_id, message_id, received_at, segments, carrier, carrier_key, sender,"
        " recipient, keyword, tag, body, answers_carrier)"
        " SELECT t.resource_id, t.message_id, t.at, t.segments, $1, t.key, t.sender, t.recipient, t.keyword, t.tag,"
        "  t.body, t.answers_carrier"
        " FROM unnest($2::uuid[], $3::uuid[], $4::timestamptz[], $5::smallint[], $6::text[], $7::text[], $8::text[],"
        "  $9::text[], $10::text[], $11::text[], $12::text[])"
        "  AS t (resource_id, message_id, at, segments, key, sender, recipient, keyword, tag, body, answers_carrier)"
        " ON CONFLICT (carrier, carrier_key) DO NOTHING RETURNING message_id",
        carrier,
        [text.number.resource for text in texts],
        [text.message_id for text in texts],
        [text.arrival.at for text in texts],
        [text.arrival.segments for text in texts],
        [text.arrival.key for text in texts],
        [text.arrival.sender for text in texts],
        [text.arrival.recipient for text in texts],
        [text.keyword for text in texts],
        [text.tag for text in texts],
        [text.arrival.text for text in texts],
        [None if text.answers is None else text.answers.carrier for text in texts],
    )
    return {row["message_id"] for row in rows}


_MOST_LOOKED_AT = 200
"""Messages to one phone, beyond which one that was scheduled long before them may be overlooked."""
_GOT = ", ".join(str(code) for code in sorted(details.MAY_HAVE_ARRIVED))
_CAMPAIGNS = f"""
SELECT p.resource_id, p.number, p.phone, m.tag, m.carrier
FROM (SELECT DISTINCT * FROM unnest($1::uuid[], $2::text[], $3::text[])) AS p (resource_id, number, phone)
CROSS JOIN LATERAL (
    SELECT m.tag, m.carrier FROM (
        SELECT * FROM sms_messages WHERE recipient = p.phone AND sender = p.number AND tag IS NOT NULL
            AND accepted_at >= $6 AND resource_id = p.resource_id ORDER BY accepted_at DESC LIMIT {_MOST_LOOKED_AT}
    ) m
    CROSS JOIN LATERAL (
        -- It may be sent long after it was accepted, or not yet: behind its sender's pace, scheduled, tried in vain.
        -- What is handed over at once is on its way for a moment, in which its carrier's answer is not stored.
        SELECT coalesce(
            (SELECT max(s.submitted_at) FROM sms_submissions s
                WHERE s.block_id = m.block_id AND s.message_id = m.message_id),
            CASE WHEN m.claim_id IS NOT NULL THEN $4::timestamptz
                WHEN m.attempts = 0 AND (m.state >= {int(State.DELIVERED)} OR m.accepted_at > $7) THEN m.accepted_at
            END) AS at
    ) sent
    WHERE sent.at >= $5 AND (m.state <> {int(State.FAILED)} OR m.code IN ({_GOT}))
    ORDER BY sent.at DESC, m.accepted_at DESC LIMIT 1
) m
"""


async def campaigns(
    connection: Connection,
    pairs: Sequence[tuple[ResourceId, str, str]],
    now: datetime,
    *,
    since: datetime,
    accepted_since: datetime,
    on_its_way_since: datetime,
) -> dict[tuple[ResourceId, str, str], Campaign]:
    """That of the last tagged message that each (resource, number, phone) was sent since then, if there is one. What
    was accepted after `on_its_way_since` may have been sent though no carrier's answer is known."""
    rows = await connection.fetch(
        _CAMPAIGNS,
        [resource for resource, _, _ in pairs],
        [number for _, number, _ in pairs],
        [phone for _, _, phone in pairs],
        now,
        since,
        accepted_since,
        on_its_way_since,
    )
    return {(row["resource_id"], row["number"], row["phone"]): Campaign(row["tag"], row["carrier"]) for row in rows}


async def find(connection: Connection, resources: Sequence[UUID], message_id: UUID) -> Record | None:
    """The received text, if it belongs to one of `resources`."""
    return await connection.fetchrow(
        "SELECT * FROM sms_inbound WHERE resource_id = ANY($1) AND message_id = $2", resources, message_id
    )


async def brought(connection: Connection, carrier: str, key: str) -> Record | None:
    """When the text that `carrier` brought with `key` came, and its id."""
    return await connection.fetchrow(
        "SELECT message_id, received_at FROM sms_inbound WHERE carrier = $1 AND carrier_key = $2", carrier, key
    )


async def keywords(connection: Connection, resource: ResourceId, number: str) -> str | None:
    """The languages set for `number`, as JSON."""
    return await connection.fetchval(
        "SELECT languages::text FROM sms_keywords WHERE resource_id = $1 AND number = $2", resource, number
    )


async def set_keywords(connection: Connection, resource: ResourceId, number: str, languages: str | None) -> None:
    """Set the languages of `number`, or with None go back to plain English."""
    if languages is None:
        await connection.execute("DELETE FROM sms_keywords WHERE resource_id = $1 AND number = $2", resource, number)
        return
    await connection.execute(
        "INSERT INTO sms_keywords (resource_id, number, languages) VALUES ($1, $2, $3::text::jsonb)"
        " ON CONFLICT (resource_id, number) DO UPDATE SET languages = excluded.languages",
        resource,
        number,
        languages,
    )
