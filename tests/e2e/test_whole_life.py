"""A federation from its first resource to its last: in any order, with every field changed, and nothing left behind."""

import http.client
import json
import os
import signal
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import dns.message
import dns.query
import pytest
from tests.e2e.conftest import Federation, Site, eventually

from isthmus.identity import Authority, TrustDomain

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(120)]
Resource = dict[str, Any]
SOON_S = 10.0
"""Two seconds are the aim; a machine that runs six Envoys on two cores gets more."""


@dataclass
class Life:
    """The federation of red and green, and its resources as they were before the test."""

    federation: Federation
    saved: dict[tuple[str, str], Resource] = field(default_factory=dict)

    @property
    def red(self) -> Site:
        return self.federation.red

    @property
    def green(self) -> Site:
        return self.federation.green

    def save(self) -> None:
        for site in self.federation.sites:
            for kind in kinds(site):
                found = site.kubectl("get", kind, name(site, kind), "-o", "json", check=False)
                if found.returncode == 0:
                    self.saved[site.name, kind] = as_given(json.loads(found.stdout))

    def restore(self) -> None:
        """As it was, whatever was changed, added or deleted."""
        for (site_name, _), resource in self.saved.items():
            site = self.red if site_name == "red" else self.green
            eventually(partial(put, site, json.dumps(resource)))

    def create(self, site: Site, kind: str) -> None:
        if (resource := self.saved.get((site.name, kind))) is not None:
            site.kubectl("create", "-f", "-", stdin=json.dumps(resource))

    def delete(self, site: Site, kind: str) -> None:
        site.kubectl("delete", kind, name(site, kind), "--ignore-not-found")

    def service(self) -> Resource:
        """The Service that stands for ratings in red; empty if there is none."""
        found = self.red.get("services", "-A", "-l", "isthmus.io/peer=green-mesh")["items"]
        return found[0] if found else {}

    def hostname(self) -> str:
        """The name by which clients in red know ratings; empty if there is none."""
        return str(self.service().get("metadata", {}).get("annotations", {}).get("isthmus.io/hostname", ""))

    def is_named(self, hostname: str) -> bool:
        """Whether red's control plane answers for the name."""
        server = self.red.get("service", "istiod-red-mesh")["spec"]["clusterIP"]
        return bool(dns.query.udp(dns.message.make_query(hostname, "A"), server, timeout=5).answer)

    @contextmanager
    def open_connection(self) -> Iterator[socket.socket]:
        """A connection from red to ratings in green, over which a request was answered; it stays open."""
        address = self.service()["spec"]["clusterIP"]
        opened: list[socket.socket] = []
        with ExitStack() as stack:

            def is_answered() -> bool:
                connection = stack.enter_context(socket.create_connection((address, 9080), timeout=5))
                opened.append(connection)
                return serves(connection)

            eventually(is_answered, what="ratings answers")
            opened[-1].setblocking(False)
            yield opened[-1]


def serves(connection: socket.socket) -> bool:
    """Whether a request over it is answered, to the last byte."""
    with suppress(OSError, http.client.HTTPException):
        connection.sendall(b"GET /ratings/1 HTTP/1.1\r\nhost: ratings\r\n\r\n")
        with http.client.HTTPResponse(connection) as response:
            response.begin()
            return response.status == 200 and bool(response.read())
    return False


def put(site: Site, text: str) -> bool:
    """Replace or create; false when the resource was written meanwhile, as its status is."""
    verbs = ("replace", "create")
    return any(site.kubectl(verb, "-f", "-", stdin=text, check=False).returncode == 0 for verb in verbs)


def name(site: Site, kind: str) -> str:
    return f"{site.peer}-ca-root-cert" if kind == "configmap" else site.peer


def kinds(site: Site) -> tuple[str, ...]:
    own = "exportedserviceset" if site.name == "green" else "importedserviceset"
    return ("servicemeshpeer", own, "configmap")


def as_given(resource: Resource) -> Resource:
    metadata = {key: resource["metadata"][key] for key in ("name", "namespace")}
    return {**{key: value for key, value in resource.items() if key != "status"}, "metadata": metadata}


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(65536) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


@pytest.fixture
def life(federation: Federation) -> Iterator[Life]:
    built = Life(federation)
    built.save()
    yield built
    built.restore()


