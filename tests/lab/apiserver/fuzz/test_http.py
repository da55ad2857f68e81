"""Requests that schemathesis makes up from the server's own OpenAPI documents: well-formed ones and broken ones.

Whatever they are, the answer is what the document declares, or a Status: never an error of the server's own.
``make fuzz-lab`` makes more of them; ``FUZZ_SEED`` makes others.
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import httpx2
import pytest
import requests
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode, Response, openapi
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import content_type_conformance
from tests.lab.apiserver.fuzz.objects import DEFINITION, prepare
from tests.lab.apiserver.fuzz.served import served
from tests.lab.apiserver.fuzz.steer import steered

from isthmus.lab.apiserver.kinds.builtin import RESOURCES

pytestmark = pytest.mark.slow

WHOLE = "FUZZ" in os.environ
EXAMPLES = int(os.environ.get("FUZZ", "6"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
OWN = f"apis/{DEFINITION['spec']['group']}/v1"
VERSIONS = sorted({f"apis/{one.api_version}" if one.group else f"api/{one.version}" for one in RESOURCES} | {OWN})
Operation = APIOperation[Any, Any, Any, Any]
ENDLESS = ("watch", "follow")
"""Parameters that make an answer go on: they are tried elsewhere."""


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


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    directory = tmp_path_factory.mktemp("fuzz")
    with served(directory) as server, requests.Session() as session:
        certificates = directory / "ca.pem"
        certificates.write_bytes(server.ca)
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {server.admin_token}"
        with httpx2.Client(
            base_url=server.url, verify=_context(certificates), headers=dict(session.headers), timeout=20
        ) as http:
            prepare(http, of="")
            yield Api(http, session, certificates)


def _context(certificates: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificates)


@pytest.mark.timeout(0 if WHOLE else 60)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["formed", "broken"])
@pytest.mark.parametrize("version", VERSIONS)
def test_every_request_is_answered_as_declared(api: Api, version: str, mode: GenerationMode) -> None:
    """What the document of a group and version allows, and what it does not, is answered as it says."""
    document = api.document(version)
    declared = openapi.from_dict(document)
    for operation in _chosen(_operations(steered(document)), mode):
        prepare(api.http, of=version)
        _try(operation, declared[operation.path][operation.method.upper()], api, mode)


def _operations(document: dict[str, Any]) -> list[Operation]:
    found = list(openapi.from_dict(document).get_all_operations())
    assert all(isinstance(one, Ok) for one in found), found
    return [one.ok() for one in found if isinstance(one, Ok)]


def _chosen(operations: list[Operation], mode: GenerationMode) -> list[Operation]:
    """All in a whole run; otherwise some, at random."""
    some = min(len(operations), 1 + len(operations) // 6)
    return operations if WHOLE else Random(f"{SEED} {mode}").sample(operations, some)  # noqa: S311  # no secret


def _try(operation: Operation, declared: Operation, api: Api, mode: GenerationMode) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @seed(SEED)
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Case[Any]) -> None:
        api.ask(case, declared)

    with suppress(Unsatisfiable):  # nothing about it can be broken: it has neither parameters nor a body
        ask()
