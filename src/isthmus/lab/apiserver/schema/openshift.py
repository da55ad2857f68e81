"""The schemas of OpenShift's kinds, of which no models are at hand: as far as they are served here. Pure.

Source: OpenShift API reference, project.openshift.io/v1, user.openshift.io/v1, authorization.openshift.io/v1.
"""

from __future__ import annotations

from collections.abc import Mapping

from isthmus.lab.apiserver.kinds.resource import Schema

_TEXT: Schema = {"type": "string"}
_TEXTS: Schema = {"type": "array", "items": _TEXT, "nullable": True}
_ACTION = ("namespace", "verb", "resourceAPIGroup", "resourceAPIVersion", "resource", "resourceName", "path", "user")


def _texts(*names: str) -> Mapping[str, Schema]:
    return dict.fromkeys(("apiVersion", "kind", *names), _TEXT)


PROPERTIES: Mapping[str, Mapping[str, Schema]] = {
    "ProjectRequest": _texts("displayName", "description"),
    "User": {**_texts("fullName"), "groups": _TEXTS, "identities": _TEXTS},
    "SubjectAccessReview": {
        **_texts(*_ACTION),
        "isNonResourceURL": {"type": "boolean"},
        "content": {"x-kubernetes-preserve-unknown-fields": True},
        "groups": _TEXTS,
        "scopes": _TEXTS,
    },
    "SubjectAccessReviewResponse": {
        **_texts("namespace", "reason", "evaluationError"),
        "allowed": {"type": "boolean"},
    },
}
"""The fields of each kind, without its metadata."""
