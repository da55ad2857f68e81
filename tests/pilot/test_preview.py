"""``isthmus preview`` of a set whose status lists less than there is, on a lab's API server."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from tests.kube.lab import Lab, connected

from isthmus.api.crds import crds

pytestmark = pytest.mark.slow
SET = {
    "apiVersion": "federation.maistra.io/v1",
    "kind": "ImportedServiceSet",
    "metadata": {"name": "green-mesh", "namespace": "default"},
    "spec": {"importRules": [{"type": "NameSelector", "nameSelector": {}}]},
}
AS_LOCAL = {"type": "NameSelector", "importAsLocal": True, "nameSelector": {"alias": {"namespace": "default"}}}
JOINED = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "a", "namespace": "default"},
    "spec": {"ports": [{"port": 9080}]},
}
OFFERED = [{"exportedName": f"{name}.bookinfo.svc.red-mesh-exports.local", "localService": {}} for name in "ab"]


async def preview(lab: Lab, file: Path, *options: str) -> str:
    """What the command says."""
    command = [sys.executable, "-m", "isthmus.cli", "preview", "-f", str(file), "--kubeconfig", str(lab.kubeconfig)]
    process = await asyncio.create_subprocess_exec(*command, *options, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    return said.decode()


async def test_services_that_are_not_listed_are_told_of(tmp_path: Path) -> None:
    """What the status has no room for cannot be tried, and that is said in place of a wrong answer."""
    file = tmp_path / "imports.json"
    file.write_text(json.dumps(SET))
    async with connected(tmp_path) as (lab, client):
        await lab.create("\n---\n".join(json.dumps(each) for each in crds()))
        await lab.create(json.dumps({**SET, "spec": {"importRules": []}}))
        status = {"status": {"importedServices": OFFERED, "imported": 0, "offered": 9002}}
        path = "/apis/federation.maistra.io/v1/namespaces/default/importedservicesets/green-mesh/status"
        await client.merge(path, json.dumps(status).encode(), doing="write the status")
        said = await preview(lab, file)
        assert "2 more, 0 less" in said
        assert "? 9000 more services are on offer" in said
        assert json.loads(await preview(lab, file, "-o", "json"))[0]["unlisted"] == 9000


async def test_nothing_is_made_up_of_ports(tmp_path: Path) -> None:
    """What ports a service on offer has, its listing does not tell: nothing is found wrong with joining a Service."""
    file = tmp_path / "imports.json"
    file.write_text(json.dumps({**SET, "spec": {"importRules": [AS_LOCAL]}}))
    async with connected(tmp_path) as (lab, client):
        await lab.create("\n---\n".join(json.dumps(each) for each in (*crds(), JOINED)))
        await lab.create(json.dumps(SET))
        path = "/apis/federation.maistra.io/v1/namespaces/default/importedservicesets/green-mesh/status"
        status = {"status": {"importedServices": OFFERED, "imported": 0, "offered": 2}}
        await client.merge(path, json.dumps(status).encode(), doing="write the status")
        (said,) = json.loads(await preview(lab, file, "-o", "json"))
        assert (len(said["changed"]), said["problems"]) == (2, [])
