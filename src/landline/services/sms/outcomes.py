"""What one commit of a carrier's news stores, and what it changed: gathered while it is written, told to this process's
memory after it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from landline.ports.sms_carrier import Submitted
from landline.services.events.model import Event
from landline.services.insights.model import Tally
from landline.services.sms import notices
from landline.services.sms.esme_out import Woken
from landline.services.sms.handover import Pending
from landline.services.sms.model.messages import REPLY, State
from landline.services.sms.records_receipts import Ending
from landline.store.database import Record


@dataclass(slots=True)
class Brought:
    """What is to be stored together; all that a carrier brought is of the one `carrier`."""

    carrier: str = ""
    answers: Sequence[Submitted] = ()
    late: Sequence[Submitted] = ()
    endings: Sequence[tuple[str, Ending]] = ()
    given_up: Sequence[tuple[UUID, UUID, int]] = ()
    expired: Sequence[Pending] = ()


def size_of(news: Brought) -> int:
    """Of how many messages it is."""
    return len(news.answers) + len(news.late) + len(news.endings) + len(news.given_up) + len(news.expired)


@dataclass(slots=True)
class Outcome:
    """What one commit changed, to be told to this process's memory after it."""

    taken: int
    """See `HandOver.ended`."""
    answered: list[UUID] = field(default_factory=list[UUID])
    left: list[UUID] = field(default_factory=list[UUID])
    """Blocks, once for each of their messages that left them and was in nobody's hands."""
    put_off: list[Pending] = field(default_factory=list[Pending])
    """Messages in hand that left their blocks, or their claims."""
    lost: set[UUID] = field(default_factory=set[UUID])
    """Blocks that were found to be another process's."""
    ended: list[Record] = field(default_factory=list[Record])
    deferred: bool = False
    tally: Tally = field(default_factory=Tally)
    failed_over: int = 0
    reports: list[Event] = field(default_factory=list[Event])
    late: int = 0
    withdrawn: list[UUID] = field(default_factory=list[UUID])
    """Messages that are not handed over again after all."""
    woken: Woken = frozenset()
    """Customers for whom receipts were written."""

    def moved(self, changed: Sequence[Record]) -> int:
        """Tally the messages that go by other carriers than they `was`; how many they are."""
        moved = [record for record in changed if record["was"] != record["carrier"]]
        for record in moved:
            if record["route"] != REPLY:
                self.tally.moved(
                    record["resource_id"],
                    record["accepted_at"],
                    record["sender"],
                    record["tag"],
                    record["recipient"],
                    record["was"],
                    record["carrier"],
                    record["segments"],
                    record["cost"],
                )
        return len(moved)

    def end(self, ended: Sequence[Record]) -> None:
        """Tally messages that have ended, and have their reports told where they are wanted."""
        self.ended.extend(ended)
        for record in ended:
            if record["route"] != REPLY:
                self.tally.ended(
                    record["resource_id"],
                    record["accepted_at"],
                    record["ended_at"],
                    record["sender"],
                    record["tag"],
                    record["recipient"],
                    record["carrier"],
                    record["state"] == State.DELIVERED,
                    record["code"],
                    record["segments_delivered"],
                )
        self.reports.extend([notices.ended(record) for record in ended if record["report_wanted"]])
