"""Which answers are told again without asking, and for how long."""

import dns.message
import dns.rcode
import dns.rrset
import pytest

from isthmus.lab.dns.recent import KEPT_S, MOST_ANSWERS, RecentAnswers

NAME = "ingress-red.green-mesh-system.apps.green.test"


def question(number: int = 1, *, name: str = NAME, kind: str = "A") -> bytes:
    """A question with this id."""
    return dns.message.make_query(name, kind, id=number).to_wire()


def learn(answers: RecentAnswers, asked: bytes, *, ttl_s: int = 5, code: str = "NOERROR", now: float = 7.0) -> bytes:
    """Have a server answer a question; its answer."""
    response = dns.message.make_response(dns.message.from_wire(asked))
    response.set_rcode(dns.rcode.from_text(code))
    if ttl_s >= 0 and code == "NOERROR":
        response.answer.append(dns.rrset.from_text(response.question[0].name, ttl_s, "IN", "A", "127.19.0.10"))
    wire = response.to_wire()
    answers.learn(asked, response, wire, now=now)
    return wire


def test_the_same_question_has_the_same_answer_for_a_second() -> None:
    """Whoever asks gets it under the id of the own question, until it is a second old."""
    answers = RecentAnswers()
    said = learn(answers, question(1))
    assert answers.answer(question(1), now=7.0) == said
    other = answers.answer(question(0xABCD), now=7.0 + KEPT_S)
    assert other == b"\xab\xcd" + said[2:]
    assert dns.message.from_wire(other).id == 0xABCD
    assert answers.answer(question(1), now=7.1 + KEPT_S) is None


@pytest.mark.parametrize(
    "other",
    [question(name="x.test"), question(kind="TXT"), question(name=NAME.upper()), b"", b"\0\1"],
    ids=["name", "type", "spelling", "nothing", "id only"],
)
def test_another_question_has_none(other: bytes) -> None:
    """Only a question that is equal in every byte but its id is answered."""
    answers = RecentAnswers()
    learn(answers, question())
    assert answers.answer(other, now=7.0) is None


@pytest.mark.parametrize(("code", "ttl_s"), [("NXDOMAIN", 5), ("SERVFAIL", 5), ("NOERROR", -1), ("NOERROR", 0)])
def test_what_is_not_kept(code: str, ttl_s: int) -> None:
    """That a name is not there, that it has no address, and what is not to be kept; what was said before is void."""
    answers = RecentAnswers()
    learn(answers, question())
    learn(answers, question(), ttl_s=ttl_s, code=code)
    assert answers.answer(question(), now=7.0) is None


def test_the_oldest_answers_make_room() -> None:
    """However many names are asked for, the number of answers is bounded."""
    answers = RecentAnswers()
    learn(answers, question())
    for number in range(MOST_ANSWERS):
        learn(answers, question(name=f"n{number}.test"))
    assert len(answers) == MOST_ANSWERS
    assert answers.answer(question(), now=7.0) is None
