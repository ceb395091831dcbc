"""The figures of a run: each printed when it is taken, all of them summed up as medians and ratios at its end."""

from dataclasses import dataclass
from statistics import median

OURS, THEIRS = "Landline", "Kannel"


@dataclass(frozen=True, slots=True)
class Aim:
    """What issue 3 asks of a figure: `limit` or more, or when `most`, `limit` or less."""

    limit: float
    most: bool = False

    def judged(self, found: float) -> str:
        """The aim and whether `found` meets it."""
        met = found <= self.limit if self.most else found >= self.limit
        return f"aim {'<=' if self.most else '>='} {self.limit:,.12g}: {'met' if met else 'MISSED'}"


def at_least(limit: float) -> Aim:
    """A figure that is to be `limit` or more."""
    return Aim(limit)


def at_most(limit: float) -> Aim:
    """A figure that is to be `limit` or less."""
    return Aim(limit, most=True)


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing measured; `digits` after the point."""

    name: str
    unit: str
    load: str
    digits: int = 0
    aim: Aim | None = None
    ratio_aim: Aim | None = None
    """Of Landline's figure over Kannel's."""

    def text(self, value: float) -> str:
        """`value` as it is shown."""
        return f"{value:,.{self.digits}f}"


class Figures:
    """All runs are kept: none is left out, none is chosen."""

    def __init__(self) -> None:
        self._runs: dict[Figure, dict[str, list[float]]] = {}

    def add(self, figure: Figure, gateway: str, value: float) -> None:
        """Keep and print one."""
        self._runs.setdefault(figure, {}).setdefault(gateway, []).append(value)
        print(f"{gateway}: {figure.name}: {figure.text(value)} {figure.unit} ({figure.load})", flush=True)

    def summary(self) -> None:
        """Print each figure's median and all its runs for each gateway, the ratio, and whether the aim is met."""
        print("\n### Medians (all runs)")
        for figure, runs in self._runs.items():
            shown = [
                f"{gateway} {figure.text(median(values))} ({', '.join(map(figure.text, values))})"
                for gateway, values in runs.items()
            ]
            print(f"- {figure.name}, {figure.unit} [{figure.load}]: {'; '.join(shown)}{self._judged(figure, runs)}")

    def _judged(self, figure: Figure, runs: dict[str, list[float]]) -> str:
        said = ""
        ours = median(runs[OURS]) if OURS in runs else None
        if ours is not None and runs.get(THEIRS) and (theirs := median(runs[THEIRS])):
            ratio = ours / theirs
            said += f"; ratio {ratio:.2f}"
            if figure.ratio_aim is not None:
                said += f" ({figure.ratio_aim.judged(ratio)})"
        if figure.aim is not None and ours is not None:
            said += f"; {figure.aim.judged(ours)}"
        return said
