"""What a file of rules would do to the cluster as it is: reads, and lets ``federation.preview`` decide.

Run by the administrator with their own rights, not by the control plane.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml
from lightkube.resources.core_v1 import Namespace, Service

from isthmus.api import ExportedServiceSet, ImportedServiceSet, ServiceMeshMemberRoll
from isthmus.api.members import NAME as MEMBER_ROLL
from isthmus.federation.exports import LocalService
from isthmus.federation.members import Members
from isthmus.federation.preview import Preview, preview_exports, preview_imports
from isthmus.kube import Client, connect
from isthmus.kube.errors import NotFound, translated
from isthmus.pilot.services import local_service

ServiceSet = ExportedServiceSet | ImportedServiceSet
KINDS: dict[str, type[ExportedServiceSet] | type[ImportedServiceSet]] = {
    "ExportedServiceSet": ExportedServiceSet,
    "ImportedServiceSet": ImportedServiceSet,
}
MAX_FILE_BYTES = 4 * 1024 * 1024
_NO_YAML = (yaml.YAMLError, ValueError, KeyError, IndexError, AttributeError, RecursionError)
"""What PyYAML raises: besides its own error whatever befalls it with a value that does not fit its tag (``!!bool x``),
and with text that is nested too deep."""


class PreviewError(Exception):
    """A file cannot be previewed; the message says which, why, and what is expected."""


@dataclass(frozen=True, slots=True)
class Previewed:
    """One set of the files, and what it would do."""

    kind: str
    namespace: str
    name: str
    preview: Preview
    unlisted: int = 0
    """How many services are on offer that the status has no room for, so that nothing is known of them here."""


async def preview(
    files: Iterable[Path], *, kubeconfig: Path | None = None, cluster_domain: str = "cluster.local"
) -> list[Previewed]:
    """What each set in the files would do to the cluster that the kubeconfig names; nothing is written.

    Raises:
        PreviewError: a file cannot be read, or holds no set.
        KubeError: the cluster cannot be read.
    """
    proposed = [each for file in files for each in read_sets(file)]
    async with connect(field_manager="isthmus-preview", kubeconfig=kubeconfig) as client:
        return [await _previewed(client, each, cluster_domain) for each in proposed]


def read_sets(file: Path) -> list[ServiceSet]:
    """The export and import sets in a YAML file; other resources in it are passed over.

    Raises:
        PreviewError: the file cannot be read, is no YAML, has a malformed set, or has none.
    """
    try:
        text = file.read_bytes()[: MAX_FILE_BYTES + 1]
        if len(text) > MAX_FILE_BYTES:
            raise PreviewError(f"{file}: larger than {MAX_FILE_BYTES} bytes")
        documents = [each for each in yaml.safe_load_all(text) if isinstance(each, dict)]
    except OSError as error:
        raise PreviewError(f"{file}: {error.strerror}") from error
    except _NO_YAML as error:
        raise PreviewError(f"{file}: no YAML: {error}") from error
    sets = [_read_set(file, each) for each in documents if str(each.get("kind")) in KINDS]
    if not sets:
        raise PreviewError(f"{file}: holds no ExportedServiceSet and no ImportedServiceSet")
    return sets


def _read_set(file: Path, document: dict[str, Any]) -> ServiceSet:
    try:
        found = msgspec.convert(document, KINDS[document["kind"]])
    except msgspec.ValidationError as error:
        raise PreviewError(f"{file}: {document['kind']}: {error}") from error
    if not found.metadata.name or not found.metadata.namespace:
        raise PreviewError(f"{file}: {document['kind']}: metadata.name and metadata.namespace are needed")
    return found


async def _previewed(client: Client, proposed: ServiceSet, cluster_domain: str) -> Previewed:
    name, namespace, unlisted = proposed.metadata.name or "", proposed.metadata.namespace or "", 0
    if isinstance(proposed, ExportedServiceSet):
        now = await _current(client, ExportedServiceSet, name, namespace)
        found = preview_exports(now, proposed, await _services_of_the_mesh(client, namespace))
    else:
        imports = await _current(client, ImportedServiceSet, name, namespace)
        status = imports.status if imports is not None else None
        offered = [each.exported_name for each in (status.imported_services if status else None) or ()]
        unlisted = max(0, ((status.offered if status else None) or 0) - len(offered))
        found = preview_imports(imports, proposed, offered=offered, cluster_domain=cluster_domain)
    return Previewed(type(proposed).__name__, namespace, name, found, unlisted)


async def _services_of_the_mesh(client: Client, namespace: str) -> list[LocalService]:
    roll = await _current(client, ServiceMeshMemberRoll, MEMBER_ROLL, namespace)
    members = Members.of(roll, system_namespace=namespace)
    labels = await _labels_of_namespaces(client) if members.selectors else {}
    services = await _services(client)
    return [each for each in services if members.include(each.name.namespace, labels.get(each.name.namespace, {}))]


async def _labels_of_namespaces(client: Client) -> dict[str, dict[str, str]]:
    with translated("list Namespaces"):
        found = [each.metadata async for each in client.api.list(Namespace)]
    return {each.name or "": each.labels or {} for each in found if each is not None}


async def _services(client: Client) -> list[LocalService]:
    with translated("list Services"):
        return [local_service(each) async for each in client.api.list(Service, namespace="*")]


async def _current(client: Client, kind: Any, name: str, namespace: str) -> Any:
    """The object as it is; None if there is none of that name, or no such kind."""
    try:
        with translated(f"read {kind.__name__} {namespace}/{name}"):
            return await client.api.get(kind, name, namespace=namespace)
    except NotFound:
        return None
