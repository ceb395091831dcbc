"""Messages in hand as they are read from the database: what a block or a claim that was taken up holds."""

from uuid import UUID

from landline.ports.sms_carrier import Submission
from landline.services.sms.handover import Pending
from landline.services.sms.model.messages import REPLY
from landline.store.database import Record


def pending_in(row: Record, *, claim: UUID | None = None) -> Pending:
    """The message in a row of `records_progress.OPEN`."""
    return Pending(
        resource=row["resource_id"],
        block=row["block_id"],
        carrier=row["carrier"],
        submission=Submission(
            key=row["message_id"],
            sender=row["sender"],
            recipient=row["recipient"],
            text=row["body"],
            segments=row["segments"],
            report_wanted=True,
            valid_until=row["valid_until"],
        ),
        accepted_at=row["accepted_at"],
        report_by=row["report_by"],
        tag=row["tag"],
        attempts=row["attempts"],
        claim=claim,
        doubt=row["doubt"],
        heeds_opt_outs=row["route"] != REPLY,
        report_wanted=None if row["route"] == REPLY else row["report_wanted"],
    )