ORDERS = {
    "rules, peers, roots": ("set", "servicemeshpeer", "configmap"),
    "peers, roots, rules": ("servicemeshpeer", "configmap", "set"),
    "roots, rules, peers": ("configmap", "set", "servicemeshpeer"),
}


def steps(life: Life, order: Sequence[str]) -> list[tuple[Site, str]]:
    """Kind after kind, in both meshes."""
    sites = life.federation.sites
    return [(site, kinds(site)[1] if kind == "set" else kind) for kind in order for site in sites]


@pytest.mark.parametrize("order", ORDERS)
def test_it_is_deleted_and_created_in_any_order(life: Life, order: str) -> None:
    """Whatever goes first, nothing is left in the end; whatever comes first, it is whole in the end."""
    hostname = life.hostname()
    assert life.is_named(hostname)
    address = _balancer(life.green, "ingress-red-mesh")
    assert answers(address, 15443)
    with life.open_connection() as connection:
        for site, kind in steps(life, ORDERS[order]):
            life.delete(site, kind)
        eventually(lambda: is_closed(connection), within_s=SOON_S, what="the open connection is closed")
    eventually(lambda: not life.service(), within_s=SOON_S, what="the Service is gone")
    assert life.red.get("endpointslices", "-A", "-l", "isthmus.io/peer=green-mesh")["items"] == []
    assert not life.is_named(hostname)
    eventually(lambda: not answers(address, 15443), within_s=SOON_S, what="green's ingress listens to nobody")
    eventually(lambda: discovery_status(address) == 404, within_s=SOON_S, what="whoever asks is told so")
    for site, kind in steps(life, ORDERS[order]):
        life.create(site, kind)
    eventually(life.federation.is_whole, within_s=20, what="whole again")
    assert life.hostname() == hostname


def answers(address: str, port: int) -> bool:
    """Whether anybody is behind the port: a load balancer closes what it cannot pass on."""
    try:
        with socket.create_connection((address, port), timeout=1) as connection:
            connection.settimeout(0.3)
            return connection.recv(1) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


def discovery_status(address: str) -> int:
    """What discovery tells a stranger without a certificate; 0 if it tells nothing."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(address, 8188, timeout=2, context=context)
    try:
        connection.request("GET", "/v1/watch")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def _withdrawn(life: Life) -> None:
    life.delete(life.green, "exportedserviceset")


def _no_rules(life: Life) -> None:
    life.delete(life.red, "importedserviceset")


def _untrusted_here(life: Life) -> None:
    life.delete(life.red, "configmap")


@pytest.mark.parametrize("take", [_withdrawn, _no_rules, _untrusted_here])
def test_what_is_open_ends_with_the_share(life: Life, take: Callable[[Life], None]) -> None:
    """An export that is withdrawn, an import that goes, a peer whose root the calling mesh takes away: what is open
    ends on both sides, and is served again when it is as before."""
    with life.open_connection() as connection:
        take(life)
        eventually(lambda: is_closed(connection), within_s=SOON_S, what="the open connection is closed")
    life.restore()
    eventually(life.federation.is_whole, what="whole again")
    with life.open_connection():
        pass


def _other_client(life: Life) -> None:
    client = "red-mesh.local/ns/red-mesh-system/sa/someone-else"
    life.green.patch_peer(security={"clientID": client})


def _foreign_root(life: Life) -> None:
    _set_roots(life.green, foreign_root())


def _no_root(life: Life) -> None:
    life.delete(life.green, "configmap")


def _no_peer(life: Life) -> None:
    life.delete(life.green, "servicemeshpeer")


@pytest.mark.parametrize("take", [_other_client, _foreign_root, _no_root, _no_peer])
def test_who_loses_the_right_loses_what_is_open(life: Life, take: Callable[[Life], None]) -> None:
    """Another client, another root, no root, no peer: connections end, new ones fail, and nothing was restarted."""
    with life.open_connection() as connection:
        take(life)
        eventually(lambda: is_closed(connection), within_s=SOON_S, what="the open connection is closed")
    eventually(lambda: life.federation.last_answer()["status"] == 0, within_s=SOON_S)
    eventually(life.red.inactive_cause, within_s=SOON_S, what="red says why")
    life.restore()
    eventually(life.federation.is_whole, what="whole again")


def foreign_root() -> str:
    return Authority.self_signed(TrustDomain("red-mesh.local"), now=datetime.now(UTC)).root_cert_pem.decode()


def _set_roots(site: Site, pem: str) -> None:
    patch = json.dumps({"data": {"root-cert.pem": pem}})
    site.kubectl("patch", "configmap", f"{site.peer}-ca-root-cert", "--type=merge", "-p", patch)


def test_a_second_root_cuts_nothing(life: Life) -> None:
    """A rotation's first half: the new root beside the old one; the link is made anew, connections stay."""
    roots = life.saved["green", "configmap"]["data"]["root-cert.pem"]
    before = life.green.discovery_status()["active"]
    with life.open_connection() as connection:
        _set_roots(life.green, roots + foreign_root())
        eventually(lambda: life.green.discovery_status()["active"] != before, what="green has taken it up")
        eventually(life.federation.is_whole, what="whole with two roots")
        assert not is_closed(connection)
        connection.settimeout(5)
        assert serves(connection)


