"""Who we are: what a kubeconfig says, and what follows when it is refused."""

import json
import sys
from pathlib import Path

import pytest
import yaml
from lightkube.config.models import User, UserExec
from lightkube.resources.core_v1 import Namespace
from tests.kube.lab import lab

from isthmus.kube import connect
from isthmus.kube.credentials import credential_of

_GIVE_TOKEN = """
import json, pathlib, sys
tokens = pathlib.Path(sys.argv[1])
first, *others = json.loads(tokens.read_text())
tokens.write_text(json.dumps(others or [first]))
print(json.dumps({"status": {"token": first}}))
"""


def command(tokens: Path, *given: str) -> dict[str, object]:
    """A command that gives these tokens one after the other."""
    tokens.write_text(json.dumps(given))
    args = ["-c", _GIVE_TOKEN, str(tokens)]
    return {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": sys.executable, "args": args}


async def test_a_token_is_the_same_after_it_was_refused() -> None:
    """What is written in the kubeconfig has no second value: the refusal stands."""
    credential = credential_of(User(token="abc"), Path)
    assert credential is not None
    assert await credential.header() == "Bearer abc"
    assert await credential.header(refused="Bearer abc") == "Bearer abc"


async def test_a_password_is_sent_as_it_is() -> None:
    """Source: RFC 7617, section 2."""
    credential = credential_of(User(username="Aladdin", password="open sesame"), Path)
    assert credential is not None
    assert await credential.header() == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


async def test_a_command_is_asked_again_only_when_its_token_is_refused(tmp_path: Path) -> None:
    """One token serves until the server refuses it."""
    exec_ = UserExec(**command(tmp_path / "tokens", "one", "two"))  # type: ignore[arg-type]
    credential = credential_of(User(exec=exec_), Path)
    assert credential is not None
    assert [await credential.header(), await credential.header()] == ["Bearer one", "Bearer one"]
    assert await credential.header(refused="Bearer one") == "Bearer two"
    assert await credential.header() == "Bearer two"


def test_nobody_in_particular() -> None:
    """A client certificate belongs to the connection: no header is sent."""
    assert credential_of(User(), Path) is None


@pytest.mark.slow
async def test_a_command_of_a_kubeconfig(tmp_path: Path) -> None:
    """A token of a command that has expired is replaced on the way, for lightkube's requests and for our own."""
    async with lab(tmp_path) as cluster:
        config = yaml.safe_load(cluster.kubeconfig.read_text())
        good = config["users"][0]["user"]["token"]
        config["users"][0]["user"] = {"exec": command(tmp_path / "tokens", "expired", good)}
        kubeconfig = tmp_path / "kubeconfig-with-command"
        kubeconfig.write_text(yaml.safe_dump(config))
        async with connect(field_manager="test", kubeconfig=kubeconfig) as client:
            assert await client.read("/api/v1/namespaces", {}, doing="list namespaces")
            await client.api.get(Namespace, "default")
