"""A stored object as one resource shows it: in the asked version, and for a shared kind in the other API's words.

Pure.
"""

from __future__ import annotations

from isthmus.lab.apiserver.kinds import Resource
from isthmus.lab.apiserver.kinds.events import to_core, to_events
from isthmus.lab.apiserver.objects import Object, Stored, decode_object, encode_json, with_api_version


def is_view(resource: Resource) -> bool:
    """Whether the resource shows objects that are stored in another form."""
    return bool(resource.storage_kind)


def shown(resource: Resource, data: bytes) -> bytes:
    """Stored bytes as the resource shows them."""
    if resource.storage_kind:
        return encode_json(to_events(decode_object(data)))
    if resource.storage_version and resource.storage_version != resource.version:
        return with_api_version(data, resource.api_version)
    return data


def shown_object(resource: Resource, stored: Stored) -> Object:
    """The same, decoded."""
    return decode_object(shown(resource, stored.data))


def stored_form(resource: Resource, obj: Object) -> Object:
    """An object as a client sent it, in the form that is stored."""
    return to_core(obj) if resource.storage_kind else obj
