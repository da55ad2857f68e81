"""A folder of clusters driven as their user drives them: ``isthmus lab``, ``kubectl``, names and connections."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.rcode
import yaml

BIN = Path(sys.executable).parent


def eventually(condition: Callable[[], Any], *, within_s: float = 10.0) -> Any:
    """The condition's value as soon as it is true; what it says last is in the failure."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {within_s:g} s; last seen: {value!r}"
        time.sleep(0.01)
    return value


@dataclass(frozen=True, slots=True)
class Machine:
    """All clusters of one folder; ``prefix`` is a command within which all others run, as ``nsenter`` does it."""

    root: Path
    prefix: tuple[str, ...] = ()

    def lab(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run ``isthmus lab``."""
        command = [*self.prefix, str(BIN / "isthmus"), "lab", *args, "--data-dir", str(self.root)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=40, check=False)
        assert result.returncode == 0 or not check, result.stderr + result.stdout
        return result

    def start_lab(self, *args: str) -> subprocess.Popen[str]:
        """Start an ``isthmus lab`` that goes on."""
        command = [*self.prefix, str(BIN / "isthmus"), "lab", *args, "--data-dir", str(self.root)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def up(self, *names: str) -> "list[Cluster]":
        """Start clusters."""
        answer = json.loads(self.lab("up", *names, "--output", "json").stdout)
        return [Cluster(**cluster, prefix=self.prefix) for cluster in answer["clusters"]]


@dataclass(frozen=True, slots=True)
class Cluster:
    """One running cluster, as ``isthmus lab up --output json`` describes it."""

    name: str
    kubeconfig: str
    server: str
    dns: str
    apps_domain: str
    pid: int
    prefix: tuple[str, ...] = ()

    def _kubectl(self, *args: str) -> list[str]:
        return [*self.prefix, str(BIN / "kubectl"), "--kubeconfig", self.kubeconfig, *args]

    def kubectl(self, *args: str, stdin: str = "") -> str:
        """What a kubectl command prints; it must succeed."""
        result = self.try_kubectl(*args, stdin=stdin)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def try_kubectl(self, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run kubectl, whatever becomes of it."""
        command = self._kubectl(*args)
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=30, check=False)

    def start_kubectl(self, *args: str) -> subprocess.Popen[str]:
        """Start a kubectl that goes on."""
        return subprocess.Popen(self._kubectl(*args), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def apply(self, *objects: dict[str, Any]) -> None:
        """Create or change objects."""
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def get(self, *args: str) -> Any:
        """An object or list as kubectl gets it."""
        return json.loads(self.kubectl("get", *args, "-o", "json"))

    def ask(self, name: str, kind: str = "A", *, tcp: bool = False) -> tuple[str, list[str]]:
        """The code and the records that the cluster's name server answers with."""
        host, _, port = self.dns.partition(":")
        query = dns.message.make_query(name, kind)
        send = dns.query.tcp if tcp else dns.query.udp
        response = send(query, host, timeout=5, port=int(port))
        records = sorted(item.to_text() for rrset in response.answer for item in rrset)
        return dns.rcode.to_text(response.rcode()), records


def http_get(host: str, port: int) -> str | None:
    """What a server answers; None if nobody does."""
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/", timeout=5) as answer:
            content: bytes = answer.read()
            return content.decode()
    except OSError:
        return None


def refused(host: str, port: int) -> bool:
    """Whether a connection is refused at once."""
    try:
        with socket.create_connection((host, port), timeout=5):
            return False
    except ConnectionRefusedError:
        return True


def processes_of(root: Path) -> list[str]:
    """The command lines of all processes that belong to a folder of clusters."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdecimal() and int(path.name) != os.getpid():
            try:
                command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                environment = (path / "environ").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if f"isthmus.lab.serve {root}" in command or f"ISTHMUS_LAB_CONTAINER={root}" in environment:
                found.append(command)
    return found
