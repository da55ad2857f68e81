"""What a shell offers when one presses Tab."""

import asyncio
import os
import socket
import sys
import time
from pathlib import Path

import pytest
import yaml
from tests.doctor.linking.test_linking import mesh
from tests.kube.lab import Lab, lab

from isthmus.api.crds import crds

PEER = """
apiVersion: federation.maistra.io/v1
kind: ServiceMeshPeer
metadata: {{name: {name}, namespace: red-system}}
spec:
  remote: {{addresses: [a]}}
  gateways: {{ingress: {{name: i}}, egress: {{name: e}}}}
  security: {{trustDomain: t.local, clientID: t.local/ns/a/sa/b}}
"""
BIN = Path(sys.executable).parent
BASH = """
source <(isthmus --show-completion bash)
COMP_WORDS=({words} '{word}')
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_isthmus_completion isthmus
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


async def run(kubeconfig: Path, *command: str, **environment: str) -> tuple[list[str], str]:
    """The lines that a command prints, and what it complains of."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "KUBECONFIG": str(kubeconfig), **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, complaints = await process.communicate()
    return output.decode().split(), complaints.decode()


async def bash(kubeconfig: Path, words: str, word: str = "") -> list[str]:
    """What bash offers for ``word`` after ``words``."""
    offered, complaints = await run(kubeconfig, "bash", "--norc", "-c", BASH.format(words=words, word=word))
    assert complaints == ""
    return offered


@pytest.mark.slow
async def test_bash_offers_names_from_the_cluster(tmp_path: Path) -> None:
    """Meshes, peers, namespaces and contexts, with what was typed before taken into account."""
    async with lab(tmp_path) as cluster:
        await fill(cluster)
        config = cluster.kubeconfig
        (context,) = [each["name"] for each in yaml.safe_load(await asyncio.to_thread(config.read_text))["contexts"]]
        assert await bash(config, "isthmus link") == ["green", "red-system/red", "x/red"]
        assert await bash(config, "isthmus link green", "r") == ["red-system/red"]
        assert await bash(config, "isthmus link green --contexts") == [context]
        assert await bash(config, "isthmus link green --contexts", f"other,{context[:2]}") == [f"other,{context}"]
        assert await bash(config, f"isthmus logs --contexts {context}", "bl") == ["blue"]
        assert await bash(config, "isthmus check -n elsewhere") == []
        assert await bash(config, "isthmus check -n", "red") == ["red-system"]


async def fill(cluster: Lab) -> None:
    """Two meshes of one name, one of another, and two peers."""
    await cluster.create(yaml.safe_dump_all(crds()))
    await cluster.create("---\n".join((mesh("red"), mesh("red", "x"), mesh("green"))))
    await cluster.create("---".join(PEER.format(name=name) for name in ("blue", "green")))


@pytest.mark.slow
async def test_zsh_and_fish_are_told_the_same(tmp_path: Path) -> None:
    """Each in the form in which its script asks."""
    async with lab(tmp_path) as cluster:
        await fill(cluster)
        asked = {"_TYPER_COMPLETE_ARGS": "isthmus logs gr", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
        for shell in ("zsh", "fish"):
            offered, complaints = await run(
                cluster.kubeconfig, "isthmus", **asked, _ISTHMUS_COMPLETE=f"complete_{shell}"
            )
            assert "green" in " ".join(offered), (shell, offered)
            assert "blue" not in " ".join(offered)
            assert complaints == ""


async def test_a_cluster_that_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    """Nothing is offered and nothing complained of, soon, if a server is silent, absent, or not configured."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = tmp_path / "config"
        for port in (silent.getsockname()[1], 1):
            server = {"server": f"https://127.0.0.1:{port}"}
            content = {
                "current-context": "a",
                "clusters": [{"name": "a", "cluster": server}],
                "users": [{"name": "a", "user": {"token": "t"}}],
                "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            }
            await asyncio.to_thread(config.write_text, yaml.safe_dump(content))
            began = time.monotonic()
            assert await bash(config, "isthmus link") == []
            assert time.monotonic() - began < 8
        assert await bash(tmp_path / "nothing", "isthmus logs --contexts") == []
