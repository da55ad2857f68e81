"""Requests that schemathesis makes up from the server's own OpenAPI documents: well-formed ones and broken ones.

Whatever they are, the answer is what the document declares, or a Status: never an error of the server's own.
``make fuzz-lab`` makes more of them; ``FUZZ_SEED`` makes others.
"""

from __future__ import annotations

from contextlib import nullcontext, suppress
from random import Random
from typing import Any

import pytest
from hypothesis import given, seed
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode, openapi
from tests.lab.apiserver.fuzz.asking import EXAMPLES, SEED, WHOLE, Api, Operation, bounded, operations
from tests.lab.apiserver.fuzz.objects import DEFINITION, prepare
from tests.lab.apiserver.fuzz.steer import steered

from isthmus.lab.apiserver.kinds.builtin import RESOURCES

pytestmark = pytest.mark.slow

OWN = f"apis/{DEFINITION['spec']['group']}/v1"
VERSIONS = sorted({f"apis/{one.api_version}" if one.group else f"api/{one.version}" for one in RESOURCES} | {OWN})


@pytest.mark.timeout(0 if WHOLE else 60)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["formed", "broken"])
@pytest.mark.parametrize("version", VERSIONS)
def test_every_request_is_answered_as_declared(api: Api, version: str, mode: GenerationMode) -> None:
    """What the document of a group and version allows, and what it does not, is answered as it says."""
    document = api.document(version)
    declared = openapi.from_dict(document)
    for operation in _chosen(operations(steered(document)), mode):
        prepare(api.http, of=version)
        _try(operation, declared[operation.path][operation.method.upper()], api, mode)


def _chosen(operations: list[Operation], mode: GenerationMode) -> list[Operation]:
    """All in a whole run; otherwise some, at random."""
    some = min(len(operations), 1 + len(operations) // 6)
    return operations if WHOLE else Random(f"{SEED} {mode}").sample(operations, some)  # noqa: S311  # no secret


def _try(operation: Operation, declared: Operation, api: Api, mode: GenerationMode) -> None:
    @bounded(EXAMPLES)
    @seed(SEED)
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Case[Any]) -> None:
        api.ask(case, declared)

    # Of some nothing can be broken: they have neither parameters nor a body.
    with suppress(Unsatisfiable) if mode is GenerationMode.NEGATIVE else nullcontext():
        ask()
