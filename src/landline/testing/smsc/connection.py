"""One ESME's connection to the SMSC."""

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from landline.engines.smpp.pump import Pump
from landline.protocols.smpp import pdu, receipts, status
from landline.protocols.smpp.commands import ESM_RECEIPT, Command, MessageState
from landline.protocols.smpp.events import (
    Answered,
    BindArrived,
    Event,
    MessageArrived,
    RequestArrived,
    Unanswered,
    Unbound,
)
from landline.protocols.smpp.pdu import ShortMessage
from landline.protocols.smpp.session import Session
from landline.protocols.smpp.states import Role
from landline.testing.smsc.model import ReceiptTime, Rule

if TYPE_CHECKING:
    from landline.testing.smsc.server import Smsc

_DELIVERED = Rule()
_TEMPORARY = frozenset((status.ESME_RX_T_APPN, status.ESME_RMSGQFUL, status.ESME_RTHROTTLED, status.ESME_RSYSERR))


class Connection:
    """Answers submissions and sends deliveries as the SMSC's conduct says."""

    def __init__(self, smsc: "Smsc") -> None:
        self._smsc = smsc
        self.session = Session(Role.SMSC, smsc.now(), smsc.limits)
        self.pump = Pump(self.session, smsc.now, self._happened, self._lost)
        self.system_id = ""
        self._frozen: list[Event] | None = None
        self._fitting: dict[int, int] = {}
        self._submits = 0

    @property
    def is_bound(self) -> bool:
        return self.session.can_submit or self.session.can_deliver

    @property
    def free(self) -> int:
        return self.session.free

    def takes_deliveries(self, system_id: str) -> bool:
        """Whether a deliver_sm for that account may be sent here now."""
        return self.system_id == system_id and self.session.can_deliver and self.free > 0 and self._frozen is None

    def deliver(self, body: bytes) -> None:
        """Send a deliver_sm; the write follows in this turn of the loop."""
        self._smsc.counts.deliveries += 1
        self.session.deliver(body, body, self._smsc.now())
        self.pump.flush_soon()

    def freeze(self, frozen: bool) -> None:
        """Stop reading and answering, or go on."""
        if frozen:
            self._frozen = self._frozen if self._frozen is not None else []
            self.pump.pause_reading()
        elif self._frozen is not None:
            events, self._frozen = self._frozen, None
            self.pump.resume_reading()
            self._happened(events)
            self.pump.flush()

    def _happened(self, events: list[Event]) -> None:
        if self._frozen is not None:
            self._frozen += events
            return
        submissions: list[MessageArrived] = []
        for event in events:
            if isinstance(event, MessageArrived):
                submissions.append(event)
            elif isinstance(event, Answered):
                self._answered(event)
            else:
                self._other(event)
        if submissions:
            self._take(submissions)
        if self.system_id:
            self._smsc.drain(self.system_id)
        self._smsc.happened()

    def _other(self, event: Event) -> None:
        if isinstance(event, BindArrived):
            self._bind(event)
        elif isinstance(event, RequestArrived):
            self._request(event)
        elif isinstance(event, Unanswered) and isinstance(event.context, bytes):
            self._smsc.back(self.system_id, [event.context])
        elif isinstance(event, Unbound):
            self._smsc.counts.unbinds += event.by_peer

    def _bind(self, event: BindArrived) -> None:
        result = self._smsc.authenticates(event.bind)
        if result == status.ESME_ROK:
            self.system_id = event.bind.system_id
            self._smsc.counts.binds += 1
            self.session.accept_bind("landline-smsc")
        else:
            self._smsc.counts.binds_refused += 1
            self.session.refuse_bind(result)

    def _request(self, event: RequestArrived) -> None:
        if event.command == Command.QUERY_SM and isinstance(event.body, pdu.QuerySm):
            known = any(received.message_id == event.body.message_id for received in self._smsc.received)
            answer = pdu.QueryAnswer(event.body.message_id, "", MessageState.DELIVERED)
            self.session.answer(event.sequence, 0 if known else status.ESME_RQUERYFAIL, body=answer)
        else:
            self.session.answer(event.sequence, status.ESME_RINVCMDID)

    def _take(self, events: list[MessageArrived]) -> None:
        smsc = self._smsc
        conduct = smsc.conduct
        now = smsc.now()
        at = datetime.fromtimestamp(now, UTC)
        reports: list[bytes] = []
        for event in events:
            smsc.counts.submits += 1
            rule = self._rule(event.message.destination_addr) if conduct.rules else _DELIVERED
            if smsc.over_rate(now):
                smsc.counts.throttled += 1
                self.session.answer(event.sequence, conduct.throttle_status)
            elif rule.status != status.ESME_ROK:
                self._answer_later(event.sequence, rule.status, "", rule)
            else:
                self._accept(event, rule, at, reports)
        if reports:
            self._report(reports)
        self._submits += len(events)
        if conduct.unbind_after is not None and self._submits >= conduct.unbind_after and self.is_bound:
            self.session.unbind(now)

    def _accept(self, event: MessageArrived, rule: Rule, at: datetime, reports: list[bytes]) -> None:
        smsc = self._smsc
        conduct = smsc.conduct
        smsc.counts.accepted += 1
        number = next(smsc.ids)
        message_id = conduct.response_id.format(id=number) if conduct.response_id != "{id}" else str(number)
        if smsc.keeps:
            smsc.remember(self.system_id, message_id, event.message)
        report: list[bytes] = []
        if event.message.registered_delivery & 0x03 and conduct.receipts is not ReceiptTime.NONE:
            report = [self._receipt(event.message, number, rule, at)] * conduct.receipt_copies
        if conduct.receipts is ReceiptTime.BEFORE:
            smsc.deliver(self.system_id, report)
            # By the clock's worker, so that the receipt is on the wire before the response is written.
            smsc.later(conduct.response_delay_s, partial(self._answer, event.sequence, 0, message_id))
            return
        if not rule.silent:
            self._answer_later(event.sequence, 0, message_id, rule)
        reports += report

    def _report(self, reports: list[bytes]) -> None:
        conduct = self._smsc.conduct
        if conduct.receipts_backwards:
            reports.reverse()
        delay_s = conduct.receipt_delay_s + conduct.response_delay_s
        if delay_s:
            self._smsc.later(delay_s, partial(self._smsc.deliver, self.system_id, reports))
        else:
            self._smsc.deliver(self.system_id, reports)

    def _answer_later(self, sequence: int, state: int, message_id: str, rule: Rule) -> None:
        delay_s = self._smsc.conduct.response_delay_s if rule.response_delay_s is None else rule.response_delay_s
        if delay_s:
            self._smsc.later(delay_s, partial(self._answer, sequence, state, message_id))
        else:
            self.session.answer(sequence, state, message_id)

    def _answer(self, sequence: int, state: int, message_id: str) -> None:
        if self._frozen is None:
            self.session.answer(sequence, state, message_id)
            self.pump.flush_soon()

    def _answered(self, event: Answered) -> None:
        smsc = self._smsc
        assert isinstance(event.context, bytes)
        if event.status == status.ESME_ROK:
            smsc.counts.delivered += 1
            return
        smsc.counts.delivery_refusals[event.status] = smsc.counts.delivery_refusals.get(event.status, 0) + 1
        if event.status in _TEMPORARY:
            smsc.later(smsc.conduct.deliver_retry_s, partial(smsc.back, self.system_id, [event.context]))

    def _rule(self, destination: str) -> Rule:
        for number, rule in enumerate(self._smsc.conduct.rules):
            if destination.startswith(rule.prefix):
                fitting = self._fitting[number] = self._fitting.get(number, 0) + 1
                if fitting % rule.every == 0:
                    return rule
        return _DELIVERED

    def _receipt(self, message: ShortMessage, number: int, rule: Rule, at: datetime) -> bytes:
        conduct = self._smsc.conduct
        message_id = str(number) if conduct.receipt_id == "{id}" else conduct.receipt_id.format(id=number)
        in_tlv = message_id if conduct.receipt_tlv_id is None else conduct.receipt_tlv_id.format(id=number)
        text = b""
        if conduct.receipt_text:
            text = receipts.write(message_id, rule.state, submitted_at=at, done_at=at, error=rule.error)
        return pdu.encode_body(
            ShortMessage(
                source_addr_ton=message.dest_addr_ton,
                source_addr_npi=message.dest_addr_npi,
                source_addr=message.destination_addr,
                dest_addr_ton=message.source_addr_ton,
                dest_addr_npi=message.source_addr_npi,
                destination_addr=message.source_addr,
                esm_class=ESM_RECEIPT,
                short_message=text,
                tlvs=receipts.tlvs(in_tlv, rule.state) if conduct.receipt_tlvs else (),
            )
        )

    def _lost(self) -> None:
        left = [item.context for item in self.session.close() if isinstance(item.context, bytes)]
        self._smsc.gone(self)
        if left:
            self._smsc.back(self.system_id, left)
