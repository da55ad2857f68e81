"""Settings of the mesh that take effect without a restart, in a real control plane on a lab's API server."""

import json
from pathlib import Path
from typing import Any

import pytest
import structlog
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.access_loggers.stream.v3 import stream_pb2
from tests.pilot.red import NAMESPACE, peer, red_cluster
from tests.pilot.test_control_plane import INGRESS, gateway
from tests.waiting import until

from isthmus.envoy.message import LISTENER
from isthmus.logs import LEVELS, Levels
from isthmus.pilot.mesh_settings import parse_settings


def settings(**parts: Any) -> str:
    """The ConfigMap that the operator keeps, as YAML."""
    metadata = {"name": "istiod-red-mesh", "namespace": NAMESPACE}
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    return json.dumps({**document, "data": {"logs.json": json.dumps(parts)}})


def access_log(response: Any) -> str:
    """The text format of the discovery listener's access log; JSON if it is none."""
    body = next(each.resource.value for each in response.resources if each.name == "discovery")
    loggers = listener_pb2.Listener.FromString(body).access_log
    (logger,) = (each for each in loggers if each.name == "envoy.access_loggers.stdout")
    written = stream_pb2.StdoutAccessLog.FromString(logger.typed_config.value)
    return str(written.log_format.text_format_source.inline_string) or "JSON"


@pytest.mark.slow
async def test_the_access_log_changes_under_a_gateway(tmp_path: Path) -> None:
    """A gateway that is connected gets its listeners anew with another format; one that cannot be used changes none."""
    async with red_cluster(tmp_path) as red, red.control_plane():
        await red.apply(red.green_root, peer())
        async with gateway(red, INGRESS) as stream:
            await stream.request(LISTENER, metadata={"POD_IP": "127.79.0.20"})
            while not (response := await stream._read()).resources:
                pass
            assert access_log(response) == "JSON"
            await red.apply(settings(proxy={"accessLogging": {"file": {"format": "%ENVIRONMENT(HOME)%"}}}))
            await red.apply(settings(proxy={"accessLogging": {"file": {"format": "%PEER% %KIND%"}}}))
            assert access_log(await stream._read()) == "- refused\n"
            await red.kubectl("delete", "configmap", "istiod-red-mesh")
            assert access_log(await stream._read()) == "JSON"


@pytest.mark.slow
async def test_log_levels_change_under_way(tmp_path: Path) -> None:
    """A component that is set to errors writes nothing less from then on, the others go on; what is none is told."""
    levels = Levels()
    async with red_cluster(tmp_path) as red, red.control_plane(levels=levels):
        by_component = {"kube": "error", "nonsense": "info"}
        with structlog.testing.capture_logs() as told:
            await red.apply(settings(general={"logging": {"componentLevels": by_component}}))
            await until(lambda: levels.least("kube") == LEVELS["error"])
        assert levels.least("pilot") == LEVELS["info"]
        assert [each["components"] for each in told if "components" in each] == [("nonsense",)]
        await red.kubectl("delete", "configmap", "istiod-red-mesh")
        await until(lambda: levels.least("kube") == LEVELS["info"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("{", "Input data was truncated", id="no JSON"),
        pytest.param(
            '{"general": {"logging": {"componentLevels": {"kube": "loud"}}}}', "Invalid enum value", id="level"
        ),
        pytest.param('{"proxy": {"accessLogging": {"file": {"name": "/etc/x"}}}}', "Invalid enum value", id="file"),
        pytest.param(
            '{"proxy": {"accessLogging": {"file": {"format": "%X%"}}}}', "accessLogging.file.format", id="format"
        ),
    ],
)
def test_what_cannot_be_used_is_refused(text: str, says: str) -> None:
    """A level, a file or a format that is none is told by its place."""
    with pytest.raises(ValueError, match=says):
        parse_settings(text)
