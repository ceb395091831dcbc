"""command_status and message_state of SMPP 3.4, and the ACS detail codes they become.

Status names and numbers: SMPP 3.4 §5.1.3 (table 5-2); states: §5.2.28; network errors: MAP error values of 3GPP TS
29.002 §17.6.6. ACS detail codes: the list in acs-wire.md 4.7. The mapping between them is ours, as SMPP leaves the
meaning of most codes to the SMSC: what names the sender becomes 4001, the recipient 4002 or 4004, a limit 4008, a
passing fault 5001 (temporary), what we or the operator set up wrongly 5000.
"""

from dataclasses import dataclass

from landline.protocols.smpp.commands import MessageState

ESME_ROK = 0x00000000
ESME_RINVMSGLEN = 0x00000001
ESME_RINVCMDLEN = 0x00000002
ESME_RINVCMDID = 0x00000003
ESME_RINVBNDSTS = 0x00000004
ESME_RALYBND = 0x00000005
ESME_RSYSERR = 0x00000008
ESME_RINVSRCADR = 0x0000000A
ESME_RINVDSTADR = 0x0000000B
ESME_RBINDFAIL = 0x0000000D
ESME_RINVPASWD = 0x0000000E
ESME_RINVSYSID = 0x0000000F
ESME_RMSGQFUL = 0x00000014
ESME_RSUBMITFAIL = 0x00000045
ESME_RTHROTTLED = 0x00000058
ESME_RX_T_APPN = 0x00000064
ESME_RX_P_APPN = 0x00000065
ESME_RX_R_APPN = 0x00000066
ESME_RQUERYFAIL = 0x00000067
ESME_ROPTPARNOTALLWD = 0x000000C1
ESME_RUNKNOWNERR = 0x000000FF

SLOW_DOWN = frozenset((ESME_RTHROTTLED, ESME_RMSGQFUL))
"""Answers that ask for patience: the message is to be kept and offered again, more slowly."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a command_status says about a message."""

    name: str
    code: int
    """ACS detail code."""
    temporary: bool = False
    """Whether the same message may be taken later."""


STATUS: dict[int, Meaning] = {
    0x00: Meaning("ESME_ROK", 2000),
    0x01: Meaning("ESME_RINVMSGLEN", 5000),
    0x02: Meaning("ESME_RINVCMDLEN", 5000),
    0x03: Meaning("ESME_RINVCMDID", 5000),
    0x04: Meaning("ESME_RINVBNDSTS", 5001, temporary=True),
    0x05: Meaning("ESME_RALYBND", 5001, temporary=True),
    0x06: Meaning("ESME_RINVPRTFLG", 5000),
    0x07: Meaning("ESME_RINVREGDLVFLG", 5000),
    0x08: Meaning("ESME_RSYSERR", 5001, temporary=True),
    0x0A: Meaning("ESME_RINVSRCADR", 4001),
    0x0B: Meaning("ESME_RINVDSTADR", 4002),
    0x0C: Meaning("ESME_RINVMSGID", 5000),
    0x0D: Meaning("ESME_RBINDFAIL", 5001, temporary=True),
    0x0E: Meaning("ESME_RINVPASWD", 5001, temporary=True),
    0x0F: Meaning("ESME_RINVSYSID", 5001, temporary=True),
    0x11: Meaning("ESME_RCANCELFAIL", 5000),
    0x13: Meaning("ESME_RREPLACEFAIL", 5000),
    0x14: Meaning("ESME_RMSGQFUL", 5001, temporary=True),
    0x15: Meaning("ESME_RINVSERTYP", 5000),
    0x33: Meaning("ESME_RINVNUMDESTS", 5000),
    0x34: Meaning("ESME_RINVDLNAME", 5000),
    0x40: Meaning("ESME_RINVDESTFLAG", 5000),
    0x42: Meaning("ESME_RINVSUBREP", 5000),
    0x43: Meaning("ESME_RINVESMCLASS", 5000),
    0x44: Meaning("ESME_RCNTSUBDL", 5000),
    0x45: Meaning("ESME_RSUBMITFAIL", 5001, temporary=True),
    0x48: Meaning("ESME_RINVSRCTON", 4001),
    0x49: Meaning("ESME_RINVSRCNPI", 4001),
    0x50: Meaning("ESME_RINVDSTTON", 4002),
    0x51: Meaning("ESME_RINVDSTNPI", 4002),
    0x53: Meaning("ESME_RINVSYSTYP", 5001, temporary=True),
    0x54: Meaning("ESME_RINVREPFLAG", 5000),
    0x55: Meaning("ESME_RINVNUMMSGS", 5000),
    0x58: Meaning("ESME_RTHROTTLED", 4008, temporary=True),
    0x61: Meaning("ESME_RINVSCHED", 5000),
    0x62: Meaning("ESME_RINVEXPIRY", 5000),
    0x63: Meaning("ESME_RINVDFTMSGID", 5000),
    0x64: Meaning("ESME_RX_T_APPN", 5001, temporary=True),
    0x65: Meaning("ESME_RX_P_APPN", 5000),
    0x66: Meaning("ESME_RX_R_APPN", 4005),
    0x67: Meaning("ESME_RQUERYFAIL", 5000),
    0xC0: Meaning("ESME_RINVOPTPARSTREAM", 5000),
    0xC1: Meaning("ESME_ROPTPARNOTALLWD", 5000),
    0xC2: Meaning("ESME_RINVPARLEN", 5000),
    0xC3: Meaning("ESME_RMISSINGOPTPARAM", 5000),
    0xC4: Meaning("ESME_RINVOPTPARAMVAL", 5000),
    0xFE: Meaning("ESME_RDELIVERYFAILURE", 5000),
    0xFF: Meaning("ESME_RUNKNOWNERR", 9999),
}

_STATES: dict[MessageState, int] = {
    MessageState.DELIVERED: 2000,
    MessageState.EXPIRED: 4006,
    MessageState.DELETED: 5000,
    MessageState.UNDELIVERABLE: 4006,
    MessageState.REJECTED: 4005,
    MessageState.UNKNOWN: 9999,
}

_MAP_ERRORS: dict[int, int] = {
    1: 4004,  # unknownSubscriber
    5: 4004,  # unidentifiedSubscriber
    6: 4006,  # absentSubscriberSM
    9: 4005,  # illegalSubscriber
    11: 4005,  # teleserviceNotProvisioned
    12: 4005,  # illegalEquipment
    13: 4005,  # callBarred
    21: 4003,  # facilityNotSupported
    27: 4006,  # absentSubscriber
    31: 4006,  # subscriberBusyForMT-SMS
    32: 4006,  # sm-DeliveryFailure
    33: 4006,  # messageWaitingListFull
    34: 5001,  # systemFailure
}
_GSM_NETWORK = 3  # §5.3.2.31


def meaning(status: int) -> Meaning:
    """What `status` says; the SMSC's own codes (0x400 to 0x4FF) and reserved ones become 9999, permanent."""
    found = STATUS.get(status)
    return found if found is not None else Meaning(f"0x{status:08X}", 9999)


def state_code(state: MessageState, network_error: bytes | None = None) -> int:
    """The ACS detail code of a final `state`; a GSM network_error_code says more about a failure (§5.3.2.31)."""
    if state is not MessageState.DELIVERED and network_error is not None and len(network_error) == 3:
        network, error = network_error[0], int.from_bytes(network_error[1:], "big")
        if network == _GSM_NETWORK and error in _MAP_ERRORS:
            return _MAP_ERRORS[error]
    return _STATES.get(state, 9999)
