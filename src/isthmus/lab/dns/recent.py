"""What other name servers have said within the last second, ready to be sent again to whoever asks the same.

A gateway asks for the one name of its peer once for each service that it imports: a burst of them is answered from
here. Nothing is kept for longer, whatever its time to live: in a lab names change from one second to the next.
Not here: what a server did not say, or said not to be there.
"""

from collections import OrderedDict
from typing import Final

import dns.message
import dns.rcode

KEPT_S: Final = 1.0
"""Times to live are counted in seconds, so those of an answer that is no older are right."""
MOST_ANSWERS: Final = 1024

_ID_BYTES = 2


class RecentAnswers:
    """Answers by question, both as datagrams; ``now`` is a monotonic time in seconds."""

    def __init__(self) -> None:
        self._answers: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()

    def __len__(self) -> int:
        """How many questions have an answer."""
        return len(self._answers)

    def learn(self, question: bytes, response: dns.message.Message, answer: bytes, *, now: float) -> None:
        """A server has answered: ``answer`` is its response as it is sent."""
        key = question[_ID_BYTES:]
        self._answers.pop(key, None)
        if response.rcode() == dns.rcode.NOERROR and response.answer and all(one.ttl for one in response.answer):
            self._answers[key] = (now, answer[_ID_BYTES:])
            if len(self._answers) > MOST_ANSWERS:
                self._answers.popitem(last=False)

    def answer(self, question: bytes, *, now: float) -> bytes | None:
        """The answer to a question that differs from one before in nothing but its id; None if there is none."""
        known = self._answers.get(question[_ID_BYTES:])
        if known is None or now - known[0] > KEPT_S:
            return None
        return question[:_ID_BYTES] + known[1]
