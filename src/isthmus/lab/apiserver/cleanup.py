"""What the server itself finishes: a CustomResourceDefinition that is deleted goes once its objects are gone.

Level-triggered: it looks at what is there whenever a definition changes, and after a failure a little later.
Source: apiextensions.k8s.io/v1, finalizer ``customresourcecleanup.apiextensions.k8s.io``.
"""

from __future__ import annotations

import asyncio

import structlog

from isthmus.lab.apiserver.admission.definition import CLEANUP
from isthmus.lab.apiserver.changes import DeleteOptions, WriteOptions
from isthmus.lab.apiserver.errors import StatusError
from isthmus.lab.apiserver.kinds import Resource
from isthmus.lab.apiserver.kinds.custom import RESOURCE as DEFINITIONS
from isthmus.lab.apiserver.objects import Object, Stored, metadata
from isthmus.lab.apiserver.rest.services import Services

log = structlog.get_logger("isthmus.lab.apiserver")

LOOK_EVERY_S = 30.0


async def clean_definitions(services: Services) -> None:
    """Remove deleted definitions, objects first; until cancelled or the server stops."""
    state = services.store.state
    watcher = state.watch(DEFINITIONS, "")
    cleaning: set[str] = set()
    try:
        async with asyncio.TaskGroup() as group:
            while not services.stopping.is_set():
                for stored in state.listed(DEFINITIONS):
                    if stored.key.name not in cleaning and _is_leaving(stored):
                        cleaning.add(stored.key.name)
                        work = _clean_once(services, stored, cleaning)
                        group.create_task(work, name=f"remove definition {stored.key.name}")
                await watcher.wait_events(LOOK_EVERY_S)
    finally:
        state.unwatch(watcher)


def _is_leaving(stored: Stored) -> bool:
    meta = metadata(stored.object())
    return "deletionTimestamp" in meta and CLEANUP in (meta.get("finalizers") or ())


async def _clean_once(services: Services, stored: Stored, cleaning: set[str]) -> None:
    try:
        await _clean(services, stored)
    finally:
        cleaning.discard(stored.key.name)


async def _clean(services: Services, stored: Stored) -> None:
    """Delete the objects of one definition, wait for them to go, then let the definition go."""
    name = stored.key.name
    resource = services.registry.by_storage(name)
    definitions = services.registry.by_storage(DEFINITIONS)
    if definitions is None:
        raise LookupError("CustomResourceDefinitions are not served")
    try:
        if resource is not None:
            await _empty(services, resource)
        if services.store.state.count(name) == 0:
            await services.changes.update(
                definitions, stored.key, _released, options=WriteOptions(manager="kube-apiserver")
            )
            log.info("removed a definition", definition=name)
    except StatusError as error:
        log.info("could not remove a definition yet", definition=name, error=error.message)


async def _empty(services: Services, resource: Resource) -> None:
    """Delete every object, and wait until finalizers have let go of those that stay."""
    watcher = services.store.state.watch(resource.storage, "")
    try:
        for stored in services.store.state.listed(resource.storage):
            await services.changes.delete(resource, stored.key, DeleteOptions())
        while services.store.state.count(resource.storage) and not watcher.ended:
            await watcher.wait_events(LOOK_EVERY_S)
    finally:
        services.store.state.unwatch(watcher)


def _released(definition: Object) -> Object:
    meta = metadata(definition)
    meta["finalizers"] = [one for one in meta.get("finalizers") or () if one != CLEANUP]
    return definition
