"""The tables `[[carriers]]` and `[[routes]]` of the configuration: their fields, what each may be and is for."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from landline.engines.smpp.config import Binding, LongReceipts, MessageIds
from landline.protocols.smpp.commands import INTERFACE_VERSION
from landline.protocols.smpp.texts import Alphabet, LongStyle

Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=31_536_000)]
Rate: TypeAlias = Annotated[float, Meta(gt=0, le=1_000_000)]
Offset: TypeAlias = Annotated[int, Meta(ge=-840, le=840)]
Octet: TypeAlias = Annotated[int, Meta(ge=0, le=255)]
Name: TypeAlias = Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


def _says(text: str) -> Meta:
    return Meta(description=text)


class TlsTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """TLS towards a carrier; an empty table is TLS by the system's roots."""

    ca_file: Annotated[
        Path | None, _says("PEM file of the authorities that count; without it the system's roots do.")
    ] = None
    certificate_file: Annotated[Path | None, _says("PEM file of our own certificate, where the carrier wants one.")] = (
        None
    )
    key_file: Annotated[Path | None, _says("PEM file of its private key.")] = None
    server_name: Annotated[str | None, _says("The name the carrier's certificate must bear. Default: `host`.")] = None


class SmppTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One SMPP carrier. What `engines.smpp.config.SmppConfig` has is called the same here and has the same default."""

    kind: Annotated[Literal["smpp"], _says("How the carrier is spoken to.")]
    name: Annotated[
        Name, _says("What routes, numbers, logs and timelines call it. It stays: messages on their way carry it.")
    ]
    host: Annotated[str, Meta(pattern=r"^[^\s/]+$"), _says("Name or address of the SMSC.")]
    port: Annotated[int, Meta(ge=1, le=65535), _says("Its port.")]
    system_id: Annotated[str, _says("Whom we bind as; 15 characters in SMPP.")]
    password: Annotated[
        str | None,
        _says(
            "8 characters in SMPP. Better in `password_file`, or in the variable `LANDLINE_CARRIER_<NAME>_PASSWORD`: "
            "the name in capitals, with `_` for everything but letters and digits."
        ),
    ] = None
    password_file: Annotated[Path | None, _says("File that holds the password, instead of it.")] = None
    system_type: Annotated[str, _says("As the carrier wants it; at most 12 characters.")] = ""
    interface_version: Annotated[
        Octet, _says("The version that the bind says we speak: 52 is SMPP 3.4, 51 is 3.3.")
    ] = INTERFACE_VERSION
    bind_ton: Annotated[Octet, _says("addr_ton of the bind.")] = 0
    bind_npi: Annotated[Octet, _says("addr_npi of the bind.")] = 0
    address_range: Annotated[
        str, _says("Whose texts the bind is for, where the carrier wants to be told; at most 40 characters.")
    ] = ""
    binding: Annotated[
        Binding, _says("`pair` binds a transmitter and a receiver, for carriers without transceivers.")
    ] = Binding.TRANSCEIVER
    receiver_port: Annotated[
        Annotated[int, Meta(ge=1, le=65535)] | None,
        _says("Where receivers of a `pair` bind, when that is another port."),
    ] = None
    binds: Annotated[int, Meta(ge=1, le=100), _says("How many transceivers or pairs.")] = 1
    tls: Annotated[TlsTable | None, _says("The table `[carriers.tls]`; without it the connection is plain.")] = None
    window: Annotated[int, Meta(ge=1, le=10_000), _says("Requests unanswered on each bind, at most.")] = 50
    rate_per_s: Annotated[Rate | None, _says("submit_sm a second on each bind, at most.")] = None
    carrier_rate_per_s: Annotated[
        Rate | None, _says("Segments a second over all binds of all processes, at most, shared by binds.")
    ] = None
    crash_policy: Annotated[
        Literal["resend", "unknown", "query"],
        _says(
            "What becomes of a message handed over and never answered: `resend` hands it over once more (at least "
            "once), `unknown` ends it (at most once: codes, payments), `query` asks the carrier where it can be asked."
        ),
    ] = "resend"
    enquire_link_s: Annotated[Seconds, _says("A silent connection is asked whether it lives after this long.")] = 30.0
    response_s: Annotated[
        Seconds,
        _says(
            "How long the carrier may take to answer a text; after that `crash_policy` decides, though a later answer "
            "still counts where it can. Everything else it has to answer within 10 s, or within this if that is less."
        ),
    ] = 60.0
    connect_s: Annotated[
        Seconds,
        _says(
            "How long connecting may take, over all addresses of `host`, which are tried one after the other; the bind"
            " is to be answered as `response_s` says."
        ),
    ] = 10.0
    backoff_first_s: Annotated[Seconds, _says("Pause before binding again; it doubles.")] = 1.0
    backoff_limit_s: Annotated[Seconds, _says("The longest such pause.")] = 60.0
    source_ton: Annotated[Octet | None, _says("Type of number of senders. Default: what suits the kind of sender.")] = (
        None
    )
    source_npi: Annotated[Octet | None, _says("Numbering plan of senders. Default: likewise.")] = None
    destination_ton: Annotated[Octet, _says("Type of number of recipients.")] = 1
    destination_npi: Annotated[Octet, _says("Numbering plan of recipients.")] = 1
    plus_sign: Annotated[bool, _says("Whether international numbers are sent with their `+`.")] = False
    country: Annotated[
        str | None,
        _says(
            "Two letters, as `GB`: whose national numbers (type of number 2, or with their trunk prefix) texts that "
            "arrive are from and to. Default: such numbers stay as they are, and belong to nobody."
        ),
    ] = None
    service_type: Annotated[str, _says("As the carrier wants it; at most 5 characters.")] = ""
    esm_class: Annotated[
        int,
        Meta(ge=0, le=3),
        _says(
            "Messaging mode of what is sent: 0 is the carrier's own, 3 store and forward, which some want to be asked "
            "for, or send no receipts. Kannel and Jasmin ask for it unless told not to."
        ),
    ] = 0
    protocol_id: Annotated[Octet, _says("protocol_id of what is sent.")] = 0
    priority_flag: Annotated[Octet, _says("priority_flag of what is sent.")] = 0
    alphabet: Annotated[Alphabet, _says("How texts are sent where they can be; the rest goes as UCS-2.")] = Alphabet.GSM
    default_alphabet: Annotated[Alphabet, _says("What data_coding 0 means in texts that arrive.")] = Alphabet.GSM
    registered_delivery: Annotated[
        Octet, _says("What asks the carrier for a receipt. With 0 there are none: every message ends as failed (5002).")
    ] = 1
    validity_s: Annotated[Seconds | None, _says("validity_period. Default: the carrier's own.")] = None
    long_style: Annotated[
        LongStyle,
        _says(
            "How texts of several segments are sent. `sar` and `payload` are optional parameters, which carriers of "
            "SMPP 3.3 do not know; the log warns (`smpp.smsc_may_know_no_tlvs`) of one that does not say it speaks 3.4."
        ),
    ] = LongStyle.UDH8
    message_ids: Annotated[
        MessageIds,
        _says(
            "How ids are written: `dec-hex`: hexadecimal in responses, decimal in receipts; `hex-dec`: the reverse; "
            "`dec`, `hex`: the same in both, but with other zeros in front or another case."
        ),
    ] = MessageIds.AS_IS
    long_receipts: Annotated[
        LongReceipts,
        _says(
            "Whether the carrier reports `each` part of a long text or `one` of them, which then decides. Parts that "
            "it gives one id are reported once in any case."
        ),
    ] = LongReceipts.EACH
    unmarked_receipts: Annotated[
        bool,
        _says(
            "The carrier sends receipts as if they were texts from phones (esm_class 0, no optional parameters): what "
            "is written as one is one. Any phone can then write one, of a message whose id it knows."
        ),
    ] = False
    throttle_pause_s: Annotated[Seconds, _says("How long a bind rests when the carrier says it is too fast.")] = 1.0
    throttle_patience_s: Annotated[
        Seconds, _says("After this long of being throttled a message is given back, to be tried again or elsewhere.")
    ] = 60.0
    join_patience_s: Annotated[Seconds, _says("How long missing parts of a text that arrives are waited for.")] = 3600.0
    receipt_utc_offset_minutes: Annotated[
        Offset | None,
        _says("The zone of the receipts' `done date`. Default: the instant a receipt arrives counts instead."),
    ] = None
    error_codes: Annotated[
        dict[str, int], _says("ACS detail codes for the carrier's own `err:` values in receipts of failure.")
    ] = {}
    trace: Annotated[bool, _says("Log every PDU's header, never a text.")] = False

    def __repr__(self) -> str:
        return f"SmppTable(name={self.name!r})"  # a configuration that is shown somewhere shows no password


class RouteCarrierTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A carrier of a rule."""

    carrier: str
    weight: int = 1


class RouteTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One routing rule; see `services.sms.model.routing.Rule`."""

    name: Annotated[str, _says("What timelines and the admin API call it; one set there by this name replaces it.")]
    carriers: Annotated[
        tuple[str | RouteCarrierTable, ...],
        _says(
            'Names, or tables `{carrier = "north", weight = 3}`: the weights say how often each is first, the others '
            "follow by weight; weight 0 is for failover only."
        ),
    ]
    priority: Annotated[
        int,
        Meta(ge=0, le=1_000_000),
        _says("The matching rule with the lowest number decides, then the first by name."),
    ] = 100
    countries: Annotated[tuple[str, ...], _says("Recipients' countries (ISO 3166, `GB`).")] = ()
    prefixes: Annotated[
        tuple[str, ...], _says("First digits of recipients' numbers (`+447`); one of these or a country is enough.")
    ] = ()
    senders: Annotated[tuple[str, ...], _says("Numbers, short codes and names sent from.")] = ()
    tags: Annotated[tuple[str, ...], _says("Tags of messages.")] = ()
    resources: Annotated[tuple[str, ...], _says("Names of resources.")] = ()
    failover: Annotated[bool, _says("Whether the other carriers are tried when the first is down or refuses.")] = True
    choose: Annotated[
        Literal["weight", "cheapest"],
        _says(
            "Which carrier is first: by `weight`, or the `cheapest` for the number, the others following by price "
            "(docs/guides/prices.md)."
        ),
    ] = "weight"
