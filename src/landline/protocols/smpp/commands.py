"""The numbers of SMPP 3.4: command ids, TLV tags, address types, esm_class bits and message states."""

from enum import Enum, IntEnum

INTERFACE_VERSION = 0x34
RESPONSE = 0x80000000
"""The bit that makes a command's response of it (§5.1.2.1)."""


class Command(IntEnum):
    """command_id (§5.1.2.1)."""

    GENERIC_NACK = 0x80000000
    BIND_RECEIVER = 0x00000001
    BIND_TRANSMITTER = 0x00000002
    QUERY_SM = 0x00000003
    SUBMIT_SM = 0x00000004
    DELIVER_SM = 0x00000005
    UNBIND = 0x00000006
    REPLACE_SM = 0x00000007
    CANCEL_SM = 0x00000008
    BIND_TRANSCEIVER = 0x00000009
    OUTBIND = 0x0000000B
    ENQUIRE_LINK = 0x00000015
    ALERT_NOTIFICATION = 0x00000102
    DATA_SM = 0x00000103


def command_name(command: int) -> str:
    """As SMPP 3.4 writes it; an unknown command_id in hexadecimal."""
    try:
        return Command(command).name.lower()
    except ValueError:
        return f"0x{command:08x}"


class BindKind(Enum):
    """What an ESME binds as (§2.2); the value is the bind's command id."""

    RECEIVER = 0x00000001
    TRANSMITTER = 0x00000002
    TRANSCEIVER = 0x00000009


class Tag(IntEnum):
    """Optional parameter tags (§5.3.2) that this product reads or writes; others pass through as octets."""

    SOURCE_PORT = 0x020A
    DESTINATION_PORT = 0x020B
    SAR_MSG_REF_NUM = 0x020C
    SAR_TOTAL_SEGMENTS = 0x020E
    SAR_SEGMENT_SEQNUM = 0x020F
    SC_INTERFACE_VERSION = 0x0210
    RECEIPTED_MESSAGE_ID = 0x001E
    USER_MESSAGE_REFERENCE = 0x0204
    NETWORK_ERROR_CODE = 0x0423
    MESSAGE_PAYLOAD = 0x0424
    MESSAGE_STATE = 0x0427


class Ton(IntEnum):
    """Type of number (§5.2.5)."""

    UNKNOWN = 0
    INTERNATIONAL = 1
    NATIONAL = 2
    NETWORK_SPECIFIC = 3
    SUBSCRIBER = 4
    ALPHANUMERIC = 5
    ABBREVIATED = 6


class Npi(IntEnum):
    """Numbering plan indicator (§5.2.6)."""

    UNKNOWN = 0
    ISDN = 1
    NATIONAL = 8
    PRIVATE = 9


ESM_RECEIPT = 0x04
"""esm_class bits 5-2 of a deliver_sm that carries an SMSC delivery receipt (§5.2.12)."""
ESM_INTERMEDIATE = 0x20
ESM_TYPE = 0x3C
ESM_UDH = 0x40
"""esm_class bit 6: the user data begins with a header (§5.2.12)."""

RECEIPT_WANTED = 0x01
"""registered_delivery: a receipt for success and failure (§5.2.17)."""


class MessageState(IntEnum):
    """message_state (§5.2.28)."""

    ENROUTE = 1
    DELIVERED = 2
    EXPIRED = 3
    DELETED = 4
    UNDELIVERABLE = 5
    ACCEPTED = 6
    UNKNOWN = 7
    REJECTED = 8

    @property
    def final(self) -> bool:
        """Whether nothing more will come. ACCEPTED counts as passing: SMSCs use it for "taken by the next network"
        rather than for §5.2.28's "read by customer service"."""
        return self not in (MessageState.ENROUTE, MessageState.ACCEPTED)
