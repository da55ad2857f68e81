"""Names: which there are, what is answered, and whose a zone is."""

import dns.flags
import dns.message
import dns.rcode
import pytest
from lightkube.models.core_v1 import LoadBalancerIngress, LoadBalancerStatus, ServicePort, ServiceSpec, ServiceStatus
from lightkube.models.discovery_v1 import Endpoint, EndpointConditions, EndpointPort
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice

from isthmus.lab.dns.answer import Verdict, acceptable, answer, verdict
from isthmus.lab.dns.records import Records, records
from isthmus.lab.dns.stubs import Upstream, locate, parse_stubs, stub_for

APPS = "apps.red.test"


def service(name: str, **spec: object) -> Service:
    return Service(metadata=ObjectMeta(name=name, namespace="shop"), spec=ServiceSpec(**spec))  # type: ignore[arg-type]  # any of its fields


def balanced() -> Service:
    found = service("lb", clusterIP="127.18.0.7", ports=[ServicePort(port=80)], type="LoadBalancer")
    found.status = ServiceStatus(loadBalancer=LoadBalancerStatus(ingress=[LoadBalancerIngress(ip="127.19.0.10")]))
    return found


def endpoint(address: str, *, ready: bool = True, hostname: str | None = None) -> Endpoint:
    return Endpoint(addresses=[address], conditions=EndpointConditions(ready=ready), hostname=hostname)


SERVICES = [
    service("web", clusterIP="127.18.0.5", ports=[ServicePort(name="http", port=80), ServicePort(port=81)]),
    service("dns", clusterIP="127.18.0.6", ports=[ServicePort(name="dns", port=53, protocol="UDP")]),
    service("db", clusterIP="None", ports=[ServicePort(name="sql", port=5432)]),
    service("none", clusterIP="None"),
    service("alias", type="ExternalName", externalName="web.shop.svc.cluster.local"),
    service("away", type="ExternalName", externalName="example.org"),
    balanced(),
]
SLICES = [
    EndpointSlice(
        metadata=ObjectMeta(name=f"{name}-1", namespace="shop", labels={"kubernetes.io/service-name": name}),
        addressType="IPv4",
        ports=[port],
        endpoints=endpoints,
    )
    for name, port, endpoints in [
        (
            "db",
            EndpointPort(name="sql", port=5432),
            [endpoint("127.17.0.2", hostname="db-0"), endpoint("127.17.0.3"), endpoint("127.17.0.4", ready=False)],
        ),
        ("dns", EndpointPort(name="dns", port=15053, protocol="UDP"), [endpoint("127.17.0.9")]),
    ]
]


@pytest.fixture(scope="module")
def found() -> Records:
    return records(SERVICES, SLICES, apps_domain=APPS)


