"""Text as SMS carries it: alphabets, segments, septet packing and the concatenation header (3GPP TS 23.038, 23.040)."""

from landline.protocols.smstext.alphabet import decode_gsm, encode_gsm
from landline.protocols.smstext.header import Concatenation, Header, MalformedHeader, parse_header
from landline.protocols.smstext.national import of_languages
from landline.protocols.smstext.packing import fill_bits_after, pack, unpack
from landline.protocols.smstext.segmentation import Encoding, Segmentation, encoding, segments, split
from landline.protocols.smstext.smart import smart

__all__ = [
    "Concatenation",
    "Encoding",
    "Header",
    "MalformedHeader",
    "Segmentation",
    "decode_gsm",
    "encode_gsm",
    "encoding",
    "fill_bits_after",
    "of_languages",
    "pack",
    "parse_header",
    "segments",
    "smart",
    "split",
    "unpack",
]