def test_another_way_to_the_peer(life: Life) -> None:
    """Addresses and ports: by node and node ports instead of a load balancer's name, then by the balancer's address."""
    ports = {each["name"]: each["nodePort"] for each in life.green.get("service", "ingress-red-mesh")["spec"]["ports"]}
    node = life.green.get("nodes")["items"][0]["status"]["addresses"]
    address = next(each["address"] for each in node if each["type"] == "InternalIP")
    remote = {"addresses": [address], "discoveryPort": ports["https-discovery"], "servicePort": ports["tls"]}
    life.red.patch_peer(remote=remote)
    eventually(lambda: reaches(life, f"{address}:{ports['tls']}"), what="requests go by node ports")
    eventually(life.federation.is_whole, what="whole by node ports")
    balancer = _balancer(life.green, "ingress-red-mesh")
    life.red.patch_peer(remote={"addresses": [balancer], "discoveryPort": None, "servicePort": None})
    eventually(lambda: reaches(life, f"{balancer}:15443"), what="requests go to the balancer")
    eventually(life.federation.is_whole, what="whole by the balancer's address")


def reaches(life: Life, upstream: str) -> bool:
    """Whether the last connection that red's egress gateway has closed went to this address."""
    lines = [json.loads(line) for line in life.red.logs("egress-green-mesh").splitlines() if line.startswith("{")]
    return bool([line.get("upstream") for line in lines if line.get("kind") == "connection"][-1] == upstream)


def test_another_gateway_pair(life: Life) -> None:
    """Both meshes change their gateways for the peer; the peers follow with the client's identity and the address."""
    for site, kind, gateway in ((life.red, "Egress", "egress-two"), (life.green, "Ingress", "ingress-two")):
        _add_gateway(site, kind, gateway)
    try:
        life.red.patch_peer(gateways={"egress": {"name": "egress-two"}})
        client = "red-mesh.local/ns/red-mesh-system/sa/egress-two-service-account"
        life.green.patch_peer(gateways={"ingress": {"name": "ingress-two"}}, security={"clientID": client})
        life.red.patch_peer(remote={"addresses": [_balancer(life.green, "ingress-two")]})
        eventually(life.federation.is_whole, what="whole over the other gateways")
        with life.open_connection():
            pass
        eventually(lambda: "/sa/egress-two-service-account" in life.green.logs("ingress-two"))
    finally:
        life.restore()
        for site, kind, gateway in ((life.red, "Egress", "egress-two"), (life.green, "Ingress", "ingress-two")):
            patch = json.dumps({"spec": {"gateways": {f"additional{kind}": {gateway: None}}}})
            site.kubectl("patch", "servicemeshcontrolplane", site.mesh, "--type=merge", "-p", patch)


def _add_gateway(site: Site, kind: str, gateway: str) -> None:
    ports = [{"port": 15443, "name": "tls"}, {"port": 8188, "name": "discovery"}]
    label = {f"federation.maistra.io/{kind.lower()}-for": gateway}
    service: Resource = {"metadata": {"labels": label}, "ports": ports}
    if kind == "Ingress":
        service["type"] = "LoadBalancer"
    patch = json.dumps({"spec": {"gateways": {f"additional{kind}": {gateway: {"enabled": True, "service": service}}}}})
    site.kubectl("patch", "servicemeshcontrolplane", site.mesh, "--type=merge", "-p", patch)
    eventually(lambda: site.kubectl("get", "deployment", gateway, check=False).returncode == 0)
    site.kubectl("wait", "--for=condition=Available", f"deployment/{gateway}", "--timeout=30s")


