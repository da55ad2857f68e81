"""Definitions of the shape of others' (Gateway API's, Istio's, cert-manager's): what they allow is taken, and kept."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.lab.apiserver.clients import Kubectl

pytestmark = [pytest.mark.kubectl, pytest.mark.slow]

FOLDER = Path(__file__).parent / "foreign"


async def load(name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A definition, and objects that it allows."""
    text = await asyncio.to_thread((FOLDER / f"{name}.yaml").read_text)
    definition, *objects = yaml.safe_load_all(text)
    return definition, objects


def lines(*objects: dict[str, Any]) -> str:
    return "\n---\n".join(map(json.dumps, objects))


async def defined(kubectl: Kubectl, name: str) -> list[dict[str, Any]]:
    """The objects of a file whose definition is established."""
    definition, objects = await load(name)
    await kubectl("apply", "--server-side", "-f", "-", stdin=lines(definition))
    await kubectl("wait", "--for=condition=established", f"crd/{definition['metadata']['name']}", "--timeout=5s")
    return objects


@pytest.mark.parametrize("name", ["gateway", "mesh", "certificates"])
async def test_what_is_allowed_is_taken(kubectl: Kubectl, name: str) -> None:
    """Objects are created, applied again without a change, applied by the server, and keep all that they had.

    kubectl says "configured" for items of lists that got defaults, and sends them without; nothing changes by it.
    """
    objects = await defined(kubectl, name)
    text = lines(*objects)
    assert (await kubectl("apply", "-f", "-", stdin=text)).count("created") == len(objects)
    versions = ("get", "-f", "-", "-o", "jsonpath={.items[*].metadata.resourceVersion}")
    before = await kubectl(*versions, stdin=text)
    await kubectl("apply", "-f", "-", stdin=text)
    assert await kubectl(*versions, stdin=text) == before
    taking_over = ("apply", "--server-side", "--force-conflicts", "-f", "-")
    assert (await kubectl(*taking_over, stdin=text)).count("applied") == len(objects)
    stored = json.loads(await kubectl("get", "-f", "-", "-o", "json", stdin=text))
    for one, kept in zip(objects, stored["items"], strict=True):
        assert holds(kept["spec"], one["spec"]), (one["spec"], kept["spec"])


def holds(kept: Any, given: Any) -> bool:
    """Whether a value has all of another, and perhaps defaults besides."""
    if isinstance(given, dict):
        return isinstance(kept, dict) and all(name in kept and holds(kept[name], one) for name, one in given.items())
    if isinstance(given, list):
        return len(kept) == len(given) and all(map(holds, kept, given))
    return bool(kept == given)


TCP = {"name": "a", "port": 1, "protocol": "TCP"}
WRONG: dict[str, list[tuple[str, str, dict[str, Any], str]]] = {
    "gateway": [
        ("gateway", "small", {"listeners": [{**TCP, "tls": {"options": {"a": "b"}}}]}, "tls must not be specified"),
        ("gateway", "small", {"listeners": []}, "should have at least 1 items"),
        ("gateway", "small", {"addresses": [{"value": "10.0.0.1"}, {"value": "10.0.0.1"}]}, "values must be unique"),
        ("gateway", "small", {"addresses": [{"value": "a.example.com"}]}, "spec.addresses[0]"),
        ("gateway", "small", {"rules": [{"backendRefs": [{"name": "a"}]}]}, "Must have port for Service reference"),
        ("gateway", "small", {"rules": [{"timeouts": {"request": "1s", "backendRequest": "2s"}}]}, "cannot be longer"),
        ("gateway", "small", {"rules": [{"matches": [{"path": {"value": "a"}}]}]}, "must be an absolute path"),
        ("gateway", "small", {"infrastructure": {"labels": {"a/b/c": "d"}}}, "Label keys must be"),
    ],
    "mesh": [
        ("policy", "none", {"jwtRules": [{"issuer": "a", "jwksUri": "ftp://a"}]}, "url must have scheme"),
        ("policy", "none", {"jwtRules": [{"issuer": "a", "timeout": "1us"}]}, "must be a valid duration"),
        ("policy", "none", {"provider": {}, "workloads": []}, "must validate one and only one schema (oneOf)"),
        ("policy", "none", {"selector": {"matchLabels": {"a": "*"}}}, "wildcard not allowed in label value"),
        ("policy", "none", {"ports": {"0": 1}}, "key must be between"),
        ("policy", "none", {"maxRequests": 1.5}, "spec.maxRequests"),
    ],
    "certificates": [
        ("cert", "small", {"usages": ["signing", "signing"]}, 'Duplicate value: "signing"'),
        ("cert", "small", {"resources": {"cpu": "much"}}, "spec.resources.cpu"),
        ("cert", "small", {"template": {"spec": {}}}, "spec.template"),
        ("cert", "small", {"keystores": {"pkcs12": {}}}, "spec.keystores.pkcs12.create: Required value"),
    ],
}


@pytest.mark.parametrize("name", WRONG)
async def test_what_is_not_allowed_is_refused(kubectl: Kubectl, name: str) -> None:
    """What breaks a rule is refused in its words."""
    await kubectl("apply", "-f", "-", stdin=lines(*await defined(kubectl, name)))
    for kind, one, spec, said in WRONG[name]:
        refused = await kubectl.run("patch", kind, one, "--type=merge", "-p", json.dumps({"spec": spec}))
        assert refused.code == 1, spec
        assert said in refused.err


async def test_versions_and_columns(kubectl: Kubectl) -> None:
    """Both versions show the object; a deprecated one warns; columns, categories and short names are as defined."""
    await kubectl("apply", "-f", "-", stdin=lines(*await defined(kubectl, "gateway")))
    old = await kubectl.run("get", "gateways.v1beta1.gateway.example.com", "web")
    assert (old.code, "The v1beta1 version of Gateway is deprecated" in old.err) == (0, True)
    assert "Warning" not in (await kubectl.run("get", "gtw", "web")).err
    status = {"status": {"conditions": [condition("Programmed")], "addresses": [{"value": "10.0.0.1"}]}}
    await kubectl("patch", "gtw", "web", "--subresource=status", "--type=merge", "-p", json.dumps(status))
    rows = [line.split()[:4] for line in (await kubectl("get", "gateway-api")).splitlines()]
    assert rows[0] == ["NAME", "CLASS", "ADDRESS", "PROGRAMMED"]
    assert rows[2] == ["web", "mesh", "10.0.0.1", "True"]


def condition(name: str) -> dict[str, Any]:
    return {"type": name, "status": "True", "reason": "Ok", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}


async def test_fields_and_scale(kubectl: Kubectl) -> None:
    """Declared fields can be selected on, others not; ``scale`` changes what the definition says."""
    await kubectl("apply", "-f", "-", stdin=lines(*await defined(kubectl, "certificates")))
    chosen = await kubectl("get", "certs", "--field-selector=spec.issuerRef.name=ca", "-o", "name")
    assert chosen == "certificate.certs.example.com/web\n"
    assert "not supported" in (await kubectl.run("get", "certs", "--field-selector=spec.secretName=s")).err
    await kubectl("scale", "cert/web", "--replicas=3")
    assert (await kubectl.json("get", "cert", "web"))["spec"]["copies"] == 3
