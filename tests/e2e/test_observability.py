"""What running meshes tell of themselves: metrics that alerts and board rest on, logs without secrets, levels and
formats that change under way."""

import base64
import json
import re
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.deploy.expressions import expressions, selectors
from tests.docs.test_observability import described
from tests.e2e.conftest import Federation, Site, eventually
from tests.prometheus import Series, families, series

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(120)]
SUFFIX = re.compile(r"_(bucket|sum|count)$")
LONGEST_SECRET_LINE = 40
"""Of a secret, any piece of so many characters counts: nobody logs half of a key by chance."""


def scraped(site: Site) -> list[str]:
    """The pages of all pods of a site's mesh, as Prometheus gets them."""
    return [_page(pod) for pod in site.get("pods")["items"]]


def _page(pod: Any) -> str:
    address, name = pod["status"]["podIP"], pod["metadata"]["name"]
    place = "15014/metrics" if name.startswith("istiod-") else "15090/stats/prometheus"
    with urllib.request.urlopen(f"http://{address}:{place}", timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def test_alerts_and_board_ask_for_metrics_that_exist(federation: Federation) -> None:
    """Every metric of every expression is told by some pod, and has the labels that the expression needs."""
    pages = [page for site in federation.sites for page in scraped(site)]
    names = {name for page in pages for name in families(page)}
    told: Series = {key: value for page in pages for key, value in series(page).items()}
    labels: dict[str, set[str]] = {}
    for name, of_series in told:
        labels.setdefault(name, set()).update(key for key, _ in of_series)
    for expression in expressions():
        for selector in selectors(expression):
            assert SUFFIX.sub("", selector.name) in names or selector.name in names, (selector.name, expression)
            if selector.name in labels:
                assert selector.labels <= labels[selector.name], (selector, expression)


def test_every_metric_of_gateways_that_is_described_exists(federation: Federation) -> None:
    """What docs/observability.md says of Envoy's metrics, real Envoys tell: by name and by label."""
    told = {key for site in federation.sites for page in scraped(site) for key in series(page)}
    for name, (_, labels) in described("Metrics of gateways").items():
        found = [{key for key, _ in of_series} for each, of_series in told if SUFFIX.sub("", each) == name]
        assert found, name
        assert set(labels) <= set().union(*found), name


def test_a_healthy_link_raises_no_alarm(federation: Federation) -> None:
    """Of a federation that is whole, the links are up, somebody leads, and nothing is refused."""
    for site in federation.sites:
        told: Series = {}
        for page in scraped(site):
            told |= series(page)
        peer = frozenset({("peer", site.peer)})
        assert told["isthmus_link_watch_up", peer] == told["isthmus_link_remotes", peer] == 1
        assert told["isthmus_leader", frozenset()] == 1
        assert {value for (name, _), value in told.items() if name == "isthmus_gateway_rejects"} == {0}
        ends = "isthmus_certificate_expiry_timestamp_seconds"
        (of_peer,) = [value for (name, of), value in told.items() if name == ends and ("kind", "peer") in of]
        assert 0 < of_peer - time.time() <= 24 * 3600
        assert {value for (name, _), value in told.items() if name == "isthmus_kube_watch_up"} == {1}


@contextmanager
def patched(site: Site, spec: dict[str, Any]) -> Iterator[None]:
    """The site's control plane with this in its spec, for the block."""
    site.kubectl("patch", "smcp", site.mesh, "--type=merge", "-p", json.dumps({"spec": spec}))
    try:
        yield
    finally:
        removed = dict.fromkeys(spec)
        site.kubectl("patch", "smcp", site.mesh, "--type=merge", "-p", json.dumps({"spec": removed}))


def test_logs_change_under_way_and_tell_no_secret(federation: Federation) -> None:
    """Levels and access logs follow the ServiceMeshControlPlane, and no pod restarts for it; with all that debug has to
    say, no line of any pod has a piece of a private key or of a token, and every line on a peer names it."""
    red = federation.red
    pods = {pod["metadata"]["uid"] for pod in red.get("pods")["items"]}
    levels = {"general": {"logging": {"componentLevels": {"default": "debug"}}}}
    access = {"file": {"format": "TEXT %PEER% %DIRECTION% %SERVICE%"}}
    proxy = {"proxy": {"logging": {"level": "debug"}, "accessLogging": access}}
    line = "TEXT green-mesh outbound ratings.bookinfo.svc.red-mesh-exports.local"
    with patched(red, {**levels, **proxy}):
        eventually(lambda: line in red.logs("egress-green-mesh"), what="the access log is text")
        eventually(lambda: '"level":"debug","logger":"envoy.' in red.logs("egress-green-mesh"), what="Envoy tells more")
        red.kubectl("delete", "servicemeshpeer", red.peer)
        red.kubectl("apply", "-f", str(red.files / "servicemeshpeer.yaml"))
        eventually(federation.is_whole, what="whole again, by a log in which all of it is told")
    assert {pod["metadata"]["uid"] for pod in red.get("pods")["items"]} == pods
    eventually(lambda: '"kind":"connection"' in red.logs("egress-green-mesh").rpartition("TEXT ")[2], what="JSON again")
    secrets = set(secret_pieces(federation))
    assert len(secrets) > 10
    for site in federation.sites:
        for name, log in logs(site).items():
            assert "PRIVATE KEY" not in log, name
            assert not re.search(r"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.", log), name
            assert not [piece for piece in secrets if piece in log], name
        assert unnamed_lines(site) == []
        connected = [line for line in site.logs(f"istiod-{site.mesh}").splitlines() if '"peer connected"' in line]
        assert connected
        assert not [line for line in connected if "reconcile_id" in line]


def logs(site: Site) -> dict[str, str]:
    """All that the pods of a site have logged, by namespace and name."""
    pods = site.get("pods", "-A")["items"]
    keys = [(pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod in pods]
    return {f"{space}/{name}": site.kubectl("logs", "-n", space, name).stdout for space, name in keys}


def secret_pieces(federation: Federation) -> Iterator[str]:
    """Lines of the private keys in all Secrets, and signatures of the tokens in the folders of pods."""
    for site in federation.sites:
        for secret in site.get("secrets", "-A")["items"]:
            for value in (secret.get("data") or {}).values():
                yield from _pieces(base64.b64decode(value).decode("ascii", "replace"))
        for path in site.data_dir.rglob("*"):
            if path.is_file() and re.search(r"token", path.name):
                yield from _pieces(path.read_text())


def _pieces(text: str) -> Iterator[str]:
    if "PRIVATE KEY" in text:
        inside = re.findall(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\n(.*?)-----END", text, re.DOTALL)
        yield from (line for block in inside for line in block.splitlines() if len(line) >= LONGEST_SECRET_LINE)
    for token in re.findall(r"eyJ[\w-]+\.[\w-]+\.[\w-]+", text):
        yield token.rpartition(".")[2][:LONGEST_SECRET_LINE]


def unnamed_lines(site: Site) -> list[str]:
    """Lines of the control plane's log that speak of the peer and do not name it as such.

    Its gateways bear its name, and so do the identities that they are given certificates for.
    """
    words = re.compile(rf"(?<![\w-]){re.escape(site.peer)}(?![\w-])")
    lines = site.logs(f"istiod-{site.mesh}").splitlines()
    return [line for line in lines if words.search(line) and site.peer not in str(json.loads(line).get("peer", ""))]


def test_folders_of_pods_hold_what_the_search_is_for(federation: Federation) -> None:
    """The search for secrets in logs is worth something: there are keys and tokens to be found."""
    pieces = list(secret_pieces(federation))
    assert any("=" in piece or "/" in piece or "+" in piece for piece in pieces), "no private key was found"
    tokens = [path for site in federation.sites for path in Path(site.data_dir).rglob("*token*") if path.is_file()]
    assert tokens, "no token was found"
