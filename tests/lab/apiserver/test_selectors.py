"""Label and field selectors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.lab.apiserver.errors import StatusError
from isthmus.lab.apiserver.objects import Key, Stored
from isthmus.lab.apiserver.selectors import fields_match, labels_match, parse_fields, parse_labels

LABELS = {"app": "web", "tier": "front", "n": "5", "empty": "", "example.com/role": "x"}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app=other", False),
        ("app!=other", True),
        ("app!=web", False),
        ("missing!=x", True),
        ("app", True),
        ("missing", False),
        ("!missing", True),
        ("!app", False),
        ("app in (web, other)", True),
        ("app in (other)", False),
        ("app notin (other)", True),
        ("missing notin (x)", True),
        ("app=web,tier=front", True),
        ("app=web,tier=back", False),
        ("app in (a,web),!missing,tier", True),
        ("n>4", True),
        ("n > 5", False),
        ("n<6", True),
        ("empty=", True),
        ("app=", False),
        ("empty in (,x)", True),
        ("example.com/role=x", True),
    ],
)
def test_a_label_selector_matches(selector: str, matches: bool) -> None:
    """Each operator means what the documentation says, also for keys that are not there."""
    assert labels_match(parse_labels(selector), LABELS) is matches


@pytest.mark.parametrize(
    "text", ["a b", "=x", "a in", "a in (", "a in (b", "a,,b", "a,", "n>x", "a=b c", "-a=b", "a=" + "x" * 64]
)
def test_what_is_no_label_selector_is_refused(text: str) -> None:
    """A malformed selector is a 400, not something that happens to match."""
    with pytest.raises(StatusError) as error:
        parse_labels(text)
    assert error.value.code == 400


@given(st.text(max_size=40))
def test_any_text_is_a_selector_or_a_bad_request(text: str) -> None:
    """No text makes the parsers fail in another way than with a 400."""
    for parse in (parse_labels, lambda one: parse_fields(one, supported=("a",), kind="Pod")):
        try:
            parse(text)
        except StatusError as error:
            if error.code != 400:
                raise


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("metadata.name=one", True),
        ("metadata.name!=one", False),
        ("metadata.namespace=shop,metadata.name=one", True),
        ("status.phase=Running", True),
        ("status.phase==Pending", False),
        ("spec.nodeName=", True),
        ("spec.hostNetwork=true", True),
    ],
)
def test_a_field_selector_matches(selector: str, matches: bool) -> None:
    """Absent fields are empty, booleans are words."""
    data = b'{"metadata":{"name":"one"},"spec":{"hostNetwork":true},"status":{"phase":"Running"}}'
    stored = Stored(Key("pods", "shop", "one"), 1, data)
    supported = ("metadata.name", "metadata.namespace", "status.phase", "spec.nodeName", "spec.hostNetwork")
    assert fields_match(parse_fields(selector, supported=supported, kind="Pod"), stored) is matches
