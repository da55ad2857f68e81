"""Each thing that can be wrong with files is found, at its place, and nothing else."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from tests.doctor.lint.files import NOW, config_map, linted, root, three_meshes, two_meshes

from isthmus.doctor.lint import Report, Severity, as_json, as_text

SOURCES = Path(__file__).parents[3] / "src" / "isthmus" / "doctor" / "lint"
DOCUMENT = (Path(__file__).parents[3] / "docs" / "linting.md").read_text()

RED_PEER = "red/servicemeshpeer.yaml"
RED_SMCP = "red/smcp.yaml"
GREEN_SMCP = "green/smcp.yaml"
IMPORTS = "red/importedserviceset.yaml"
EXPORTS = "green/exportedserviceset.yaml"

EDITS = [
    # file, what is replaced, by what, the code, the text at its place
    (RED_PEER, "remote:", "remotes:", "UnknownField", "remotes:"),
    (RED_PEER, "trustDomain: ", "trustdomain: ", "UnknownField", "trustdomain:"),
    (RED_PEER, "trustDomain: ", "trustdomain: ", "MissingField", "trustdomain"),
    (RED_PEER, "name: green-mesh\n", "nam: green-mesh\n", "MissingField", ""),
    (RED_PEER, "addresses:", "discoveryPort: '8188'\n    addresses:", "WrongType", "'8188'"),
    (RED_PEER, "addresses:", "discoveryPort: 0\n    addresses:", "InvalidValue", "0"),
    (
        RED_PEER,
        "addresses:",
        "discoveryPort: 1\n    discoveryPort: 8188\n    addresses:",
        "RepeatedField",
        "discoveryPort: 8188",
    ),
    (RED_PEER, "    addresses:\n    - ", "    addresses: []\n    x: ", "InvalidValue", "[]"),
    (RED_PEER, "trustDomain: green-mesh.local", r'trustDomain: "green-mesh.local\n"', "InvalidValue", '"green'),
    (RED_PEER, "addresses:", f"discoveryPort: 0x{'f' * 8000}\n    addresses:", "WrongType", "0xf"),
    (RED_PEER, "kind: ConfigMap", "kind: Configmap", "InvalidValue", "Configmap"),
    (RED_PEER, "clientID: green", "clientID: spiffe://green", "InvalidValue", "spiffe://"),
    (RED_PEER, "clientID: green-mesh.local", "clientID: grün", "InvalidValue", "grün"),
    (RED_PEER, "kind: ServiceMeshPeer", "kind: ServiceMeshPeers", "UnknownKind", "ServiceMeshPeers"),
    (RED_PEER, "/v1\n", "/v1alpha1\n", "WrongVersion", "federation.maistra.io/v1alpha1"),
    (RED_PEER, "sa/egress-red-mesh", "sa/egress-rde-mesh", "WrongClient", "green-mesh.local/ns"),
    (RED_PEER, "trustDomain: green-mesh.local", "trustDomain: g.local", "WrongTrustDomain", "g.local"),
    (
        RED_PEER,
        "trustDomain: green-mesh.local",
        "trustDomain: g.local",
        "ClientOutsideTrustDomain",
        "green-mesh.local/ns",
    ),
    (RED_PEER, "name: ingress-green-mesh", "name: ingres-green-mesh", "GatewayNotFound", "ingres-green-mesh"),
    (RED_PEER, "name: egress-green-mesh", "name: ingress-green-mesh", "GatewayTwice", "ingress-green-mesh"),
    (RED_PEER, "addresses:", "servicePort: 443\n    addresses:", "WrongPort", "443"),
    (RED_PEER, "name: green-mesh-ca-root-cert", "name: other", "RootNotFound", "other"),
    (RED_SMCP, "additionalIngress:", "additionalIngres:", "UnknownField", "additionalIngres:"),
    (
        RED_SMCP,
        "egress-green-mesh:\n        enabled: true",
        "egress-green-mesh:\n        enabled: false",
        "GatewayDisabled",
        "egress-green-mesh",
    ),
    (
        RED_SMCP,
        "      egress-green-mesh:\n",
        "      egress-green-mesh:\n        namespace: x\n",
        "GatewayElsewhere",
        "namespace: x",
    ),
    (
        RED_SMCP,
        "      ingress-green-mesh:\n",
        "      ingress_green:\n        enabled: true\n      ingress-green-mesh:\n",
        "InvalidName",
        "enabled",
    ),
    (
        RED_SMCP,
        "      ingress-green-mesh:\n",
        "      egress-green-mesh: {}\n      ingress-green-mesh:\n",
        "GatewayTwice",
        "enabled",
    ),
    (RED_SMCP, "      ingress-green-mesh:\n", "      more: {}\n      ingress-green-mesh:\n", "UnusedGateway", "{}"),
    (RED_SMCP, "name: https-discovery", "name: https-discovery\n            targetPort: 9", "MissingPort", "enabled"),
    (RED_SMCP, "domain: red-mesh.local", "domain: green-mesh.local", "SharedTrustDomain", "green-mesh.local"),
    (RED_SMCP, "name: red-mesh\n", f"name: {'r' * 60}\n", "InvalidName", "rrr"),
    (IMPORTS, "name: green-mesh\n", "name: gren-mesh\n", "PeerNotFound", "gren-mesh"),
    (IMPORTS, "name: ratings", "name: rating", "NotExported", "namespace: bookinfo"),
    (IMPORTS, "spec:", "spec:\n  locality: {zone: a}", "InvalidLocality", "{zone: a}"),
    (
        IMPORTS,
        "metadata:",
        "metadata:\n  annotations: {isthmus.io/keep-stale: 5 minutes}",
        "InvalidAnnotation",
        "5 minutes",
    ),
    (IMPORTS, "metadata:", "metadata:\n  annotations: {isthmus.io/failover: true}", "WrongType", "true"),
    (
        IMPORTS,
        "importRules:",
        "importRules:\n  - type: NameSelector\n    importAsLocal: true\n    nameSelector: {name: x}",
        "InvalidRule",
        "type: NameSelector",
    ),
    (
        IMPORTS,
        "importRules:",
        "importRules:\n  - type: NameSelector\n    nameSelector: {}",
        "ShadowedRule",
        "type: NameSelector",
    ),
    (
        IMPORTS,
        "importRules:",
        (
            "importRules:\n  - type: NameSelector\n    nameSelector:"
            " {name: x, namespace: y, alias: {name: ratings, namespace: bookinfo}}"
        ),
        "NameTaken",
        "type: NameSelector",
    ),
    (
        EXPORTS,
        "exportRules:",
        (
            "exportRules:\n  - type: LabelSelector\n    labelSelector:"
            " {selector: {matchExpressions: [{key: a, operator: In}]}}"
        ),
        "InvalidRule",
        "type: LabelSelector",
    ),
    (EXPORTS, "name: red-mesh\n", "name: rot\n", "NothingExported", ""),
]


def place_of(report: Report, code: str, files: dict[str, str]) -> list[str]:
    """The text at the place of each finding with that code."""
    found = []
    for each in report.findings:
        if each.code == code:
            lines = files[each.place.file].splitlines()
            found.append(lines[each.place.line - 1][each.place.column - 1 :])
    return found


@pytest.mark.parametrize(("file", "old", "new", "code", "at"), EDITS, ids=[f"{e[3]}-{n}" for n, e in enumerate(EDITS)])
def test_one_edit_is_found_at_its_place(file: str, old: str, new: str, code: str, at: str) -> None:
    """With the code that the document has, at the line and column of what is wrong."""
    files = two_meshes()
    assert old in files[file]
    files[file] = files[file].replace(old, new, 1)
    places = place_of(linted(files), code, files)
    assert places, as_text(linted(files))
    assert any(place.startswith(at) for place in places) or not at, places
    assert len(places) == len(set(places)), "each is told once"


LONELY = two_meshes()[RED_PEER].replace("  namespace: red-mesh-system\n", "")
OTHERS = [
    ("no namespace", {"lonely/peer.yaml": LONELY}, "NoNamespace"),
    ("root key", {"red/root.yaml": config_map("red", "green", "x", key="root.pem")}, "RootKeyMissing"),
    ("root text", {"red/root.yaml": config_map("red", "green", "x")}, "RootInvalid"),
    ("old root", {"red/root.yaml": config_map("red", "green", root("green", days=5))}, "RootExpired"),
    ("soon", {"red/root.yaml": config_map("red", "green", root("green", days=20))}, "RootExpiresSoon"),
    (
        "early",
        {"red/root.yaml": config_map("red", "green", root("green", made=NOW + timedelta(days=2)))},
        "RootNotYetValid",
    ),
    (
        "another root",
        {"green/own.yaml": config_map("green", "", root("green", days=99), name="istio-ca-root-cert")},
        "WrongRoot",
    ),
    ("unreadable", {"red/x.yaml": "a: ["}, "Unreadable"),
    ("twice", {"red/again.yaml": two_meshes()[RED_PEER]}, "RepeatedResource"),
    (
        "one client, two peers",
        {"red/again.yaml": two_meshes()[RED_PEER].replace("  name: green-mesh\n", "  name: verde\n", 1)},
        "ClientTwice",
    ),
    ("one side", {"green/servicemeshpeer.yaml": ""}, "OneSided"),
    ("one mesh", {GREEN_SMCP: ""}, "OtherSideMissing"),
]


@pytest.mark.parametrize(("more", "code"), [case[1:] for case in OTHERS], ids=[case[0] for case in OTHERS])
def test_what_is_wrong_between_files_is_found(more: dict[str, str], code: str) -> None:
    """Roots by their content and time, and resources with each other."""
    report = linted({**two_meshes(), **more})
    assert code in {finding.code for finding in report.findings}, as_text(report)


def test_an_address_of_the_wrong_gateway_is_found() -> None:
    """A name that begins as the Service of another gateway of that mesh leads there."""
    files = three_meshes()
    file = "red/servicemeshpeer-green-mesh.yaml"
    files[file] = files[file].replace("- ingress-red-mesh.", "- ingress-blue-mesh.")
    assert place_of(linted(files), "WrongGateway", files) == ["ingress-blue-mesh.green-mesh-system.apps.green.test"]


def test_every_code_is_brought_about_and_described() -> None:
    """The document has the codes that the code has, and each is tested above."""
    text = "".join(file.read_text() for file in SOURCES.glob("*.py"))
    told = set(re.findall(r'(?:Severity\.\w+|_SECURITY, "\w+"\)|"name"\)|path|field\)|index\)), "([A-Z]\w+)"', text))
    told |= {"InvalidRule", "InvalidLocality", "ShadowedRule", "InvalidAnnotation"}
    tested = {edit[3] for edit in EDITS} | {case[2] for case in OTHERS} | {"WrongGateway"}
    assert tested == told
    assert set(re.findall(r"^\| `(\w+)`", DOCUMENT, re.MULTILINE)) == told


def test_files_that_fit_have_nothing_wrong() -> None:
    """Two meshes with their roots, and three, but for roots that are not among the files."""
    report = linted(two_meshes())
    assert as_text(report) == "0 errors, 0 warnings, 0 info in 6 resources of 2 meshes"
    assert {finding.code for finding in linted(three_meshes()).findings} == {"RootNotFound"}


def test_several_federations_in_one_tree_are_told_apart() -> None:
    """Meshes of one name are told apart by their folders, and peers mean the mesh that is nearest."""
    files = {f"{tree}/{name}": text for tree in ("test", "production") for name, text in two_meshes().items()}
    report = linted(files)
    assert {finding.code for finding in report.findings} == {"SharedTrustDomain"}
    assert report.meshes == 4


def test_clusters_may_use_one_namespace() -> None:
    """Where every control plane is in istio-system, each folder is a mesh."""
    files = {name: re.sub(r"(red|green)-mesh-system", "istio-system", text) for name, text in two_meshes().items()}
    assert as_text(linted(files)).startswith("0 errors, 0 warnings")


def test_a_namespace_that_is_left_out_is_that_of_the_folder() -> None:
    """As kubectl's -n would fill it in."""
    files = {
        name: text if name.endswith("smcp.yaml") else re.sub(r" +namespace: (red|green)-mesh-system\n", "", text)
        for name, text in two_meshes().items()
    }
    assert not linted(files).count(Severity.ERROR)


