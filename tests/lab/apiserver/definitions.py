"""A CustomResourceDefinition of one version, as small as it may be."""

from typing import Any


def definition(schema: Any, *, group: str = "example.org", kind: str = "Thing", **version: Any) -> dict[str, Any]:
    """The definition of a kind with this schema; ``version``: what else its version says."""
    plural = f"{kind.lower()}s"
    return {
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind},
            "versions": [
                {"name": "v1", "storage": True, "served": True, "schema": {"openAPIV3Schema": schema}, **version}
            ],
        },
    }
