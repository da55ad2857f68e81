"""What is read of a cluster for the logs of a peer, with few rights."""

import asyncio
from pathlib import Path

import pytest
import yaml
from tests.cli.test_completion import PEER
from tests.doctor.linking.test_linking import mesh
from tests.kube.lab import Lab, lab

from isthmus.api.crds import crds
from isthmus.doctor.peer_logs import connect_all, sources
from isthmus.kube.errors import Denied

pytestmark = pytest.mark.slow
RIGHTS = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: red-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: red-system}
rules: [{apiGroups: ["*"], resources: ["*"], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader, namespace: red-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: reader, namespace: red-system}]
"""


async def reader(cluster: Lab) -> Path:
    """A kubeconfig of who may read one namespace."""
    _, token = await cluster.kubectl("create", "token", "reader", "-n", "red-system")
    config = yaml.safe_load(await asyncio.to_thread(cluster.kubeconfig.read_text))
    for user in config["users"]:
        user["user"] = {"token": token.strip()}
    path = cluster.kubeconfig.with_name("reader")
    await asyncio.to_thread(path.write_text, yaml.safe_dump(config))
    return path


async def test_who_sees_one_namespace_names_it(tmp_path: Path) -> None:
    """Without the right to see the whole cluster, the peer is found in the namespace that was named, and only so."""
    async with lab(tmp_path) as cluster:
        await cluster.create(yaml.safe_dump_all(crds()))
        await cluster.create("---".join((mesh("red"), PEER.format(name="blue"), RIGHTS)))
        async with connect_all([], await reader(cluster)) as clusters:
            found = sources(await clusters.read("red-system"), "blue", namespace="red-system")
            assert [each.component for each in found] == ["istiod", "e", "i"]
            with pytest.raises(Denied):
                await clusters.read()
