"""What carriers have taken, for engines that hear of it in another process than the one that handed it over."""

from collections.abc import Sequence

from landline.store.database import Database


class Submissions:
    """The carriers' own message ids as all processes have stored them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def known(self, carrier: str, ids: Sequence[str]) -> frozenset[str]:
        """Those of `ids` whose submission was stored. Raises `Unavailable`."""
        rows = await self._database.fetch(
            "SELECT carrier_message_id FROM sms_submissions WHERE carrier = $1 AND carrier_message_id = ANY($2)",
            carrier,
            ids,
        )
        return frozenset(row["carrier_message_id"] for row in rows)
