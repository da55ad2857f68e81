"""A controller made with kopf, run as a process of its own: each Widget gets a ConfigMap that follows its size.

It is an ordinary kopf program: finalizers, status, owner references and a timer, with kopf's own informers beneath.
"""

from __future__ import annotations

import logging
from typing import Any

import kopf
from kubernetes import client, config
from tests.lab.libraries.widgets import API_VERSION, PLURAL


def core() -> Any:
    """The official client, as kopf's documentation pairs them."""
    return client.CoreV1Api()


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    """Log in with KUBECONFIG, and tell Events of nothing but errors."""
    config.load_kube_config()
    settings.posting.level = logging.ERROR
    settings.persistence.finalizer = "tests.example.com/kopf"


@kopf.on.create(API_VERSION, PLURAL)
def created(body: kopf.Body, spec: kopf.Spec, name: str, namespace: str | None, patch: kopf.Patch, **_: Any) -> None:
    """Make the Widget's ConfigMap, and say so in the status."""
    made = {"metadata": {"name": name, "labels": {"by": "kopf"}}, "data": {"size": str(spec["size"])}}
    kopf.adopt(made, owner=body)
    core().create_namespaced_config_map(namespace, made)
    patch.status["size"] = spec["size"]


@kopf.on.update(API_VERSION, PLURAL, field="spec.size")
def resized(new: Any, name: str, namespace: str | None, patch: kopf.Patch, **_: Any) -> None:
    """Let the ConfigMap follow."""
    core().patch_namespaced_config_map(name, namespace, {"data": {"size": str(new)}})
    patch.status["size"] = new


@kopf.on.delete(API_VERSION, PLURAL)
def deleted(name: str, namespace: str | None, **_: Any) -> None:
    """Say goodbye; the ConfigMap goes with its owner."""
    farewell = {"metadata": {"name": f"{name}-gone", "labels": {"by": "kopf"}}}
    core().create_namespaced_config_map(namespace, farewell)
