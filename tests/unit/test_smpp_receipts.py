"""Delivery receipts as SMSCs write them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.engines.smpp.config import MessageIds, SmppConfig
from landline.engines.smpp.reports import Reports
from landline.protocols.smpp import receipts, status
from landline.protocols.smpp.commands import MessageState, Tag
from landline.protocols.smpp.pdu import ShortMessage, Tlvs

AT = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)


@given(st.from_regex(r"[0-9A-Za-z\-]{1,64}", fullmatch=True), st.sampled_from(MessageState), st.integers(0, 999))
def test_what_is_written_is_read_back(message_id: str, state: MessageState, error: int) -> None:
    text = receipts.write(message_id, state, submitted_at=AT, done_at=AT, error=error, text=b"stat:EXPIRED id:9")
    receipt = receipts.parse(text)
    assert receipt is not None
    assert (receipt.message_id, receipt.state, receipt.done_at) == (message_id, state, AT)
    assert receipt.error == f"{error:03}"
    assert receipt.delivered == (1 if state is MessageState.DELIVERED else 0)


@given(
    st.one_of(st.text("0123456789abcdefxX_-+ ²³\0\1", max_size=80), st.text(st.characters(max_codepoint=255))),
    st.one_of(st.none(), st.binary(max_size=80)),
    st.integers(0, 255),
    st.integers(0, 255),
    st.sampled_from(MessageIds),
)
def test_whatever_stands_for_an_id_is_taken(
    in_text: str, in_tlv: bytes | None, coding: int, esm_class: int, style: MessageIds
) -> None:
    written = f"id:{in_text} sub:001 dlvrd:001 submit date:2611201405 done date:2611201405 stat:DELIVRD err:² text:"
    octets = written.encode("utf-16-be" if coding == 8 else "latin-1")
    tlvs: Tlvs = () if in_tlv is None else ((Tag.RECEIPTED_MESSAGE_ID, in_tlv),)
    message = ShortMessage(short_message=octets, data_coding=coding, esm_class=esm_class, tlvs=tlvs)
    receipts.is_written(message)
    read = receipts.read(message)
    if read is not None:
        meant, _ = Reports(SmppConfig("carrier", "host", 1, "us", "secret", message_ids=style)).read(read, 0.0)
        assert meant.carrier_message_id


@pytest.mark.parametrize(
    ("text", "message_id", "state"),
    [
        ("id:77 stat:DELIVRD", "77", MessageState.DELIVERED),
        ("ID:77 Sub:001 Dlvrd:000 Stat:undeliv Err:011 Text:none", "77", MessageState.UNDELIVERABLE),
        ("id:77 sub: dlvrd: submit date: done date: stat:EXPIRED err:", "77", MessageState.EXPIRED),
        ('id:"77" stat:"REJECTD" text:"id:88 stat:DELIVRD"', "77", MessageState.REJECTED),
        ("id: 77 submit_date:261120140512 done_date:261120140559 stat: DELIVRD", "77", MessageState.DELIVERED),
        ("sub:001, id:77, stat:DELETED, err:0", "77", MessageState.DELETED),
        ("id:77 stat:Delivered err:000", "77", MessageState.DELIVERED),
        ("id:77 stat:DELIVRD\0", "77", MessageState.DELIVERED),
        (
            "id:77\0 sub:001 dlvrd:001 submit date:2611201405 done date:2611201405 stat:DELIVRD err:000 text:",
            "77",
            MessageState.DELIVERED,
        ),
        ("id:77 stat:PENDING", "77", MessageState.ENROUTE),
        (f"id:{'9' * 300} sub:001 stat:DELIVRD", "9" * 255, MessageState.DELIVERED),
        ("id:77 status:DELIVRD error:000", "77", MessageState.DELIVERED),
        (
            "id:77 sub:001 dlvrd:001 submit date:2611201405 done date:2611201405 stat:2 err:000 text:",
            "77",
            MessageState.DELIVERED,
        ),
        ("id:77 stat:05", "77", MessageState.UNDELIVERABLE),
        ("id:77 stat:99", "77", MessageState.UNKNOWN),
        ("id:77 stat:9", "77", MessageState.REJECTED),
        ("id:77 stat:SKIPPED", "77", MessageState.REJECTED),
        ("id:77 stat:WHATEVER", "77", MessageState.UNKNOWN),
        # in the GSM alphabet, as npm's smpp writes them
        (
            "id:a\x117 sub:001 dlvrd:001 submit date:2611201405 done date:2611201405 stat:DELIVRD err:000 text:",
            "a_7",
            MessageState.DELIVERED,
        ),
        ("id:a\0b\x027 stat:DELIVRD", "a@b$7", MessageState.DELIVERED),
        ("id:a\x007 stat:UNDELIV", "a@7", MessageState.UNDELIVERABLE),
        ("id:77 stat:ENROUTE text:stat:DELIVRD", "77", MessageState.ENROUTE),
    ],
)
def test_variants_are_read(text: str, message_id: str, state: MessageState) -> None:
    receipt = receipts.parse(text.encode())
    assert receipt is not None
    assert (receipt.message_id, receipt.state) == (message_id, state)


def of(rest: str) -> receipts.DeliveryReceipt:
    receipt = receipts.parse(f"id:7 {rest}".encode("latin-1"))
    assert receipt is not None
    return receipt


@pytest.mark.parametrize(
    ("written", "delivered"),
    [("dlvrd:1", 1), ("dlvrd:00042", 42), ("dlvrd:999999", None), ("dlvrd:", None), ("dlvrd:\u00b2", None), ("", None)],
)
def test_how_many_were_delivered_is_a_number_or_unknown(written: str, delivered: int | None) -> None:
    assert of(f"{written} stat:DELIVRD").delivered == delivered


@pytest.mark.parametrize("word", ["\u00b2", "123", "300", "0x2", "-1", "12"])
def test_a_state_that_is_no_word_and_no_number_of_one_is_unknown(word: str) -> None:
    assert of(f"stat:{word} err:000").state is MessageState.UNKNOWN


@pytest.mark.parametrize(
    ("written", "error"),
    [("err:027", "027"), ("err:0A-3", "0A-3"), ("err:", None), ("", None), ("text:now err:5", None)],
)
def test_the_carriers_error_is_told_as_it_is_written(written: str, error: str | None) -> None:
    assert of(f"stat:UNDELIV {written}").error == error


def test_what_is_written_names_the_first_words_of_the_text() -> None:
    text = receipts.write("7", MessageState.EXPIRED, submitted_at=AT, done_at=AT, error=5, text=b"x" * 30)
    assert text == (
        b"id:7 sub:001 dlvrd:000 submit date:2611201405 done date:2611201405 stat:EXPIRED err:005 text:" + b"x" * 20
    )
    assert receipts.tlvs("7", MessageState.EXPIRED) == ((0x001E, b"7\0"), (0x0427, b"\3"))


@pytest.mark.parametrize(
    ("value", "state"),
    [
        (b"\1", MessageState.ENROUTE),
        (b"\x08", MessageState.REJECTED),
        (b"\0", MessageState.ENROUTE),
        (b"\x09", MessageState.REJECTED),
        (b"\x0a", MessageState.UNKNOWN),
        (b"", MessageState.DELETED),
        (b"\0\2", MessageState.DELETED),
    ],
)
def test_a_state_in_a_tlv_has_one_octet(value: bytes, state: MessageState) -> None:
    receipt = receipts.read(
        ShortMessage(esm_class=4, short_message=b"id:7 stat:DELETED", tlvs=((Tag.MESSAGE_STATE, value),))
    )
    assert receipt is not None
    assert receipt.state is state


@pytest.mark.parametrize("text", [b"", b"hello", b"stat:DELIVRD", b"id:7", b"id: stat:DELIVRD", b"\x00\xff\x80"])
def test_what_names_no_message_or_state_is_no_receipt(text: bytes) -> None:
    assert receipts.parse(text) is None


@pytest.mark.parametrize(
    ("digits", "at"),
    [
        ("2611201405", AT),
        ("261120140559", AT.replace(second=59)),
        ("20261120140559", AT.replace(second=59)),
        ("9999999999", None),
        ("26112014055", None),
        ("2611201405599", None),
        ("\u00b2\u00b2\u00b2\u00b2\u00b2\u00b2\u00b2\u00b2\u00b2\u00b2", None),
        ("26112014", None),
        ("now", None),
    ],
)
def test_dates_have_several_lengths(digits: str, at: datetime | None) -> None:
    receipt = receipts.parse(f"id:1 done date:{digits} stat:DELIVRD".encode("latin-1"))
    assert receipt is not None
    assert receipt.done_at == at


def test_tlvs_come_before_the_text() -> None:
    message = ShortMessage(
        esm_class=4,
        short_message=b"id:1 stat:EXPIRED err:027",
        tlvs=(*receipts.tlvs("abc", MessageState.DELIVERED), (Tag.NETWORK_ERROR_CODE, b"\x03\x00\x00")),
    )
    receipt = receipts.read(message)
    assert receipt is not None
    assert (receipt.message_id, receipt.state, receipt.error) == ("abc", MessageState.DELIVERED, "027")
    assert receipt.network_error == b"\x03\x00\x00"


def test_a_receipt_of_tlvs_alone_is_one() -> None:
    message = ShortMessage(tlvs=receipts.tlvs("abc", MessageState.REJECTED))
    assert receipts.is_receipt(message)
    receipt = receipts.read(message)
    assert receipt is not None
    assert receipt.state is MessageState.REJECTED


@pytest.mark.parametrize(
    ("text", "state"),
    [
        (b"", None),
        (b"on its way", None),
        (b"id:abc done date:2611201405 err:000", None),
        (b"id:abc stat: err:000", None),
        (b"stat:DELIVRD", MessageState.DELIVERED),
        (b"stat:WHATEVER", MessageState.UNKNOWN),
        (b"\0s\0t\0a\0t\0:\0E\0X\0P\0I\0R\0E\0D", MessageState.EXPIRED),
    ],
)
def test_an_id_in_a_tlv_is_not_enough_without_a_state(text: bytes, state: MessageState | None) -> None:
    coding = 8 if text[:1] == b"\0" else 0
    tlvs = ((Tag.RECEIPTED_MESSAGE_ID, b"abc\0"),)
    receipt = receipts.read(ShortMessage(esm_class=4, data_coding=coding, short_message=text, tlvs=tlvs))
    assert (receipt and receipt.state) == state


def test_a_state_of_smpp_5_that_is_not_final_is_none_here_either() -> None:
    receipt = receipts.read(ShortMessage(tlvs=((Tag.RECEIPTED_MESSAGE_ID, b"abc\0"), (Tag.MESSAGE_STATE, b"\0"))))
    assert receipt is not None
    assert not receipt.state.final


WRITTEN = b"id:7 sub:001 dlvrd:001 submit date:2611212300 done date:2611212301 stat:DELIVRD err:000 text:hi"
IN_UCS2 = WRITTEN.decode().encode("utf-16-be")


@pytest.mark.parametrize(
    ("octets", "esm_class", "coding"),
    [
        (IN_UCS2, 0x04, 8),
        (IN_UCS2[:-4] + b"\xd8\x01\x04\x1f", 0x04, 8),
        (b"\x05\x00\x03\x07\x01\x01" + WRITTEN, 0x44, 0),
        (b"\x05\x00\x03\x07\x01\x01" + IN_UCS2, 0x44, 8),
        (WRITTEN, 0x04, 8),
        (WRITTEN, 0x44, 0),
    ],
)
@pytest.mark.parametrize("tlvs", [(), ((Tag.USER_MESSAGE_REFERENCE, b"\0\1"),)])
@pytest.mark.parametrize("payload", [False, True])
def test_a_receipt_may_be_written_as_texts_are(
    octets: bytes, esm_class: int, coding: int, tlvs: Tlvs, payload: bool
) -> None:
    short, more = (b"", ((Tag.MESSAGE_PAYLOAD, octets),)) if payload else (octets, ())
    receipt = receipts.read(
        ShortMessage(esm_class=esm_class, data_coding=coding, short_message=short, tlvs=(*tlvs, *more))
    )
    assert receipt is not None
    assert (receipt.message_id, receipt.state, receipt.error) == ("7", MessageState.DELIVERED, "000")


@pytest.mark.parametrize("short", [b"", b"hello", b"id:5"])
def test_the_text_may_be_in_the_payload(short: bytes) -> None:
    tlvs = ((Tag.MESSAGE_PAYLOAD, b"id:5 stat:DELIVRD"),)
    receipt = receipts.read(ShortMessage(esm_class=4, short_message=short, tlvs=tlvs))
    assert receipt is not None
    assert receipt.message_id == "5"


@pytest.mark.parametrize(
    ("esm_class", "alone", "with_id"),
    [
        (0x00, False, True),
        (0x40, False, True),
        (0x04, True, True),
        (0x44, True, True),
        (0x20, True, True),
        (0x08, False, False),  # acknowledgements of an SME are texts (§5.2.12)
        (0x10, False, False),
        (0x18, False, False),
    ],
)
def test_what_is_a_receipt(esm_class: int, alone: bool, with_id: bool) -> None:
    for tlvs, is_ in (
        ((), alone),
        (((Tag.USER_MESSAGE_REFERENCE, b"\0\1"),), alone),
        (((Tag.RECEIPTED_MESSAGE_ID, b"7\0"),), with_id),
    ):
        assert receipts.is_receipt(ShortMessage(esm_class=esm_class, tlvs=tlvs)) is is_


def test_an_id_of_a_tlv_is_cut_to_what_can_be_stored() -> None:
    tlvs = ((Tag.RECEIPTED_MESSAGE_ID, b" " + b"9" * 300), (Tag.MESSAGE_STATE, b"\2"))
    receipt = receipts.read(ShortMessage(tlvs=tlvs))
    assert receipt is not None
    assert receipt.message_id == "9" * 254
    nameless = ShortMessage(esm_class=4, short_message=b"stat:DELIVRD", tlvs=((Tag.MESSAGE_STATE, b"\2"),))
    assert receipts.read(nameless) is None


@pytest.mark.parametrize(
    ("stat", "state"),
    [
        ("UNDELIV", MessageState.ENROUTE),
        ("EXPIRED", MessageState.ENROUTE),
        ("UNKNOWN", MessageState.ENROUTE),
        ("ENROUTE", MessageState.ENROUTE),
        ("DELIVRD", MessageState.DELIVERED),
    ],
)
@pytest.mark.parametrize("tlvs", [(), receipts.tlvs("7", MessageState.UNDELIVERABLE)])
def test_an_intermediate_notification_tells_of_no_failure(stat: str, state: MessageState, tlvs: Tlvs) -> None:
    if tlvs:
        state = MessageState.ENROUTE  # the TLV counts
    for esm_class in (0x20, 0x23, 0xA0):
        read = receipts.read(ShortMessage(esm_class=esm_class, short_message=f"id:7 stat:{stat}".encode(), tlvs=tlvs))
        assert read is not None
        assert (read.message_id, read.state) == ("7", state)


def test_a_text_from_a_phone_is_no_receipt() -> None:
    assert not receipts.is_receipt(ShortMessage(short_message=b"id:1 stat:DELIVRD"))
    assert not receipts.is_receipt(ShortMessage(esm_class=0x40))


@given(st.binary(max_size=300), st.lists(st.tuples(st.sampled_from(Tag), st.binary(max_size=20)), max_size=4))
def test_reading_never_raises_and_finds_no_id_that_cannot_be_stored(text: bytes, tlvs: list[tuple[int, bytes]]) -> None:
    for octets in (text, b"id:%b stat:DELIVRD" % text):
        read = receipts.read(ShortMessage(esm_class=4, short_message=octets, tlvs=tuple(tlvs)))
        assert read is None or "\0" not in read.message_id


def test_ids_in_either_base_meet_in_one_form() -> None:
    assert receipts.matching_id("00ff", hexadecimal=True) == receipts.matching_id("255", hexadecimal=False)
    assert receipts.matching_id("not-a-number", hexadecimal=True) == "not-a-number"


def test_states_and_network_errors_become_detail_codes() -> None:
    assert status.state_code(MessageState.DELIVERED) == 2000
    assert status.state_code(MessageState.UNDELIVERABLE) == 4006
    assert status.state_code(MessageState.UNDELIVERABLE, b"\x03\x00\x01") == 4004
    assert status.state_code(MessageState.UNDELIVERABLE, b"\x01\x00\x01") == 4006
    assert status.state_code(MessageState.UNKNOWN) == 9999
    assert status.state_code(MessageState.ENROUTE) == 9999
    assert status.state_code(MessageState.DELIVERED, b"\x03\x00\x01") == 2000
    assert status.state_code(MessageState.UNDELIVERABLE, b"\x03\x01") == 4006, "three octets (§5.3.2.31)"
    assert status.state_code(MessageState.UNDELIVERABLE, b"\x03\x03\xe7") == 4006, "an error that is not known"


def test_statuses_become_detail_codes() -> None:
    assert status.meaning(0x0B) == status.Meaning("ESME_RINVDSTADR", 4002)
    assert status.meaning(0x58).temporary
    assert status.meaning(0x0401) == status.Meaning("0x00000401", 9999)
