"""Get and list: what is stored, as objects or as a Table."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from isthmus.lab.apiserver.errors import StatusError, expired, not_found
from isthmus.lab.apiserver.kinds import Resource
from isthmus.lab.apiserver.objects import Key, Stored, encode_json
from isthmus.lab.apiserver.rest.options import Continue, ListOptions
from isthmus.lab.apiserver.rest.tables import TableRequest, table
from isthmus.lab.apiserver.rest.target import Target
from isthmus.lab.apiserver.rest.views import shown, shown_object
from isthmus.lab.apiserver.storage.state import ExpiredError, State


def get_stored(state: State, target: Target) -> Stored:
    """Raises StatusError (404)."""
    stored = state.get(Key(target.resource.storage, target.namespace, target.name))
    if stored is None:
        raise not_found(target.resource.group_resource, target.name)
    return stored


def check_revision(state: State, revision: int | None) -> None:
    """A version from the future can't be served yet. Raises StatusError (504)."""
    if revision is not None and revision > state.revision:
        raise StatusError(
            504,
            "Timeout",
            f"Too large resource version: {revision}, current: {state.revision}",
            details={
                "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
                "retryAfterSeconds": 1,
            },
        )


@dataclass(frozen=True, slots=True)
class Page:
    """Some objects of a list, at one revision. ``token`` continues it, "" at its end."""

    objects: list[Stored]
    revision: int
    token: str = ""
    remaining: int | None = None

    def metadata(self) -> dict[str, Any]:
        out: dict[str, Any] = {"resourceVersion": str(self.revision)}
        if self.token:
            out["continue"] = self.token
            if self.remaining is not None:
                out["remainingItemCount"] = self.remaining
        return out


Sees = Callable[[Stored], bool]
"""Whether who asks may see an object."""


def read_page(state: State, target: Target, options: ListOptions, *, sees: Sees | None = None) -> Page:
    """The objects that a list asks for, those that are seen (None: all). Raises StatusError."""
    check_revision(state, options.revision)
    revision = _revision(state, options)
    try:
        objects = state.listed_at(target.resource.storage, target.namespace, revision)
    except ExpiredError as error:
        why = "The provided continue parameter is too old to display a consistent list result."
        raise expired(why if options.after else str(error)) from error
    if sees is not None:
        objects = [one for one in objects if sees(one)]
    return _cut(_selected(objects, options), revision, options)


def _revision(state: State, options: ListOptions) -> int:
    if options.after is not None:
        return min(options.after.revision, state.revision)
    exact = options.match == "Exact" or (options.limit and options.revision and not options.match)
    return options.revision if exact and options.revision else state.revision


def _selected(objects: list[Stored], options: ListOptions) -> list[Stored]:
    if options.after is not None:
        place = (options.after.namespace, options.after.name)
        objects = objects[bisect_right(objects, place, key=lambda one: (one.key.namespace, one.key.name)) :]
    if options.selection:
        objects = [one for one in objects if options.selection.matches(one)]
    return objects


def _cut(objects: list[Stored], revision: int, options: ListOptions) -> Page:
    if not options.limit or len(objects) <= options.limit:
        return Page(objects, revision)
    last = objects[options.limit - 1].key
    remaining = None if options.selection else len(objects) - options.limit
    token = Continue(revision, last.namespace, last.name).token()
    return Page(objects[: options.limit], revision, token, remaining)


def list_body(resource: Resource, page: Page) -> bytes:
    """A page as a List object; the objects' bytes are spliced in."""
    items = b",".join([shown(resource, one.data) for one in page.objects])
    head = {"kind": resource.list_name, "apiVersion": resource.api_version, "metadata": page.metadata()}
    return encode_json(head)[:-1] + b',"items":[' + items + b"]}"


def list_table(resource: Resource, page: Page, request: TableRequest, *, clock: Callable[[], datetime]) -> bytes:
    """A page as a Table."""
    objects = (shown_object(resource, one) for one in page.objects)
    return encode_json(table(resource, objects, request, now=clock(), metadata=page.metadata()))


def object_table(resource: Resource, stored: Stored, request: TableRequest, *, clock: Callable[[], datetime]) -> bytes:
    """One object as a Table."""
    meta = {"resourceVersion": str(stored.revision)}
    return encode_json(table(resource, [shown_object(resource, stored)], request, now=clock(), metadata=meta))
