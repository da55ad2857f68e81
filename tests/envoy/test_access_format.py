"""Access logs of text: which formats are taken, and that nobody can forge a line of one."""

import asyncio
import re
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st
from tests.envoy import plans
from tests.envoy import test_data_path as data_path
from tests.envoy.conftest import Mesh
from tests.envoy.test_data_path import EXPORTED, INGRESS, PILOT, Federation, request, resources, wait_served
from tests.waiting import until

from isthmus.api.logs import AccessLogFile
from isthmus.envoy import cluster, ingress, message
from isthmus.envoy.access_format import DEFAULT, FACTS, OPERATORS, AccessFormat, AccessFormatError
from isthmus.federation.plan import ControlPlane, IngressPlan

federation = data_path.federation


def test_facts_are_put_in_and_the_rest_is_envoys() -> None:
    """Our operators become what a line is about; one that is unknown for a kind of line is a dash."""
    parsed = AccessFormat.parse("%PEER% %SERVICE% 100%% %REQ(:PATH):9% %START_TIME(%Y-%m-%d)%\n")
    assert parsed.line({"PEER": "green-mesh"}) == "green-mesh - 100%% %REQ(:PATH):9% %START_TIME(%Y-%m-%d)%\n"
    assert AccessFormat.parse("").text == DEFAULT


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("%ENVIRONMENT(TOKEN)%", "none of the operators", id="secrets of the process"),
        pytest.param("%REQ(Authorization)%", "secrets", id="a header with a secret"),
        pytest.param("%REQ(:PATH?cookie)%", "secrets", id="a header with a secret, as the second"),
        pytest.param("%DOWNSTREAM_PEER_DNS_SAN%", "none of the operators", id="words of the peer's own"),
        pytest.param("%CEL(request.headers['x'])%", "none of the operators", id="expressions"),
        pytest.param("%duration%", "begins no operator", id="lower case"),
        pytest.param("100% sure", "begins no operator", id="a percent sign"),
        pytest.param("%REQ%", "expected the name of a header", id="no header"),
        pytest.param("%REQ(a b)%", "cannot be its argument", id="no name of a header"),
        pytest.param("%DURATION(x)%", "takes no argument", id="an argument too many"),
        pytest.param("one\ntwo", "control character", id="two lines"),
        pytest.param("\x1b[31m", "control character", id="an escape"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(text: str, says: str) -> None:
    """A format that Envoy would not take, or that would tell what it must not, says what is wrong."""
    with pytest.raises(AccessFormatError, match=says):
        AccessFormat.parse(text)


@given(st.lists(st.one_of(st.sampled_from([f"%{name}%" for name in sorted(OPERATORS)]), st.text(max_size=9))))
def test_any_text_is_refused_or_gives_one_line(parts: list[str]) -> None:
    """Whatever is asked for, what is taken ends with the only end of line, and none of our operators is left in it."""
    try:
        line = AccessFormat.parse("".join(parts)).line({})
    except AccessFormatError:
        return
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    assert not any(f"%{fact}%" in line.replace("%%", "") for fact in FACTS)
    assert not re.search(r"%(DOWNSTREAM|UPSTREAM)_PEER_URI_SAN%", line.replace("%%", ""))


def forged(mesh: Mesh, uri: str, folder: Path) -> ssl.SSLContext:
    """A client whose certificate the mesh's root vouches for, and whose identity is this text."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "one\nFORGED")]))
        .issuer_name(mesh.authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    certificate = builder.sign(mesh.authority.private_key, hashes.SHA256())
    pem = certificate.public_bytes(Encoding.PEM)
    path = folder / "forged.pem"
    path.write_bytes(pem + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(path)
    return context


def log_text(federation: Federation, access_log: AccessLogFile) -> None:
    """Have green's ingress gateway log so."""
    control_plane = ControlPlane(PILOT, federation.green.account("istiod"))
    plan = IngressPlan(control_plane, (federation.admitted(),), access_log=access_log)
    federation.ingress.table.replace(message.LISTENER, resources(ingress.listeners(plan, INGRESS)))
    federation.ingress.table.replace(message.ROUTES, resources(ingress.routes(plan)))


@pytest.mark.envoy
@pytest.mark.slow
async def test_names_of_others_cannot_forge_a_line(federation: Federation, folder: Path) -> None:
    """Neither an identity nor a subject nor a server name with an end of line begins a line of its own, whether its
    root is trusted or not."""
    await wait_served()
    fields = "client=%DOWNSTREAM_PEER_URI_SAN% subject=%DOWNSTREAM_PEER_SUBJECT% sni=%REQUESTED_SERVER_NAME%"
    log_text(
        federation, AccessLogFile(format=f"LINE %KIND% peer=%PEER% {fields} %DOWNSTREAM_TRANSPORT_FAILURE_REASON%")
    )
    identity = "spiffe://red.local/ns/x\nFORGED"
    for mesh, expected in (
        (federation.red, "LINE connection peer=red-mesh client=unprintable subject=CN=one\\0AFORGED"),
        (Mesh.named("red"), "LINE refused peer=- client=unprintable subject=CN=one\\0AFORGED"),
    ):
        context = forged(mesh, identity, folder)
        async with asyncio.timeout(10):
            while expected not in federation.ingress.log():
                assert await request(INGRESS, 15443, context=context, sni=f"outbound_.9080_._.{EXPORTED}") == b""
                await request(INGRESS, 15443, context=context, sni=f"x\nFORGED.{EXPORTED}")
    assert not [line for line in federation.ingress.log().splitlines() if line.startswith("FORGED")]
    assert federation.ingress.rejections == []


@pytest.mark.envoy
@pytest.mark.slow
async def test_the_default_text_has_what_json_has(federation: Federation) -> None:
    """One readable line for a connection: peer, direction, exported name, both identities, flags, bytes and times."""
    log_text(federation, AccessLogFile(encoding="TEXT"))
    await wait_served()
    await federation.ingress.wait_for("connection inbound peer=red-mesh")
    (line,) = [each for each in federation.ingress.log().splitlines() if "connection inbound" in each]
    assert f"service=outbound_.9080_._.{EXPORTED} flags=- client=spiffe://red.local/ns/red-system/sa/egress" in line
    assert re.match(r"\[20\d\d-\d\d-\d\dT[0-9:.]+Z\] ", line)
    assert re.search(r"received=\d+ sent=\d+ duration_ms=\d+$", line)


@pytest.mark.envoy
@pytest.mark.slow
async def test_no_log_is_written_when_none_is_wanted(federation: Federation) -> None:
    """/dev/null means no line at all; connections are served as ever. Those of later, which are logged, tell that
    whatever would have been written before has been."""
    log_text(federation, AccessLogFile(name="/dev/null"))
    before = len(federation.ingress.access_log())
    await wait_served()
    await federation.egress.wait_for('"kind":"connection"')
    log_text(federation, AccessLogFile(format="LATER %KIND%"))

    async def is_logged() -> bool:
        await wait_served()
        return "LATER connection" in federation.ingress.log()

    await until(is_logged)
    assert len(federation.ingress.access_log()) == before


def test_a_name_of_the_peers_is_cleaned_where_it_enters() -> None:
    """The host name of an import is in the line of the egress gateway by way of the cluster: printable there."""
    port = replace(plans.RATINGS, hostname="a\nb.bookinfo.svc.green-mesh-exports.local")
    facts = cluster.imported(port, plans.RED).metadata.filter_metadata[cluster.METADATA]
    assert facts["service"] == "a_b.bookinfo.svc.green-mesh-exports.local"
