"""Base64 that clients write, read as strictly as by Kubernetes: Go's ``encoding/base64``.

Python's own reader takes what this one refuses: padding where none is due (``hush=``), and for the alphabet of URLs any
other character. Pure. Source: RFC 4648 §3.2, §3.3.
"""

from __future__ import annotations

import base64
import re

_PADDED = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_OF_URLS = re.compile(r"[A-Za-z0-9_-]*")
_LINE_ENDS = str.maketrans("", "", "\r\n")


def is_base64(text: str) -> bool:
    """Whether a text is groups of four characters, of which the last one is padded if need be."""
    return len(text) % 4 == 0 and _PADDED.fullmatch(text) is not None


def decode_base64(text: str) -> bytes:
    """The bytes of a text with its padding; ends of lines in it count for nothing. Raises ValueError."""
    joined = text.translate(_LINE_ENDS)
    if not is_base64(joined):
        raise ValueError("illegal base64 data: expected groups of four characters, the last one padded with '='")
    return base64.b64decode(joined)


def decode_base64url(text: str) -> bytes:
    """The bytes of a text in the alphabet of URLs, without padding (RFC 7515 §2). Raises ValueError."""
    if not _OF_URLS.fullmatch(text):
        raise ValueError("illegal base64 data: expected letters, digits, '-' and '_' only")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
