"""Tables: objects as rows, for clients that only show them. Pure.

Source: Kubernetes API concepts, "Receiving resources as Tables"; meta.k8s.io/v1 Table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from isthmus.lab.apiserver.kinds import Resource
from isthmus.lab.apiserver.objects import Object


@dataclass(frozen=True, slots=True)
class TableRequest:
    """A client's wish for a Table: the version of meta.k8s.io, and what of the object goes into each row."""

    version: str
    include: str = "Metadata"


def table_request(accept: str, include: str) -> TableRequest | None:
    """The Table that a client prefers, None when it wants objects."""
    for offer in accept.split(","):
        kind, *parameters = (part.strip() for part in offer.split(";"))
        named = dict(part.partition("=")[::2] for part in parameters)
        if named.get("as") == "Table" and named.get("g") == "meta.k8s.io" and named.get("v") in ("v1", "v1beta1"):
            return TableRequest(named["v"], include or "Metadata")
        if kind in ("application/json", "*/*") and "as" not in named:
            return None
    return None


def table(
    resource: Resource,
    objects: Iterable[Object],
    request: TableRequest,
    *,
    now: datetime,
    metadata: dict[str, Any],
    headed: bool = True,
) -> dict[str, Any]:
    """The Table of some objects; ``headed`` False leaves the column definitions out (later events of a watch)."""
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{request.version}",
        "metadata": metadata,
        "columnDefinitions": [column.definition() for column in resource.columns] if headed else [],
        "rows": [_row(resource, obj, request, now) for obj in objects],
    }


def _row(resource: Resource, obj: Object, request: TableRequest, now: datetime) -> dict[str, Any]:
    row: dict[str, Any] = {"cells": [column.cell(obj, now) for column in resource.columns]}
    if request.include == "Object":
        row["object"] = obj
    elif request.include == "Metadata":
        row["object"] = {
            "kind": "PartialObjectMetadata",
            "apiVersion": f"meta.k8s.io/{request.version}",
            "metadata": obj.get("metadata", {}),
        }
    return row
