"""Who comes and who goes: what is written in a locked thread when its roster becomes another, and the system's own
messages."""

from collections.abc import Sequence
from datetime import datetime

from landline.core.ids import RawId
from landline.services.chat import records, records_messages
from landline.services.chat.model.changes import ParticipantsRemoved
from landline.services.chat.model.order import Place, version
from landline.services.chat.model.values import Kind, Participant
from landline.services.chat.records import Key
from landline.services.chat.records_messages import Row
from landline.store.database import Connection, Record


async def removed(
    connection: Connection,
    key: Key,
    thread: Record,
    now: datetime,
    members: Sequence[RawId],
    who: Participant,
    *,
    by: Participant,
) -> ParticipantsRemoved:
    """Take `who` out of a thread of `members`; what changed."""
    at_version = version(thread["version"], now)
    last = await roster_changed(connection, key, thread, now, at_version, Kind.PARTICIPANT_REMOVED, by.raw_id, [who])
    await records.remove_participant(connection, key, who.raw_id, now, last.message_id, thread["topic"])
    return ParticipantsRemoved(
        thread=key[1],
        recipients=tuple(members),
        version=at_version,
        at=now,
        removed_by=by,
        participants=(who,),
        created_at=thread["created_at"],
    )


async def roster_changed(
    connection: Connection,
    key: Key,
    thread: Record,
    now: datetime,
    at_version: int,
    kind: Kind,
    user: RawId,
    who: list[Participant],
) -> Row:
    """Write the system's message about `who`, and that the roster is another now."""
    told = system(key, Place(thread["sequence"], thread["last_message_id"]), now, kind, user, who)
    await records_messages.insert(connection, [told])
    await records.roster_changed(connection, key, at_version)
    return told


def system(key: Key, place: Place, now: datetime, kind: Kind, initiator: RawId, about: list[Participant] | str) -> Row:
    """A message of the system's, next in its thread: about participants, or a topic."""
    sequence, message = place.next(now)
    told = isinstance(about, str)
    return Row(
        key,
        message,
        sequence,
        now,
        kind,
        initiator,
        None,
        about if isinstance(about, str) else None,
        participants=None if told else records.stored(about),
    )
