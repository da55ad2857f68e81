"""Deployments and ReplicaSets: defaults and rules. Pure. Source: Kubernetes API reference, apps/v1."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from isthmus.lab.apiserver.admission.pod import complete_pod_spec, pod_spec_errors
from isthmus.lab.apiserver.errors import FieldError, invalid_value, required
from isthmus.lab.apiserver.objects import Object


def complete_replica_set(new: Object, old: Object | None) -> None:
    _complete(new)
    if old is None:
        new["status"] = {"replicas": 0}


def complete_deployment(new: Object, old: Object | None) -> None:
    """Set the defaults."""
    _complete(new)
    spec = new["spec"]
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    if old is None:
        new["status"] = {}


def _complete(new: Object) -> None:
    spec = new.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    template: dict[str, Any] = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    complete_pod_spec(template.setdefault("spec", {}))


def workload_errors(new: Object, old: Object | None) -> list[FieldError]:
    """Everything wrong with a Deployment or a ReplicaSet."""
    spec = new["spec"]
    return [*_selector_errors(spec, old), *pod_spec_errors(spec["template"]["spec"], "spec.template.spec")]


def _selector_errors(spec: dict[str, Any], old: Object | None) -> Iterator[FieldError]:
    selector = spec.get("selector")
    if not selector:
        yield required("spec.selector")
        return
    if spec["replicas"] < 0:
        yield invalid_value("spec.replicas", spec["replicas"], "must be greater than or equal to 0")
    labels = spec["template"]["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        why = "`selector` does not match template `labels`"
        yield invalid_value("spec.template.metadata.labels", labels, why)
    if old is not None and old["spec"].get("selector") != selector:
        yield invalid_value("spec.selector", selector, "field is immutable")