def _balancer(site: Site, service: str) -> str:
    address: str = site.get("service", service)["status"]["loadBalancer"]["ingress"][0]["ip"]
    return address


def test_another_name(life: Life) -> None:
    """An alias of the exporter and a domain suffix of the importer change the name; the former one is gone."""
    before = life.hostname()
    rule = {"namespace": "bookinfo", "name": "ratings", "alias": {"namespace": "shop", "name": "stars"}}
    _patch_rules(life.green, "exportRules", [{"type": "NameSelector", "nameSelector": rule}])
    star = {"namespace": "shop", "name": "stars"}
    _patch_rules(
        life.red, "importRules", [{"type": "NameSelector", "nameSelector": star, "domainSuffix": "green.example"}]
    )
    eventually(lambda: life.hostname() == "stars.shop.green.example", what="the new name is imported")
    eventually(lambda: not life.is_named(before), within_s=SOON_S)
    assert life.is_named("stars.shop.green.example")
    with life.open_connection():
        pass


def _patch_rules(site: Site, rules: str, value: list[Resource]) -> None:
    kind = kinds(site)[1]
    site.kubectl("patch", kind, site.peer, "--type=merge", "-p", json.dumps({"spec": {rules: value}}))


def test_restarted_control_planes_cut_nothing(life: Life) -> None:
    """Kill -9 of both control planes: connections that are open stay open, through both gateways."""
    with life.open_connection() as connection:
        for site in life.federation.sites:
            restarts = pilot_restarts(site)
            os.kill(site.process("pilot", site.mesh), signal.SIGKILL)
            eventually(partial(has_restarted, site, restarts), what=f"the control plane of {site.name} is back")
        eventually(life.federation.is_whole, what="whole again")
        connection.settimeout(2)  # gateways close what they were told to close after one second
        with pytest.raises(TimeoutError):
            connection.recv(1)
        assert serves(connection)


def has_restarted(site: Site, before: int) -> bool:
    return pilot_restarts(site) > before and all(pilot["ready"] for pilot in pilots(site))


def pilot_restarts(site: Site) -> int:
    return sum(pilot["restartCount"] for pilot in pilots(site))


def pilots(site: Site) -> list[Resource]:
    """The containers of the control plane."""
    pods = [pod for pod in site.get("pods")["items"] if pod["metadata"]["name"].startswith("istiod-")]
    return [container for pod in pods for container in pod["status"]["containerStatuses"]]


def test_another_peer_of_the_gateways_cuts_nothing(life: Life) -> None:
    """A peer that comes and goes on the same two gateways closes no connection of the one that is there."""
    root = Authority.self_signed(TrustDomain("blue-mesh.local"), now=datetime.now(UTC)).root_cert_pem.decode()
    resource: Resource = json.loads(json.dumps(life.saved["green", "servicemeshpeer"]))
    resource["metadata"]["name"] = "blue-mesh"
    resource["spec"]["remote"]["addresses"] = ["127.99.7.9"]
    resource["spec"]["security"] = {
        "trustDomain": "blue-mesh.local",
        "clientID": "blue-mesh.local/ns/blue-mesh-system/sa/egress-green-mesh-service-account",
    }
    green = life.green
    with life.open_connection() as connection:
        green.kubectl("create", "configmap", "blue-mesh-ca-root-cert", f"--from-literal=root-cert.pem={root}")
        green.kubectl("create", "-f", "-", stdin=json.dumps(resource))
        eventually(lambda: "inactive" in json.dumps(green.get("servicemeshpeer", "blue-mesh")), what="it is tried")
        green.kubectl("delete", "servicemeshpeer/blue-mesh", "configmap/blue-mesh-ca-root-cert")
        connection.settimeout(2)  # gateways close what they were told to close after one second
        with pytest.raises(TimeoutError):
            connection.recv(1)
        assert serves(connection)
