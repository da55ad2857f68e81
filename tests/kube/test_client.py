"""The connection, against the lab's API server."""

import asyncio
import json
from pathlib import Path

import pytest
import yaml
from blockbuster import blockbuster_ctx
from lightkube.core.exceptions import ConfigError
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Namespace
from tests.kube.lab import Lab, connected, lab, lab_process
from tests.kube.objects import config_map
from tests.waiting import until

from isthmus.aiohttp_transport import LARGE
from isthmus.kube import Apply, Delete, ObjectKey, Reflector, Store, carry_out, connect
from isthmus.kube.errors import AlreadyExists, Denied, NotFound, Refused, Unavailable, translated

pytestmark = pytest.mark.slow


def with_token_file(cluster: Lab, token_file: Path) -> Path:
    """Write a kubeconfig whose token is in a file, as it is in a pod; return the token that it had."""
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    token_file.write_text(config["users"][0]["user"]["token"])
    config["users"][0]["user"] = {"tokenFile": str(token_file)}
    path = cluster.kubeconfig.with_name("kubeconfig-with-token-file")
    path.write_text(yaml.safe_dump(config))
    return path


async def test_token_is_read_again_when_it_is_refused(tmp_path: Path) -> None:
    """A token that was renewed in its file is used, for single requests and for streams, without a new connection."""
    async with lab(tmp_path) as cluster:
        token_file = tmp_path / "token"
        kubeconfig = with_token_file(cluster, token_file)
        good = token_file.read_text()
        token_file.write_text("stale")
        async with connect(field_manager="test", kubeconfig=kubeconfig) as client:
            with pytest.raises(Denied), translated("get Namespace default"):
                await client.api.get(Namespace, "default")
            with pytest.raises(Denied):
                await client.read("/api/v1/namespaces", {}, doing="list namespaces")
            token_file.write_text(good)
            patch = json.dumps({"metadata": {"annotations": {"long": "x" * 2 * LARGE}}}).encode()
            path = "/api/v1/namespaces/default"
            assert b"xxx" in await client.merge(path, patch, doing="merge"), "sent whole, the second time too"
            await client.api.get(Namespace, "default")
            assert await client.read("/api/v1/namespaces", {}, doing="list namespaces")


async def test_errors_say_what_can_be_done(tmp_path: Path) -> None:
    """What the server refuses arrives as the error that tells what to do."""
    async with connected(tmp_path) as (_, client):
        with pytest.raises(NotFound, match="get ConfigMap default/none"), translated("get ConfigMap default/none"):
            await client.api.get(ConfigMap, "none", namespace="default")
        with pytest.raises(AlreadyExists), translated("create Namespace default"):
            await client.api.create(Namespace(metadata=ObjectMeta(name="default")))
        with pytest.raises(Refused), translated("create Namespace"):
            await client.api.create(Namespace(metadata=ObjectMeta(name="Not a name")))
        with pytest.raises(NotFound):
            async with client.stream("/apis/none.example/v1/nones", {"watch": "true"}, doing="watch nones"):
                pass


async def test_server_that_is_not_there(tmp_path: Path) -> None:
    """A server that does not answer is unavailable, which may pass."""
    async with lab(tmp_path) as cluster:
        pass
    async with connect(field_manager="test", kubeconfig=cluster.kubeconfig) as client:
        with pytest.raises(Unavailable, match="list namespaces"):
            await client.read("/api/v1/namespaces", {}, doing="list namespaces")


async def test_missing_configuration(tmp_path: Path) -> None:
    """A kubeconfig that is not there is an error that names it."""
    with pytest.raises(ConfigError, match="nowhere"):
        async with connect(field_manager="test", kubeconfig=tmp_path / "nowhere"):
            pass


async def test_writes_are_carried_out(tmp_path: Path) -> None:
    """What is planned is applied and deleted; applying twice changes nothing, deleting twice is no error."""
    wanted = config_map("a", namespace="default", x="1")
    assert wanted.metadata is not None
    wanted.metadata.resourceVersion = wanted.metadata.uid = None
    async with connected(tmp_path) as (_, client):
        await carry_out(client, [Apply(wanted)])
        first = await client.api.get(ConfigMap, "a", namespace="default")
        await carry_out(client, [Apply(wanted)])
        second = await client.api.get(ConfigMap, "a", namespace="default")
        assert first.metadata is not None
        assert second.metadata is not None
        assert first.data == {"x": "1"}
        assert first.metadata.resourceVersion == second.metadata.resourceVersion
        await carry_out(client, [Delete(wanted), Delete(wanted)])
        with pytest.raises(NotFound), translated("get"):
            await client.api.get(ConfigMap, "a", namespace="default")


async def test_nothing_blocks_the_loop(tmp_path: Path) -> None:
    """Reading the configuration and the token, connecting, listing, watching and writing never block the loop."""
    async with lab_process(tmp_path) as cluster:
        kubeconfig = with_token_file(cluster, tmp_path / "token")
        with blockbuster_ctx():
            store: Store[Namespace] = Store()
            async with (
                connect(field_manager="test", kubeconfig=kubeconfig) as client,
                asyncio.TaskGroup() as group,
            ):
                task = group.create_task(Reflector(client, Namespace, store).run())
                await store.synced.wait()
                await carry_out(client, [Apply(Namespace(metadata=ObjectMeta(name="new")))])
                await until(lambda: store.get(ObjectKey("", "new")) is not None)
                task.cancel()
