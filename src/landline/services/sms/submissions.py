"""What carriers have taken, for engines that hear of it in another process than the one that handed it over."""

from collections.abc import Callable, Mapping, Sequence

from landline.services.sms.model import esme
from landline.services.sms.model.messages import REPLY, State
from landline.services.sms.reported import Sent
from landline.store.database import Database, Record

_KNOWN = (
    "SELECT s.carrier_message_id, m.* FROM sms_submissions s CROSS JOIN LATERAL (SELECT resource_id, message_id,"
    " block_id, accepted_at, sender, recipient, tag, segments, report_wanted, route, state, doubt, attempts"
    " FROM sms_messages m WHERE m.resource_id = s.resource_id AND m.message_id = s.message_id LIMIT 1) m"
    f" WHERE s.carrier = $1 AND s.carrier_message_id = ANY($2) AND m.state < {int(State.DELIVERED)}"
)


class Submissions:
    """The carriers' own message ids as all processes have stored them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.on_found: Callable[[str, Mapping[str, Sent]], None] = _nobody
        """Called with the carrier and, by its ids, those of the `known` that `Reported` may remember."""

    async def known(self, carrier: str, ids: Sequence[str]) -> frozenset[str]:
        """Those of `ids` whose submission was stored and whose message has not ended: a carrier that begins its ids
        anew may have given one to another message, which is about to be stored. Raises `Unavailable`."""
        rows = await self._database.fetch(_KNOWN, carrier, ids)
        found = {row["carrier_message_id"]: _sent(row) for row in rows if _is_plain(row)}
        if found:
            self.on_found(carrier, found)
        return frozenset(row["carrier_message_id"] for row in rows)


def _is_plain(row: Record) -> bool:
    """As `Reported.remember` has it. Of what is in doubt a carrier may have two copies."""
    again = row["attempts"] or row["doubt"]
    return not again and row["route"] != REPLY and not esme.is_customers(row["message_id"])


def _sent(row: Record) -> Sent:
    return Sent(
        row["resource_id"],
        row["message_id"],
        row["block_id"],
        row["accepted_at"],
        row["sender"],
        row["recipient"],
        row["tag"],
        row["segments"],
        row["report_wanted"],
    )


def _nobody(_carrier: str, _found: Mapping[str, Sent]) -> None:
    return None
