"""Base64 as Go's ``encoding/base64`` reads it."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.lab.apiserver.base64_text import decode_base64, decode_base64url


@given(st.binary())
def test_what_is_written_is_read(content: bytes) -> None:
    """With padding in the usual alphabet, without it in that of URLs; ends of lines are no part of it."""
    text = base64.b64encode(content).decode()
    assert decode_base64(text) == content
    assert decode_base64("\r\n".join([text[:5], text[5:], ""])) == content
    assert decode_base64url(base64.urlsafe_b64encode(content).decode().rstrip("=")) == content


@pytest.mark.parametrize(
    "text", ["a", "ab", "ab=", "hush=", "hush==", "hush====", "YQ==YQ==", "YQ== ", "=", "a-b_", "é==="]
)
def test_what_is_no_base64(text: str) -> None:
    """Groups that are not whole, padding that is not due or not last, and foreign characters are refused."""
    with pytest.raises(ValueError, match="base64"):
        decode_base64(text)


@pytest.mark.parametrize("text", ["a", "YQ==", "YQ=", "a+b/", "ab!c", "ab c", "ab\n", "é"])
def test_what_is_no_base64_of_urls(text: str) -> None:
    """Padding and foreign characters are refused, also such as would not change what is read."""
    with pytest.raises(ValueError, match=r"base64|number of data characters"):
        decode_base64url(text)
