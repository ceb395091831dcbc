"""Groups as rows: the JSON shape of one, and lines of CSV (RFC 4180) that a spreadsheet opens without running them."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from landline.core import csv_cells, money
from landline.services.insights.model import NO_CARRIER, Figures
from landline.services.insights.questions import Dimension, Group, Place
from landline.services.insights.requests import day_text, hour_text
from landline.wire.insights import DeliverySeconds, Insight

Cell = str | int | float | Decimal | None
_SHARES = (0.5, 0.9, 0.95, 0.99)
_COLUMNS = (
    *("accepted", "segments", "delivered", "segmentsDelivered", "failed", "failedByCode", "pending", "deliveryRate"),
    *("deliverySecondsP50", "deliverySecondsP90", "deliverySecondsP95", "deliverySecondsP99"),
    *("replies", "responseRate", "optOuts", "optOutRate", "cost", "priced"),
)


def insight(by: Sequence[Dimension], place: Place, figures: Figures) -> Insight:
    """One group on the wire."""
    return Insight(
        **_named(by, place),
        accepted=figures.accepted,
        segments=figures.segments,
        delivered=figures.delivered,
        segments_delivered=figures.segments_delivered,
        failed=figures.failed,
        failed_by_code={str(code): count for code, count in figures.failed_by_code.items()},
        pending=figures.pending,
        delivery_rate=_rounded(figures.delivery_rate),
        delivery_seconds=DeliverySeconds(*_seconds(figures)) if figures.times else None,
        replies=figures.replies,
        response_rate=_rounded(figures.response_rate),
        opt_outs=figures.opt_outs,
        opt_out_rate=_rounded(figures.opt_out_rate),
        cost=money.text(figures.cost) if figures.priced else None,
        priced=figures.priced or None,
    )


def header(by: Sequence[Dimension]) -> bytes:
    """The first line of the CSV."""
    return _line([each.value for each in by] + list(_COLUMNS))


def lines(by: Sequence[Dimension], groups: Iterable[Group]) -> bytes:
    """A line of CSV for each group."""
    return b"".join(_line(_cells(by, group.place, group.figures)) for group in groups)


def _cells(by: Sequence[Dimension], place: Place, figures: Figures) -> list[Cell]:
    return [
        *_named(by, place).values(),
        figures.accepted,
        figures.segments,
        figures.delivered,
        figures.segments_delivered,
        figures.failed,
        " ".join(f"{code}:{count}" for code, count in figures.failed_by_code.items()),
        figures.pending,
        _rounded(figures.delivery_rate),
        *(_seconds(figures) if figures.times else [None] * len(_SHARES)),
        figures.replies,
        _rounded(figures.response_rate),
        figures.opt_outs,
        _rounded(figures.opt_out_rate),
        Decimal(money.text(figures.cost)) if figures.priced else None,
        figures.priced,
    ]


def _named(by: Sequence[Dimension], place: Place) -> dict[str, str]:
    return {each.value: _shown(each, value) for each, value in zip(by, place, strict=True)}


def _shown(dimension: Dimension, value: str | int) -> str:
    if isinstance(value, str):
        return NO_CARRIER if dimension is Dimension.CARRIER and not value else value
    return hour_text(value) if dimension is Dimension.HOUR else day_text(value)


def _seconds(figures: Figures) -> list[float]:
    found = [figures.delivery_seconds(share) for share in _SHARES]
    return [float(f"{seconds:.4g}") for seconds in found if seconds is not None]


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 6)


def _line(cells: Sequence[Cell]) -> bytes:
    return (",".join(_cell(cell) for cell in cells) + "\r\n").encode()


def _cell(value: Cell) -> str:
    """Text is always quoted, so that no program that parts by other characters finds a cell inside it."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return str(value)
    return '"' + csv_cells.safe(value).replace('"', '""') + '"'
