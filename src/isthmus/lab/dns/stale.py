"""The last good answers of other name servers, for the time in which these do not answer (RFC 8767).

Nothing is answered from here while the server that knows answers; what it said within the last second is in ``recent``.
Not here: asking, and deciding that nobody answers.
"""

from collections import OrderedDict
from typing import Final

import dns.message
import dns.rcode
import dns.rrset

LONGEST_S: Final = 24 * 3600.0
"""How long an answer may be told again; RFC 8767 §5 suggests one to three days."""
STALE_TTL_S: Final = 5
"""What a client may keep it for: less than the 30 s of RFC 8767 §4, since the address may be another when the server
is back."""
MOST_ANSWERS: Final = 10_000

_Question = tuple[object, ...]


class LastAnswers:
    """Answers by question, the last that was good of each; ``now`` is a monotonic time in seconds."""

    def __init__(self) -> None:
        self._answers: OrderedDict[_Question, tuple[float, tuple[dns.rrset.RRset, ...]]] = OrderedDict()

    def __len__(self) -> int:
        """How many questions have an answer."""
        return len(self._answers)

    def learn(self, query: dns.message.Message, response: dns.message.Message, *, now: float) -> None:
        """A server has answered: an address is kept, and that there is none makes an older answer void."""
        key = _question(query)
        self._answers.pop(key, None)
        if response.rcode() == dns.rcode.NOERROR and response.answer:
            self._answers[key] = (now, tuple(response.answer))
            while len(self._answers) > MOST_ANSWERS:
                self._answers.popitem(last=False)

    def answer(self, query: dns.message.Message, *, now: float) -> dns.message.Message | None:
        """What was answered last, marked as to be asked again soon; None if that is unknown or too long ago."""
        known = self._answers.get(_question(query))
        if known is None or now - known[0] > LONGEST_S:
            return None
        response = dns.message.make_response(query, recursion_available=True)
        response.answer.extend(_with_ttl(rrset) for rrset in known[1])
        return response


def _question(query: dns.message.Message) -> _Question:
    asked = query.question[0]
    return (asked.name.canonicalize(), asked.rdtype, asked.rdclass)


def _with_ttl(rrset: dns.rrset.RRset) -> dns.rrset.RRset:
    return dns.rrset.from_rdata_list(rrset.name, STALE_TTL_S, list(rrset))
