"""Read receipts: how far each participant has read. Committed in groups, since every reader of a message sends one."""

from dataclasses import dataclass

from landline.core.errors import NotFound, Refusal
from landline.core.ids import RawId
from landline.ports.clock import Clock
from landline.services.chat import records, records_messages
from landline.services.chat.model.changes import ReadReceiptReceived
from landline.services.chat.model.ids import MessageId, milliseconds, to_milliseconds
from landline.services.chat.news import Change, News
from landline.services.chat.records import Key
from landline.store.database import Database
from landline.store.group_commit import GroupCommit


@dataclass(frozen=True, slots=True)
class Receipt:
    """`user` has read up to `message`; `recipients` are in the thread."""

    key: Key
    user: RawId
    message: MessageId
    recipients: tuple[RawId, ...]


class Receipts:
    """Writes receipts. One for a message before the one already read changes nothing."""

    def __init__(self, database: Database, clock: Clock, news: News) -> None:
        self._database = database
        self._clock = clock
        self._news = news
        self._group: GroupCommit[Receipt, Refusal | None] = GroupCommit(self._commit, lanes=1)

    async def submit(self, receipt: Receipt) -> None:
        """Commit `receipt`. Raises `NotFound` when its user may not see the message, `Unavailable`."""
        done = await self._group.submit(receipt)
        if done is not None:
            raise done

    async def _commit(self, receipts: list[Receipt]) -> list[Refusal | None]:
        now = to_milliseconds(self._clock.now())
        wanted = [(receipt.key, receipt.user, receipt.message) for receipt in receipts]
        async with self._database.ordered() as connection:
            seen = await records_messages.visible_ids(connection, wanted)
            furthest: dict[tuple[Key, RawId], Receipt] = {}
            for receipt in receipts:
                other = furthest.get((receipt.key, receipt.user))
                may = (receipt.key, receipt.user, receipt.message) in seen
                if may and (other is None or other.message < receipt.message):
                    furthest[receipt.key, receipt.user] = receipt
            moved = await records.read(
                connection, [(each.key, each.user, each.message) for each in furthest.values()], now
            )
        changes: list[Change] = [
            (
                receipt.key[0],
                ReadReceiptReceived(
                    thread=receipt.key[1],
                    recipients=receipt.recipients,
                    version=milliseconds(now),
                    at=now,
                    sender=receipt.user,
                    message_id=receipt.message,
                ),
            )
            for place, receipt in furthest.items()
            if place in moved
        ]
        self._news.told(changes)
        return [None if each in seen else _no_message() for each in wanted]


def _no_message() -> Refusal:
    return NotFound("There is no such message in the thread.", target="chatMessageId")
