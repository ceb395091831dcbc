"""What strangers wrote, shown to people: on one line, and so that it rules no terminal."""

import re

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def on_one_line(value: object) -> str:
    """`value` as text that tells the terminal nothing: customers write tags, phones texts, and carriers
    reasons. What would move the cursor, colour or turn round what follows is shown as an escape."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), str(value))
