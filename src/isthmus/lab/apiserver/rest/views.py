"""A stored object as one resource shows it: in the asked version, and for a view in the other API's words.

Pure.
"""

from __future__ import annotations

from isthmus.lab.apiserver.kinds import Resource
from isthmus.lab.apiserver.objects import Object, Stored, decode_object, encode_json, with_api_version


def shown(resource: Resource, data: bytes) -> bytes:
    """Stored bytes as the resource shows them."""
    if resource.view:
        return encode_json(resource.view.show(decode_object(data)))
    if resource.storage_version and resource.storage_version != resource.version:
        return with_api_version(data, resource.api_version)
    return data


def shown_object(resource: Resource, stored: Stored) -> Object:
    """The same, decoded."""
    return decode_object(shown(resource, stored.data))


def shown_form(resource: Resource, obj: Object) -> Object:
    """An object as it is stored, in the form that the resource shows."""
    return resource.view.show(obj) if resource.view else obj


def stored_form(resource: Resource, obj: Object) -> Object:
    """An object as a client sent it, in the form that is stored."""
    return resource.view.store(obj) if resource.view else obj
