"""The definitions as an API server serves them to a real kubectl."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from tests.api.test_resources import CONTROL_PLANE, EXPORTS, IMPORTS, PEER
from tests.kube.lab import Lab, lab

from isthmus.api.crds import crds

pytestmark = [pytest.mark.slow, pytest.mark.kubectl]


@asynccontextmanager
async def cluster_with_definitions(folder: Path) -> AsyncIterator[Lab]:
    """Run an API server with the definitions and the namespaces of two meshes."""
    async with lab(folder) as cluster:
        await cluster.create(yaml.safe_dump_all(crds()))
        for name in ("red-mesh-system", "green-mesh-system"):
            await cluster.create(f"{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}")
        yield cluster


async def test_documented_yaml_is_served(tmp_path: Path) -> None:
    """What the documentation shows is created unchanged, listed by short name and category, and keeps its fields."""
    async with cluster_with_definitions(tmp_path) as cluster:
        for text in (PEER, EXPORTS, IMPORTS, CONTROL_PLANE):
            await cluster.create(text)
        _, listed = await cluster.kubectl("get", "smp,ess,iss,smcp", "-A", "-o", "name")
        assert sorted(listed.split()) == [
            "exportedserviceset.federation.maistra.io/green-mesh",
            "importedserviceset.federation.maistra.io/red-mesh",
            "servicemeshcontrolplane.maistra.io/red-mesh",
            "servicemeshpeer.federation.maistra.io/green-mesh",
        ]
        _, category = await cluster.kubectl("get", "maistra-io", "-A", "-o", "name")
        assert sorted(category.split()) == sorted(listed.split())
        path = "{.spec.tracing.type} {.spec.runtime.defaults.container.imagePullPolicy}"
        _, kept = await cluster.kubectl("get", "smcp", "red-mesh", "-n", "red-mesh-system", "-o", f"jsonpath={path}")
        assert kept == "Jaeger Always"
        _, table = await cluster.kubectl("get", "smp", "-n", "red-mesh-system")
        assert " ".join(table.splitlines()[0].split()) == "NAME READY REASON EXPORTS IMPORTS LAST SYNC AGE"
        _, table = await cluster.kubectl("get", "smp", "-n", "red-mesh-system", "-o", "wide")
        assert "ingress-red-mesh.green-mesh-system.apps.domain.com" in table
        assert "green-mesh.local" in table


async def test_ports_stay_as_written_and_the_chain_gets_its_kind(tmp_path: Path) -> None:
    """The server fills in the kind of the certificate chain, but not the ports."""
    async with cluster_with_definitions(tmp_path) as cluster:
        await cluster.create(PEER.replace("kind: ConfigMap, ", ""))
        arguments = ("get", "smp", "green-mesh", "-n", "red-mesh-system", "-o")
        _, spec = await cluster.kubectl(*arguments, "jsonpath={.spec.remote}|{.spec.security.certificateChain.kind}")
        assert spec == '{"addresses":["ingress-red-mesh.green-mesh-system.apps.domain.com"]}|ConfigMap'


REFUSED = [
    ("[ingress-red-mesh.green-mesh-system.apps.domain.com]", "[]", "spec.remote.addresses"),
    ("[ingress-red", "[https://ingress-red", "spec.remote.addresses[0]"),
    ("trustDomain: green-mesh.local", "trustDomain: green mesh", "spec.security.trustDomain"),
    ("clientID: green", "clientID: spiffe://green", "spec.security.clientID"),
    ("kind: ConfigMap", "kind: Secret", "spec.security.certificateChain.kind"),
    ("remote: {", "remote: {discoveryPort: 65536, ", "spec.remote.discoveryPort"),
    ("remote: {", "remote: {servicePort: 0, ", "spec.remote.servicePort"),
    ("egress: {name: egress-green-mesh}", "", "spec.gateways.egress"),
    ("remote: {", "remote: {port: 8188, ", "spec.remote.port"),
]


async def test_malformed_peers_are_refused_with_the_path(tmp_path: Path) -> None:
    """Each kind of malformed peer is refused when it is created, and the message names the field."""
    async with cluster_with_definitions(tmp_path) as cluster:
        for good, bad, path in REFUSED:
            code, output = await cluster.kubectl("create", "-f", "-", stdin=PEER.replace(good, bad, 1))
            assert (code != 0, path in output) == (True, True), output


async def test_explain_reads_well(tmp_path: Path) -> None:
    """``kubectl explain`` has the description of a field and of what is in it."""
    async with cluster_with_definitions(tmp_path) as cluster:
        code, output = await cluster.kubectl("explain", "servicemeshpeer.spec.remote")
        assert code == 0, output
        text = " ".join(output.split())
        assert "Where the peer's ingress gateway for this mesh is reached." in text
        assert "The port for discovery at these addresses; 8188 if it is left out." in text
