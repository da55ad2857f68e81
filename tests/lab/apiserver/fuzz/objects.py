"""Objects that requests can be about: of each kind one or two, made anew when a request has removed them."""

from __future__ import annotations

from typing import Any

import httpx2

Object = dict[str, Any]
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
DEFINITION: Object = {
    "metadata": {"name": "things.fuzz.example.com"},
    "spec": {
        "group": "fuzz.example.com",
        "scope": "Namespaced",
        "names": {"plural": "things", "kind": "Thing"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
                },
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "x-kubernetes-validations": [
                                    {"rule": "!has(self.list) || self.list.all(x, x.name != 'z')"}
                                ],
                                "properties": {
                                    "replicas": {"type": "integer", "minimum": 0, "maximum": 9, "default": 1},
                                    "port": {"x-kubernetes-int-or-string": True},
                                    "map": {"type": "object", "additionalProperties": {"type": "string"}},
                                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                                    "list": {
                                        "type": "array",
                                        "maxItems": 5,
                                        "x-kubernetes-list-type": "map",
                                        "x-kubernetes-list-map-keys": ["name"],
                                        "items": {
                                            "type": "object",
                                            "required": ["name"],
                                            "properties": {
                                                "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 9},
                                                "when": {"type": "string", "format": "date-time"},
                                                "kind": {"type": "string", "enum": ["A", "B"]},
                                            },
                                        },
                                    },
                                },
                            },
                            "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
                        },
                    }
                },
            }
        ],
    },
}
_CONTAINERS = [{"name": "main", "image": "i", "env": [{"name": "k", "value": "v"}], "ports": [{"containerPort": 80}]}]
_TEMPLATE = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": _CONTAINERS}}
_WORKLOAD = {"selector": {"matchLabels": {"app": "a"}}, "template": _TEMPLATE}
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_ROLE_REF = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
CORE, SPACE = "/api/v1", "namespaces/default"
OBJECTS: dict[str, Object] = {
    f"{CORE}/{SPACE}/configmaps": {"data": {"k": "v"}},
    f"{CORE}/{SPACE}/secrets": {"data": {"k": "dg=="}},
    f"{CORE}/{SPACE}/serviceaccounts": {},
    f"{CORE}/{SPACE}/services": {"spec": {"selector": {"app": "a"}, "ports": [{"name": "http", "port": 80}]}},
    f"{CORE}/{SPACE}/endpoints": {"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]},
    f"{CORE}/{SPACE}/pods": {"spec": {"nodeName": "n", "containers": _CONTAINERS}},
    f"{CORE}/{SPACE}/events": {"involvedObject": {"kind": "Pod", "name": "a", "namespace": "default"}},
    f"{CORE}/nodes": {},
    f"/apis/events.k8s.io/v1/{SPACE}/events": {"regarding": {"kind": "Pod", "name": "a"}, "note": "n"},
    f"/apis/apps/v1/{SPACE}/deployments": {"spec": _WORKLOAD},
    f"/apis/apps/v1/{SPACE}/replicasets": {"spec": _WORKLOAD},
    f"/apis/coordination.k8s.io/v1/{SPACE}/leases": {"spec": {"holderIdentity": "h"}},
    f"/apis/discovery.k8s.io/v1/{SPACE}/endpointslices": {"addressType": "IPv4", "endpoints": [], "ports": []},
    f"/apis/networking.k8s.io/v1/{SPACE}/networkpolicies": {"spec": {"podSelector": {}}},
    f"/apis/policy/v1/{SPACE}/poddisruptionbudgets": {"spec": {"minAvailable": "50%"}},
    f"{_RBAC}/{SPACE}/roles": {"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]},
    f"{_RBAC}/{SPACE}/rolebindings": {"roleRef": _ROLE_REF},
    f"{_RBAC}/clusterroles": {"rules": []},
    f"{_RBAC}/clusterrolebindings": {"roleRef": _ROLE_REF},
    f"/apis/fuzz.example.com/v1/{SPACE}/things": {"spec": {"list": [{"name": "a"}], "map": {"k": "v"}}},
}


def prepare(http: httpx2.Client, *, of: str) -> None:
    """Put all there, named ``a`` and ``b``, that a group and version (``apis/GROUP/VERSION``, "" = any) has not."""
    for name in ("a", "b", "default"):
        _ensure_namespace(http, name)
    http.post(DEFINITIONS, json=DEFINITION)
    for path, content in ((path, content) for path, content in OBJECTS.items() if path.startswith(f"/{of}")):
        for name in ("a", "b"):
            answer = http.post(path, json={**content, "metadata": {"name": name}})
            assert answer.status_code in (201, 404, 409), f"{path}: {answer.text}"


def _ensure_namespace(http: httpx2.Client, name: str) -> None:
    path = f"{CORE}/namespaces/{name}"
    if "deletionTimestamp" in http.get(path).json().get("metadata", {}):
        for one in ({"metadata": {"finalizers": None}}, {"metadata": {"ownerReferences": None}}):
            http.patch(path, json=one, headers={"Content-Type": "application/merge-patch+json"})
        http.put(f"{path}/finalize", json={"spec": {}, "metadata": {"name": name}})
    http.post(f"{CORE}/namespaces", json={"metadata": {"name": name}})