@pytest.mark.parametrize(
    ("name", "kind", "code", "data"),
    [
        ("web.shop.svc.cluster.local", "A", "NOERROR", ["127.18.0.5"]),
        ("WEB.shop.svc.Cluster.Local", "A", "NOERROR", ["127.18.0.5"]),
        ("web.shop.svc", "A", "NOERROR", ["127.18.0.5"]),
        ("web.shop", "A", "NOERROR", ["127.18.0.5"]),
        ("web.shop.svc.cluster.local", "AAAA", "NOERROR", []),
        ("shop.svc.cluster.local", "A", "NOERROR", []),
        ("none.shop.svc.cluster.local", "A", "NOERROR", []),
        ("nope.shop.svc.cluster.local", "A", "NXDOMAIN", []),
        ("web.nope.svc.cluster.local", "A", "NXDOMAIN", []),
        ("_http._tcp.web.shop.svc.cluster.local", "SRV", "NOERROR", ["0 100 80 web.shop.svc.cluster.local."]),
        ("_none._tcp.web.shop.svc.cluster.local", "SRV", "NXDOMAIN", []),
        ("db.shop.svc.cluster.local", "A", "NOERROR", ["127.17.0.2", "127.17.0.3"]),
        ("db-0.db.shop.svc.cluster.local", "A", "NOERROR", ["127.17.0.2"]),
        ("127-17-0-3.db.shop.svc.cluster.local", "A", "NOERROR", ["127.17.0.3"]),
        (
            "_sql._tcp.db.shop.svc.cluster.local",
            "SRV",
            "NOERROR",
            ["0 100 5432 127-17-0-3.db.shop.svc.cluster.local.", "0 100 5432 db-0.db.shop.svc.cluster.local."],
        ),
        ("lb.shop.apps.red.test", "A", "NOERROR", ["127.19.0.10"]),
        ("lb.shop.apps.red.test", "TXT", "NOERROR", []),
        ("web.shop.apps.red.test", "A", "NXDOMAIN", []),
        ("alias.shop.svc.cluster.local", "A", "NOERROR", ["127.18.0.5", "web.shop.svc.cluster.local."]),
        ("away.shop.svc.cluster.local", "A", "NOERROR", ["example.org."]),
    ],
)
def test_answers(found: Records, name: str, kind: str, code: str, data: list[str]) -> None:
    """Existing names give their records or none of that type; what does not exist is NXDOMAIN; both with an SOA."""
    query = dns.message.make_query(name, kind)
    response = answer(query, found, apps_domain=APPS)
    assert dns.rcode.to_text(response.rcode()) == code
    assert sorted(item.to_text() for rrset in response.answer for item in rrset) == data
    assert {rrset.ttl for rrset in response.answer} <= {5}
    assert bool(response.authority) is (not data)
    assert response.flags & dns.flags.AA
    assert response.to_wire()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("web.shop.svc.cluster.local", Verdict.OURS),
        ("nope.svc.cluster.local", Verdict.OURS),
        ("x.apps.red.test", Verdict.OURS),
        ("web.shop", Verdict.OURS),
        ("nope.shop", Verdict.ELSEWHERE),
        ("lb.shop.apps.green.test", Verdict.ELSEWHERE),
        ("example.org", Verdict.ELSEWHERE),
        ("xapps.red.test", Verdict.ELSEWHERE),
    ],
)
def test_whose_a_name_is(found: Records, name: str, expected: Verdict) -> None:
    """The cluster's zone and the apps domain are ours, and short names if they exist."""
    assert verdict(name, found, apps_domain=APPS) is expected


def test_questions_that_are_not_answered() -> None:
    """Other classes and opcodes are refused as the protocol has it."""
    assert acceptable(dns.message.make_query("a.b", "A")) == dns.rcode.NOERROR
    assert acceptable(dns.message.make_query("a.b", "A", rdclass="CH")) == dns.rcode.REFUSED
    notify = dns.message.make_query("a.b", "A")
    notify.set_opcode(dns.opcode.NOTIFY)
    assert acceptable(notify) == dns.rcode.NOTIMP


def test_stub_zones() -> None:
    """A zone has servers by address or by the name of a Service, on port 53 unless said otherwise."""
    stubs = parse_stubs(
        '{"Svc.Green-imports.local.": ["127.17.0.9:15053", "dns.shop.svc.cluster.local"], "local": ["1.2.3.4"]}'
    )
    assert stubs == {
        "svc.green-imports.local": (Upstream("127.17.0.9", 15053), Upstream("dns.shop.svc.cluster.local", 53)),
        "local": (Upstream("1.2.3.4", 53),),
    }
    assert stub_for("a.svc.green-imports.local", stubs) == stubs["svc.green-imports.local"]
    assert stub_for("b.local", stubs) == stubs["local"]
    assert stub_for("example.org", stubs) == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "expected a JSON object of zones, got list"),
        ('{"a": "b"}', "'a': expected a list of name servers"),
        ('{"a": ["b:0"]}', "'b:0': expected host:port with a port between 1 and 65535"),
        ("{", "Expecting property name"),
        (f'"{"x" * 70000}"', "bytes are more than"),
    ],
)
def test_stub_zones_that_are_not_understood(text: str, message: str) -> None:
    """What is wrong is said, and the zones stay as they were."""
    with pytest.raises(ValueError, match=message):
        parse_stubs(text)


@pytest.mark.parametrize(
    ("upstream", "expected"),
    [
        (Upstream("1.2.3.4", 53), (Upstream("1.2.3.4", 53),)),
        (Upstream("dns.shop.svc.cluster.local", 53), (Upstream("127.17.0.9", 15053),)),
        (Upstream("dns.shop.svc", 53), (Upstream("127.17.0.9", 15053),)),
        (Upstream("dns.shop.svc.cluster.local", 54), ()),
        (Upstream("nope.shop.svc.cluster.local", 53), ()),
        (Upstream("example.org", 53), ()),
    ],
    ids=["address", "service", "short", "no such port", "no such service", "outside"],
)
def test_where_a_server_is(upstream: Upstream, expected: tuple[Upstream, ...]) -> None:
    """A Service's name leads to its ready endpoints."""
    assert locate(upstream, SERVICES, SLICES) == expected
