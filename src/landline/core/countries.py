"""The country of a phone number, fast enough to be asked for every message: a table of prefixes made of the numbering
plans of `phonenumbers`, entry by entry as numbers come, never more than a thousand entries."""

import re
from dataclasses import dataclass

UNKNOWN = "ZZ"
"""What has no country: short codes and names, satellite and other international numbers, calling codes nobody has.
(ISO 3166-1 leaves ZZ to its users; CLDR's word for an unknown region.)"""

_DIGITS = "0123456789"
_KEY = re.compile(r"\+[0-9]{3}")
_REPEAT = re.compile(r"\{([0-9]+)(?:,([0-9]+))?\}|\?")
_CLASS = re.compile(r"([0-9])-([0-9])")

_Sequence = tuple[str, ...]
"""The digits that may stand at each place of a number."""


@dataclass(frozen=True, slots=True)
class _Shared:
    """Countries that share a calling code and are told apart by what follows it."""

    lengths: tuple[int, ...]
    """Of the prefixes, the longest first."""
    prefixes: dict[str, str]
    main: str


_table: dict[str, str | _Shared] = {}
_shared: dict[int, _Shared] = {}


def country(number: str) -> str:
    """The country (ISO 3166-1 alpha-2) of an E.164 number, by its prefix alone; `ZZ` when it has none.

    Countries that share a calling code are told apart as `phonenumbers.region_code_for_number` does it; a number of
    such a code that is in no country's ranges counts to the code's main country (+1 to US).
    """
    found = _table.get(number[:4])
    if found is None:
        found = _entry(number[:4])
    return found if found.__class__ is str else _of_shared(number, found)  # type: ignore[return-value, arg-type]


def _of_shared(number: str, shared: _Shared) -> str:
    prefixes = shared.prefixes
    for length in shared.lengths:
        found = prefixes.get(number[:length])
        if found is not None:
            return found
    return shared.main


def _entry(key: str) -> str | _Shared:
    """What the table holds for `key`, a `+` and three digits; anything else has no country and gets no entry."""
    if _KEY.fullmatch(key) is None:
        return UNKNOWN
    found = _table[key] = _made(key)
    return found


def _made(key: str) -> str | _Shared:
    import phonenumbers  # its tables are needed when the first number comes, not when the program starts

    for length in (1, 2, 3):  # no calling code begins another (ITU-T E.164 §6.2.1)
        code = int(key[1 : 1 + length])
        regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(code)
        if not regions or key[1] == "0":
            continue
        if len(regions) == 1:
            return regions[0] if regions[0].isalpha() else UNKNOWN  # 001: a code of no country
        shared = _shared.get(code)
        if shared is None:
            shared = _shared[code] = _tell_apart(code, regions)
        mixed = any(prefix.startswith(key) or key.startswith(prefix) for prefix in shared.prefixes)
        return shared if mixed else shared.main
    return UNKNOWN


def _tell_apart(code: int, regions: tuple[str, ...]) -> _Shared:
    prefixes: dict[str, str] = {}
    for region in regions[1:]:
        for sequence in _sequences(code, region):
            for prefix in _prefixes(sequence):
                prefixes.setdefault(f"+{code}{prefix}", region)
    lengths = sorted({len(prefix) for prefix in prefixes}, reverse=True)
    return _Shared(tuple(lengths), prefixes, regions[0])


def _sequences(code: int, region: str) -> list[_Sequence]:
    """What tells `region`'s numbers: its leading digits, or else its numbers that no region before it claims. Those
    shorter than its fixed lines are dialled inside it only (Canada's 310-XXXX is no part of Los Angeles)."""
    from phonenumbers import PhoneMetadata

    plan = PhoneMetadata.metadata_for_region(region)
    assert plan is not None, f"no numbering plan of {region}"
    if plan.leading_digits is not None:
        return _alternatives(plan.leading_digits, 0)[0]
    kinds = [plan.fixed_line, plan.mobile, plan.voip, plan.personal_number, plan.uan, plan.pager]
    kinds += [plan.toll_free, plan.premium_rate, plan.shared_cost, plan.voicemail]
    patterns = [kind.national_number_pattern for kind in kinds if kind and kind.national_number_pattern]
    found = [_alternatives(pattern, 0)[0] for pattern in patterns]
    shortest = max(len(sequence) for sequence in found[0])
    return [each for kind in found for each in kind if len(each) >= shortest and _belongs(code, each, region)]


def _belongs(code: int, sequence: _Sequence, region: str) -> bool:
    import phonenumbers

    sample = phonenumbers.parse(f"+{code}{''.join(digits[0] for digits in sequence)}")
    return phonenumbers.region_code_for_number(sample) == region


def _prefixes(sequence: _Sequence) -> list[str]:
    """All digits that numbers of `sequence` begin with, up to where any digit may follow."""
    while sequence and sequence[-1] == _DIGITS:
        sequence = sequence[:-1]
    prefixes = [""]
    for digits in sequence:
        prefixes = [prefix + digit for prefix in prefixes for digit in digits]
    return prefixes


def _alternatives(pattern: str, at: int) -> tuple[list[_Sequence], int]:
    """What `pattern` matches from `at` on to its end or its closing bracket, and where that is. Numbering plans use
    digits, classes, `\\d`, groups, `|`, `?` and `{n,m}`, nothing else."""
    done: list[_Sequence] = []
    current: list[_Sequence] = [()]
    while at < len(pattern) and pattern[at] != ")":
        if pattern[at] == "|":
            done, current, at = done + current, [()], at + 1
            continue
        atom, at = _atom(pattern, at)
        repeat = _REPEAT.match(pattern, at)
        low = high = 1
        if repeat is not None:
            low, high = (0, 1) if repeat[1] is None else (int(repeat[1]), int(repeat[2] or repeat[1]))
            at = repeat.end()
        current = [head + tail for head in current for tail in _repeated(atom, low, high)]
    return done + current, at


def _atom(pattern: str, at: int) -> tuple[list[_Sequence], int]:
    if pattern[at] == "(":
        inside, end = _alternatives(pattern, at + (3 if pattern.startswith("(?:", at) else 1))
        return inside, end + 1
    if pattern[at] == "[":
        end = pattern.index("]", at)
        return [(_CLASS.sub(_range, pattern[at + 1 : end]),)], end + 1
    if pattern.startswith("\\d", at):
        return [(_DIGITS,)], at + 2
    assert pattern[at] in _DIGITS, f"a numbering plan with {pattern[at]}"
    return [(pattern[at],)], at + 1


def _range(bounds: "re.Match[str]") -> str:
    return _DIGITS[int(bounds[1]) : int(bounds[2]) + 1]


def _repeated(atom: list[_Sequence], low: int, high: int) -> list[_Sequence]:
    found: list[_Sequence] = []
    current: list[_Sequence] = [()]
    for times in range(high + 1):
        if times >= low:
            found += current
        current = [head + tail for head in current for tail in atom]
    return found
