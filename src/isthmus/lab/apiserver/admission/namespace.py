"""Namespaces. Pure. Source: Kubernetes documentation, "Namespaces"."""

from __future__ import annotations

from isthmus.lab.apiserver.objects import Object, metadata

NAME_LABEL = "kubernetes.io/metadata.name"


def complete_namespace(new: Object, old: Object | None) -> None:
    """A namespace carries its name as a label, is Active, and is kept by a finalizer until it is emptied."""
    meta = metadata(new)
    meta["labels"] = {**(meta.get("labels") or {}), NAME_LABEL: meta["name"]}
    if old is None:
        new["spec"] = {"finalizers": ["kubernetes"]}
        new["status"] = {"phase": "Active"}
    else:
        new["spec"] = old.get("spec") or {}