def test_a_list_and_several_documents_are_read() -> None:
    """As kubectl takes them; other kinds are passed over."""
    files = two_meshes()
    documents = "\n---\n".join(files.values())
    assert linted({"all.yaml": documents}).resources == 6
    items = "\n".join("- " + text.replace("\n", "\n  ") for text in files.values() if "\n---\n" not in text)
    listed = linted({"list.yaml": f"apiVersion: v1\nkind: List\nitems:\n{items}"})
    assert (listed.resources, listed.count(Severity.ERROR)) == (6, 0)


def test_wildcards_and_labels_may_export_anything() -> None:
    """What depends on the Services that there are is not for files to decide."""
    for rule in (
        "{type: NameSelector, nameSelector: {namespace: '*', name: '*'}}",
        "{type: LabelSelector, labelSelector: {namespace: bookinfo, selector: {matchLabels: {a: b}}}}",
        "{type: NameSelector, nameSelector: {name: x, alias: {name: ratings}}}",
    ):
        files = two_meshes()
        files[EXPORTS] = re.sub(r"exportRules:.*", f"exportRules: [{rule}]", files[EXPORTS], flags=re.DOTALL)
        assert not linted(files).count(Severity.ERROR), rule


def test_our_own_roots_vouch_for_an_alias_of_ours() -> None:
    """A peer of one of our trust domains needs no ConfigMap, as in the control plane."""
    files = two_meshes()
    del files["red/root.yaml"]
    assert [finding.code for finding in linted(files).findings] == ["RootNotFound"]
    trust = "domain: red-mesh.local"
    assert trust in files[RED_SMCP]
    files[RED_SMCP] = files[RED_SMCP].replace(trust, f"{trust}\n      additionalDomains: [green-mesh.local]")
    assert not linted(files).findings


def test_a_report_as_text_and_as_json() -> None:
    """One line a finding, as editors read them; the same for programs."""
    files = {**two_meshes(), RED_PEER: two_meshes()[RED_PEER].replace("trustDomain:", "trustDomian:")}
    report = linted(files)
    line = files[RED_PEER].splitlines().index("    trustDomian: green-mesh.local") + 1
    assert (
        f"{RED_PEER}:{line}:5: error: unknown field spec.security.trustDomian: did you mean trustDomain?"
        " (correct or remove it: the API server drops it) [UnknownField]"
    ) in as_text(report)
    told = as_json(report)
    assert (
        told["summary"]["error"]
        == report.count(Severity.ERROR)
        == len([each for each in told["findings"] if each["severity"] == "error"])
    )
    assert {"file", "line", "column", "severity", "code", "message", "fix"} == set(told["findings"][0])
