"""What carriers have taken, for engines that hear of it in another process than the one that handed it over."""

from collections.abc import Sequence

from landline.services.sms.model.messages import State
from landline.store.database import Database

_KNOWN = (
    "SELECT s.carrier_message_id FROM sms_submissions s CROSS JOIN LATERAL (SELECT m.state FROM sms_messages m"
    " WHERE m.resource_id = s.resource_id AND m.message_id = s.message_id LIMIT 1) m"
    f" WHERE s.carrier = $1 AND s.carrier_message_id = ANY($2) AND m.state < {int(State.DELIVERED)}"
)


class Submissions:
    """The carriers' own message ids as all processes have stored them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def known(self, carrier: str, ids: Sequence[str]) -> frozenset[str]:
        """Those of `ids` whose submission was stored and whose message has not ended: a carrier that begins its ids
        anew may have given one to another message, which is about to be stored. Raises `Unavailable`."""
        rows = await self._database.fetch(_KNOWN, carrier, ids)
        return frozenset(row["carrier_message_id"] for row in rows)
