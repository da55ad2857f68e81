"""The body of a request as an object: JSON, YAML or the kinds that clients send as protobuf; all of it bounded.

Pure: bytes in, object out, or a Status error; never a traceback, whatever comes.
"""

from __future__ import annotations

from typing import Any

import msgspec
import yaml

from isthmus.lab.apiserver.errors import bad_request, too_large, unsupported_media_type
from isthmus.lab.apiserver.rest.protobuf import decode_envelope

BODY_LIMIT = 3 * 1024 * 1024
# Reading YAML takes up to 8 us a byte, and nothing else is answered meanwhile; kubectl and client libraries send JSON.
YAML_LIMIT = 256 * 1024
DEPTH_LIMIT = 128

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
OBJECT_TYPES = (JSON, YAML, PROTOBUF)


def media_type(content_type: str) -> str:
    """The type without its parameters; a body without a type is JSON."""
    return content_type.partition(";")[0].strip().lower() or JSON


def decode_json(body: bytes) -> Any:
    """Any JSON value, at most DEPTH_LIMIT deep. Raises StatusError (400)."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request(f"couldn't read the body as JSON: {error}") from error
    if body.count(b"{") + body.count(b"[") > DEPTH_LIMIT and deeper_than(value, DEPTH_LIMIT):
        raise bad_request(f"couldn't read the body: it is nested more than {DEPTH_LIMIT} deep")
    return value


def deeper_than(value: Any, limit: int) -> bool:
    """Whether a JSON value is nested deeper than that."""
    # Types as decoding makes them, and no others: of a large object ``isinstance`` would take four times as long.
    level = [value] if type(value) is dict or type(value) is list else []
    for _ in range(limit):
        level = [
            below
            for one in level
            for below in (one.values() if type(one) is dict else one)
            if type(below) is dict or type(below) is list
        ]
        if not level:
            return False
    return True


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases (they can make a small text a huge value) and with times left as text."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not accepted")
        return super().compose_node(parent, index)


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def decode_yaml(body: bytes) -> Any:
    """One YAML document as a JSON value. Raises StatusError: 400, or 413 for more than YAML_LIMIT bytes of it."""
    if body.lstrip()[:1] == b"{":
        return decode_json(body)
    if len(body) > YAML_LIMIT:
        raise too_large(YAML_LIMIT, "of YAML; send more than that as JSON")
    try:
        value = yaml.load(body, Loader=_PlainLoader)  # noqa: S506  # derived from SafeLoader
        return decode_json(msgspec.json.encode(value))
    except (yaml.YAMLError, LookupError, AttributeError, RecursionError, ValueError, TypeError) as error:
        # Besides its own error PyYAML raises what befalls it with a value that doesn't fit its tag.
        raise bad_request(f"couldn't read the body as YAML: {error!r}") from error


def decode_body(body: bytes, content_type: str) -> dict[str, Any]:
    """An object. Raises StatusError: 400 when it can't be read, 415 when its type is not known."""
    match media_type(content_type):
        case "application/json":
            value = decode_json(body)
        case "application/yaml":
            value = decode_yaml(body)
        case "application/vnd.kubernetes.protobuf":
            value = decode_envelope(body)
        case _:
            raise unsupported_media_type(OBJECT_TYPES)
    if not isinstance(value, dict):
        raise bad_request("couldn't read the body: expected an object")
    return value
