"""The joiner's call to the ingress gateway of the mesh that has invited it.

The gateway is known by the root and the identity in the token, and checked before a byte is sent; we have no
certificate that it could check. Source: docs/protocol.md §5.
"""

from typing import Final

import h11

from isthmus.discovery.errors import LinkError, UnsentError
from isthmus.discovery.exchange import open_stream
from isthmus.federation.enrolment import (
    MAX_BODY_BYTES,
    PATH,
    STATUS,
    Answer,
    MalformedEnrolmentError,
    parse_answer,
    prove,
)
from isthmus.federation.invitation import Token
from isthmus.federation.plan import Endpoint
from isthmus.mutual_tls import anonymous_context

ANSWER_TIMEOUT_S: Final = 10.0
_NOT_PASSED_ON: Final = frozenset({404, 413, 429})
"""What the gateway itself says: nobody is invited, too long, too often."""


async def ask(token: Token, body: bytes) -> Answer:
    """Send one message, to the first of the token's contacts that can be reached, and return what is said to it.

    Raises:
        UnsentError: the gateway could not be reached, could not prove who it is, or did not pass the message on:
            nothing came of it.
        LinkError: it did not answer, or not as the protocol has it. Whether the message arrived is not known then; the
            same message may be sent again.
    """
    failures = []
    for contact in token.invitation.contacts:
        try:
            return await _ask(token, body, contact)
        except UnsentError as error:
            failures.append(str(error))
    raise UnsentError("; ".join(failures))


async def _ask(token: Token, body: bytes, contact: str) -> Answer:
    inviter = token.invitation.inviter
    stream = await open_stream(
        Endpoint(contact, inviter.discovery_port),
        where=f"the ingress gateway of {inviter.mesh} at {contact}:{inviter.discovery_port}",
        context=anonymous_context(server_roots=inviter.check()),
        expected=[token.invitation.check()],
        server_name=token.invitation.server_name,
    )
    try:
        answer = await stream.ask(_request(token, body), body)
        content = await answer.read_all(limit=MAX_BODY_BYTES, timeout_s=ANSWER_TIMEOUT_S)
    finally:
        stream.abort()
    return _understood(answer.status, answer.status_line, content)


def _request(token: Token, body: bytes) -> h11.Request:
    headers = [
        ("host", token.invitation.server_name),
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
        ("authorization", prove(token.key, token.invitation.id, body)),
        ("connection", "close"),
    ]
    return h11.Request(method="POST", target=PATH, headers=headers)


def _understood(status: int, status_line: str, content: bytes) -> Answer:
    """The answer in the body; what has none, or another status than belongs to it, is from somebody on the way."""
    if status in _NOT_PASSED_ON:
        raise UnsentError(status_line)
    try:
        answer = parse_answer(content)
    except MalformedEnrolmentError as error:
        raise LinkError(status_line) from error
    if STATUS[answer.reason] != status:
        raise LinkError(f"{status_line}, with an answer that is {STATUS[answer.reason]}")
    return answer
