"""Why a customer's submit_sm is not accepted, as command_status (SMPP 3.4 §5.1.3).

SMPP leaves the choice to the SMSC. Ours: what names a wrong address says which (RINVSRCADR, RINVDSTADR), what a client
should slow down for is one of the two codes clients slow down for (RTHROTTLED, RMSGQFUL), what time will mend is
RSYSERR, which clients try again, and the rest is RSUBMITFAIL. docs/guides/smpp-customers.md shows the whole table.
"""

from landline.core.errors import Refusal, TooMany, Unavailable
from landline.protocols.smpp import status

RINVSCHED, RINVEXPIRY, RINVDFTMSGID = 0x61, 0x62, 0x63

_BY_TARGET = {
    "from": status.ESME_RINVSRCADR,
    "smsRecipients": status.ESME_RINVDSTADR,
    "message": status.ESME_RINVMSGLEN,
    "sendAt": RINVSCHED,
    "validitySeconds": RINVEXPIRY,
}
"""By the field of the REST API's send that the service refuses: both go through the same service."""


def command_status(error: Refusal | Unavailable) -> int:
    """The status that says `error`."""
    match error:
        case Unavailable():
            return status.ESME_RSYSERR
        case TooMany():
            return status.ESME_RTHROTTLED
        case _:
            return _BY_TARGET.get(error.target or "", status.ESME_RSUBMITFAIL)
