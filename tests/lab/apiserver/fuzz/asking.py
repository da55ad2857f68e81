"""A server that is asked what was made up, and whose answers are checked; how much is made up in a run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import httpx2
import requests
from hypothesis import HealthCheck, Phase, settings
from schemathesis import APIOperation, Case, Response, openapi
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import content_type_conformance

WHOLE = "FUZZ" in os.environ
"""Whether every operation is tried, with as many examples of each."""
EXAMPLES = int(os.environ.get("FUZZ", "6"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
Operation = APIOperation[Any, Any, Any, Any]
ENDLESS = ("watch", "follow")
"""Parameters that make an answer go on: they are tried elsewhere."""


def bounded(examples: int) -> settings:
    """That many examples, the same in each run, made only once."""
    return settings(
        max_examples=examples,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def operations(document: dict[str, Any]) -> list[Operation]:
    """The operations of a document, all of which are sound."""
    found = list(openapi.from_dict(document).get_all_operations())
    assert all(isinstance(one, Ok) for one in found), found
    return [one.ok() for one in found if isinstance(one, Ok)]


class Api:
    """A server, and the two ways in which it is asked."""

    def __init__(self, http: httpx2.Client, session: requests.Session, certificates: Path) -> None:
        self.http = http
        self.session = session
        self.certificates = str(certificates)

    def document(self, version: str) -> dict[str, object]:
        found: dict[str, object] = self.http.get(f"/openapi/v3/{version}").json()
        return found

    def ask(self, case: Case[Any], declared: Operation) -> None:
        """Send a made-up request, and check that what comes back is what is declared."""
        for name in ENDLESS:
            case.query.pop(name, None)
        response = case.call(base_url=str(self.http.base_url), session=self.session, verify=self.certificates)
        case.validate_response(response, checks=[not_a_server_error, content_type_conformance, is_told])
        declared.validate_response(response)


def is_told(_context: object, response: Response, _case: Case[Any]) -> None:
    """What went wrong is told by a Status, which shows nothing of our insides."""
    assert b"Traceback" not in response.content
    if response.status_code >= 400:
        status = json.loads(response.content)
        assert (status["kind"], status["code"]) == ("Status", response.status_code)
        assert status["message"]
