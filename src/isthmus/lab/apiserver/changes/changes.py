"""Create, update, delete: from an object that a client sent to a committed revision.

An edge: it reads the state, asks the pure rules, writes, and tries again when somebody wrote in between and the client
did not name the revision it meant.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from secrets import choice

from isthmus.lab.apiserver.admission import Admission
from isthmus.lab.apiserver.changes.apply import Application, applied_new, apply
from isthmus.lab.apiserver.changes.checks import check_object, prune
from isthmus.lab.apiserver.changes.deletion import Verdict, deletion
from isthmus.lab.apiserver.changes.managed import Manager, track
from isthmus.lab.apiserver.changes.metadata import (
    Birth,
    count_generation,
    prepare_create,
    prepare_update,
    rfc3339,
    same_object,
)
from isthmus.lab.apiserver.changes.options import DeleteOptions, WriteOptions
from isthmus.lab.apiserver.errors import (
    RevisionConflictError,
    StatusError,
    StorageRefusedError,
    already_exists,
    bad_request,
    conflict,
    invalid,
    not_found,
    required,
    storage_refused,
)
from isthmus.lab.apiserver.identity.authorize import Authorizer
from isthmus.lab.apiserver.kinds import Resource
from isthmus.lab.apiserver.objects import Key, Object, Stored, decode_object, encode, encode_json, metadata
from isthmus.lab.apiserver.storage import Store, Write

ATTEMPTS = 32
SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(frozen=True, slots=True)
class Outcome:
    """An object after a write: its bytes in the stored version, and what the client is to be warned of."""

    data: bytes
    warnings: tuple[str, ...] = ()
    created: bool = False
    removed: bool = False


def random_suffix() -> str:
    return "".join(choice(SUFFIX_LETTERS) for _ in range(5))


def random_uid() -> str:
    """A version 4 UUID: unique, not secret. ``uuid4`` would make a system call, before which others may go first."""
    return str(uuid.UUID(int=random.getrandbits(128), version=4))


Change = Callable[[Object], Object]
"""From the stored object (the function may change it) to the one that the client wants."""


class Changes:
    """Writes objects of any kind. All methods raise StatusError for what the client did wrong or must retry."""

    def __init__(
        self, store: Store, admission: Admission, authorizer: Authorizer, *, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._admission = admission
        self._authorizer = authorizer
        self._clock = clock

    def key(self, resource: Resource, namespace: str, name: str) -> Key:
        return Key(resource.storage, namespace, name)

    def stored(self, resource: Resource, namespace: str, name: str) -> Stored:
        """The stored object. Raises StatusError (404)."""
        found = self._store.state.get(self.key(resource, namespace, name))
        if found is None:
            raise not_found(resource.group_resource, name)
        return found

    async def create(self, resource: Resource, obj: Object, *, namespace: str, options: WriteOptions) -> Outcome:
        """Store a new object."""
        generated = not metadata(obj).get("name") and bool(metadata(obj).get("generateName"))
        given = encode_json(obj) if generated else b""
        for _ in range(8 if generated else 1):
            try:
                return await self._create(resource, obj, namespace=namespace, options=options)
            except StatusError as error:
                if not generated or error.reason != "AlreadyExists":
                    raise
                obj = decode_object(given)
        raise already_exists(resource.group_resource, str(metadata(obj).get("generateName")))

    async def _create(self, resource: Resource, obj: Object, *, namespace: str, options: WriteOptions) -> Outcome:
        now = self._clock()
        prepare_create(obj, resource, namespace=namespace, birth=Birth(now, random_uid(), random_suffix))
        if not metadata(obj).get("name"):
            raise _name_missing(resource)
        self._admission.check_namespace(resource, namespace, str(metadata(obj)["name"]))
        obj["apiVersion"], obj["kind"] = resource.stored_api_version, resource.kind
        key = self.key(resource, namespace, str(metadata(obj)["name"]))
        if self._store.state.get(key) is not None:
            raise already_exists(resource.group_resource, key.name)
        warnings = check_object(obj, resource, options)
        if options.user is not None:
            self._authorizer.check_grant(options.user, key, obj, None)
        async with self._admission.admit(resource, obj, None):
            _track(obj, None, resource, options, now)
            if options.dry_run:
                return Outcome(encode_json(obj), warnings, created=True)
            try:
                stored = await self._write(Write(key, None, encode(obj)))
            except RevisionConflictError as error:
                raise already_exists(resource.group_resource, key.name) from error
        return Outcome(stored.data, warnings, created=True)

    async def update(self, resource: Resource, key: Key, change: Change, *, options: WriteOptions) -> Outcome:
        """Replace an object by what ``change`` makes of it; tried again unless ``change`` names another revision."""
        for _ in range(ATTEMPTS):
            before = self.stored(resource, key.namespace, key.name)
            try:
                return await self._update(resource, before, change, options)
            except RevisionConflictError:
                continue
        raise conflict(resource.group_resource, key.name)

    async def _update(self, resource: Resource, before: Stored, change: Change, options: WriteOptions) -> Outcome:
        old = before.object()
        wanted = change(before.object())
        self._check_identity(wanted, before, old, resource)
        wanted["apiVersion"], wanted["kind"] = resource.stored_api_version, resource.kind
        new = prepare_update(wanted, old, resource, subresource=options.subresource)
        warnings = check_object(new, resource, options, old=old)
        if options.user is not None:
            self._authorizer.check_grant(options.user, before.key, new, old)
        async with self._admission.admit(resource, new, old, subresource=options.subresource):
            count_generation(new, old, resource)
            _track(new, old, resource, options, self._clock())
            if options.dry_run or same_object(new, old):
                return Outcome(encode(new).at(before.revision), warnings)
            gone = "deletionTimestamp" in metadata(new) and _released(new, resource)
            stored = await self._write(Write(before.key, before.revision, encode(new), deleted=gone))
        return Outcome(stored.data, warnings, removed=gone)

    def _check_identity(self, wanted: Object, before: Stored, old: Object, resource: Resource) -> None:
        meta = metadata(wanted)
        if meta.get("name", before.key.name) != before.key.name:
            raise bad_request(
                f"the name of the object ({meta['name']}) does not match the name on the URL ({before.key.name})"
            )
        if (meta.get("namespace") or before.key.namespace) != before.key.namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        if str(meta.get("resourceVersion") or before.revision) != str(before.revision):
            raise conflict(resource.group_resource, before.key.name)
        uid = metadata(old)["uid"]
        if (given := meta.get("uid") or uid) != uid:
            why = f"Precondition failed: UID in precondition: {given}, UID in object meta: {uid}"
            raise conflict(resource.group_resource, before.key.name, why)

    async def apply(self, resource: Resource, key: Key, wanted: Object, *, options: WriteOptions) -> Outcome:
        """Server-side apply; makes the object when it is not there, unless it is meant by its uid.

        Raises StatusError (409) for conflicts.
        """
        warnings = prune(wanted, resource, options)
        name = options.api_version or resource.api_version
        manager = Manager(options.manager, "Apply", name, options.subresource)
        application = Application(wanted, manager, options.force, rfc3339(self._clock()))
        options = replace(options, applied=True)
        for _ in range(ATTEMPTS):
            try:
                if self._store.state.get(key) is None and not options.subresource:
                    _check_new(wanted, resource, key)
                    obj = applied_new(application, resource)
                    metadata(obj).setdefault("name", key.name)
                    outcome = await self.create(resource, obj, namespace=key.namespace, options=options)
                else:
                    outcome = await self.update(
                        resource, key, lambda live: apply(live, application, resource), options=options
                    )
            except StatusError as error:
                if error.reason != "AlreadyExists":
                    raise
                continue
            return replace(outcome, warnings=warnings)
        raise conflict(resource.group_resource, key.name)

    async def delete(self, resource: Resource, key: Key, options: DeleteOptions) -> Outcome:
        """Delete an object, or mark it as being deleted when finalizers or its grace keep it."""
        for _ in range(ATTEMPTS):
            before = self.stored(resource, key.namespace, key.name)
            _check_preconditions(resource, before, options)
            verdict = deletion(before.object(), resource, options, now=self._clock())
            if options.dry_run or verdict.unchanged:
                return Outcome(before.data, removed=verdict.removed)
            try:
                return await self._delete(before, verdict)
            except RevisionConflictError:
                continue
        raise conflict(resource.group_resource, key.name)

    async def _delete(self, before: Stored, verdict: Verdict) -> Outcome:
        write = Write(before.key, before.revision, encode(verdict.obj), deleted=verdict.removed)
        stored = await self._write(write)
        return Outcome(stored.data, removed=verdict.removed)

    async def _write(self, write: Write) -> Stored:
        try:
            return await self._store.write(write)
        except StorageRefusedError as error:
            raise storage_refused(error) from error


def _track(new: Object, old: Object | None, resource: Resource, options: WriteOptions, now: datetime) -> None:
    """Note who manages what, unless an apply has done so."""
    if options.applied:
        return
    api_version = options.api_version or resource.api_version
    manager = Manager(options.manager, "Update", api_version, options.subresource)
    track(new, old, manager, resource=resource, now=rfc3339(now))


def _name_missing(resource: Resource) -> StatusError:
    return invalid(resource.group_kind, "", [required("metadata.name", "name or generateName is required")])


def _check_new(wanted: Object, resource: Resource, key: Key) -> None:
    if uid := metadata(wanted).get("uid"):
        why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        raise conflict(resource.group_resource, key.name, why)


def _released(obj: Object, resource: Resource) -> bool:
    """Whether an object that is being deleted is kept by nothing any more."""
    if metadata(obj).get("finalizers"):
        return False
    if resource.storage == "namespaces":
        return not (obj.get("spec") or {}).get("finalizers")
    return not metadata(obj).get("deletionGracePeriodSeconds")


def _check_preconditions(resource: Resource, before: Stored, options: DeleteOptions) -> None:
    uid = str(metadata(before.object()).get("uid"))
    if options.uid and options.uid != uid:
        why = f"Precondition failed: UID in precondition: {options.uid}, UID in object meta: {uid}"
        raise conflict(resource.group_resource, before.key.name, why)
    if options.revision and options.revision != str(before.revision):
        why = (
            f"Precondition failed: ResourceVersion in precondition: {options.revision},"
            f" ResourceVersion in object meta: {before.revision}"
        )
        raise conflict(resource.group_resource, before.key.name, why)
