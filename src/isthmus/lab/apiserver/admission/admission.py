"""The kinds' own rules, by table; and what holds while an object is on its way into the store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from isthmus.lab.apiserver.admission.addresses import ServiceAddresses
from isthmus.lab.apiserver.admission.definition import complete_definition, definition_errors
from isthmus.lab.apiserver.admission.namespace import complete_namespace
from isthmus.lab.apiserver.admission.plain import complete_account, complete_secret, config_map_errors, secret_errors
from isthmus.lab.apiserver.admission.pod import complete_pod, pod_errors
from isthmus.lab.apiserver.admission.service import complete_service, service_errors
from isthmus.lab.apiserver.admission.workload import complete_deployment, complete_replica_set, workload_errors
from isthmus.lab.apiserver.errors import FieldError, forbidden, invalid, not_found
from isthmus.lab.apiserver.kinds import Resource
from isthmus.lab.apiserver.objects import Key, Object, metadata
from isthmus.lab.apiserver.storage import Event, Store

Complete = Callable[[Object, Object | None], None]
"""Completes a new object (the old one is None) or an updated one in place."""

Check = Callable[[Object, Object | None], list[FieldError]]
"""What is wrong with a completed object."""

COMPLETE: Mapping[str, Complete] = {
    "namespaces": complete_namespace,
    "secrets": complete_secret,
    "serviceaccounts": complete_account,
    "services": complete_service,
    "pods": complete_pod,
    "deployments.apps": complete_deployment,
    "replicasets.apps": complete_replica_set,
    "customresourcedefinitions.apiextensions.k8s.io": complete_definition,
}

CHECK: Mapping[str, Check] = {
    "services": service_errors,
    "pods": pod_errors,
    "secrets": secret_errors,
    "configmaps": config_map_errors,
    "deployments.apps": workload_errors,
    "replicasets.apps": workload_errors,
    "customresourcedefinitions.apiextensions.k8s.io": definition_errors,
}


class Admission:
    """Admits objects: completes them in place, or raises StatusError."""

    def __init__(self, store: Store, *, service_cidr: str) -> None:
        self._store = store
        self._addresses = ServiceAddresses(service_cidr)
        for stored in store.state.listed("services"):
            self._addresses.take(stored.object())

    def observe(self, event: Event) -> None:
        """Keep the allocations equal to what is stored."""
        if event.key.resource != "services":
            return
        if event.previous is not None:
            self._addresses.release(event.previous.object())
        if not event.deleted:
            self._addresses.take(event.stored.object())

    def check_namespace(self, resource: Resource, namespace: str, name: str) -> None:
        """New objects need a namespace that is there and stays. Raises StatusError (403, 404)."""
        if not resource.namespaced:
            return
        found = self._store.state.get(Key("namespaces", "", namespace))
        if found is None:
            raise not_found("namespaces", namespace)
        if b'"deletionTimestamp"' in found.data and "deletionTimestamp" in metadata(found.object()):
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise forbidden(resource.group_resource, name, why)

    @asynccontextmanager
    async def admit(
        self, resource: Resource, new: Object, old: Object | None, *, subresource: str = ""
    ) -> AsyncIterator[None]:
        """Complete and check an object; what it was given stays reserved until the block ends.

        Raises StatusError (422) when the object breaks its kind's rules.
        """
        if subresource in ("status", "finalize"):
            yield
            return
        if (complete := COMPLETE.get(resource.storage)) is not None:
            complete(new, old)
        if (check := CHECK.get(resource.storage)) is not None and (errors := check(new, old)):
            raise invalid(resource.group_kind, str(metadata(new).get("name", "")), errors)
        if resource.storage != "services":
            yield
            return
        with self._addresses.allocated(new, old):
            yield
