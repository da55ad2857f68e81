"""What may be a name, a label, an annotation key. Pure.

Source: Kubernetes documentation, "Object Names and IDs" and "Labels and Selectors"; RFC 1123. Each check returns the
rule that is broken, in the words clients know, or "".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from isthmus.lab.apiserver.errors import FieldError, forbidden_field, invalid_value

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = rf"({_QUALIFIED})?"
_DNS1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"

ANNOTATIONS_LIMIT = 256 * 1024


def dns_label_error(text: str) -> str:
    """RFC 1123 label: namespaces, pods' containers, ports."""
    if len(text) > 63:
        return "must be no more than 63 characters"
    if re.fullmatch(_LABEL, text):
        return ""
    return (
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end"
        " with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is"
        " '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
    )


def dns1035_error(text: str) -> str:
    """RFC 1035 label: Services."""
    if len(text) > 63:
        return "must be no more than 63 characters"
    if re.fullmatch(_DNS1035, text):
        return ""
    return (
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic"
        " character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation"
        " is '[a-z]([-a-z0-9]*[a-z0-9])?')"
    )


def subdomain_error(text: str) -> str:
    """RFC 1123 subdomain: most names."""
    if len(text) > 253:
        return "must be no more than 253 characters"
    if re.fullmatch(_SUBDOMAIN, text):
        return ""
    return (
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start"
        " and end with an alphanumeric character (e.g. 'example.com', regex used for validation is"
        r" '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    )


def path_segment_error(text: str) -> str:
    """Names of roles and bindings: anything that fits one segment of a path."""
    if text in (".", ".."):
        return f"may not be '{text}'"
    for character in "/%":
        if character in text:
            return f"may not contain '{character}'"
    return ""


def label_key_error(text: str) -> str:
    """A label's or annotation's key: an optional DNS prefix and a name."""
    prefix, slash, name = text.rpartition("/")
    if slash and ("/" in prefix or subdomain_error(prefix)):
        return f"prefix part {subdomain_error(prefix)}"
    if not name:
        return "name part must be non-empty"
    if len(name) > 63:
        return "name part must be no more than 63 characters"
    if re.fullmatch(_QUALIFIED, name):
        return ""
    return (
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an"
        " alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is"
        " '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
    )


def label_value_error(text: str) -> str:
    if len(text) > 63:
        return "must be no more than 63 characters"
    if re.fullmatch(_LABEL_VALUE, text):
        return ""
    return (
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start"
        " and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for"
        " validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
    )


NAME_RULES = {
    "subdomain": subdomain_error,
    "label": dns_label_error,
    "dns1035": dns1035_error,
    "path": path_segment_error,
}
"""The rules that the table of kinds names."""


def metadata_errors(meta: Mapping[str, Any], *, name_rule: str) -> list[FieldError]:
    """Everything wrong with an object's name, labels, annotations and finalizers; the types are known to be right."""
    errors = []
    name = meta.get("name", "")
    if problem := NAME_RULES[name_rule](name):
        errors.append(invalid_value("metadata.name", name, problem))
    errors += _labels_errors(meta.get("labels") or {})
    errors += _annotations_errors(meta.get("annotations") or {})
    for finalizer in meta.get("finalizers") or ():
        if problem := label_key_error(finalizer):
            errors.append(invalid_value("metadata.finalizers", finalizer, problem))
    return errors


def _labels_errors(labels: Mapping[str, str]) -> list[FieldError]:
    errors = []
    for key, value in labels.items():
        if problem := label_key_error(key):
            errors.append(invalid_value("metadata.labels", key, problem))
        if problem := label_value_error(value):
            errors.append(invalid_value("metadata.labels", value, problem))
    return errors


def _annotations_errors(annotations: Mapping[str, str]) -> list[FieldError]:
    errors = [
        invalid_value("metadata.annotations", key, problem)
        for key in annotations
        if (problem := label_key_error(key.lower()))
    ]
    if sum(len(key) + len(value) for key, value in annotations.items()) > ANNOTATIONS_LIMIT:
        errors.append(forbidden_field("metadata.annotations", f"may not be more than {ANNOTATIONS_LIMIT} bytes"))
    return errors
