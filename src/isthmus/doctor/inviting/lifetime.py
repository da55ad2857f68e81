"""How long an invitation is good for, as a person writes it. Pure."""

import re
from datetime import timedelta

LONGEST = timedelta(days=7)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_lifetime(text: str) -> timedelta:
    """Read ``90s``, ``15m``, ``2h`` or ``1d``. Raises ValueError: another form, nothing, or more than a week."""
    match = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if match is None:
        raise ValueError(f"lifetime {text!r}: expected a number and one of s, m, h, d, such as 15m")
    lifetime = timedelta(**{_UNITS[match[2]]: int(match[1])})
    if not timedelta() < lifetime <= LONGEST:
        raise ValueError(f"lifetime {text!r}: expected more than nothing, and at most {LONGEST.days}d")
    return lifetime
