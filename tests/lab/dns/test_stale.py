"""Which old answers may be told again. Source: RFC 8767."""

import dns.message
import dns.rcode
import dns.rrset
import pytest

from isthmus.lab.dns.stale import LONGEST_S, MOST_ANSWERS, STALE_TTL_S, LastAnswers

QUERY = dns.message.make_query("ratings.bookinfo.svc.green-mesh-imports.local", "A")


def response(query: dns.message.Message, address: str = "127.96.0.7", *, code: str = "NOERROR") -> dns.message.Message:
    """An answer with this address, or with this code and none."""
    made = dns.message.make_response(query)
    made.set_rcode(dns.rcode.from_text(code))
    if code == "NOERROR" and address:
        made.answer.append(dns.rrset.from_text(query.question[0].name, 300, "IN", "A", address))
    return made


def told(answers: LastAnswers, *, now: float) -> list[str]:
    """The addresses that are told for QUERY."""
    made = answers.answer(QUERY, now=now)
    return [item.to_text() for rrset in made.answer for item in rrset] if made is not None else []


@pytest.mark.parametrize(("age_s", "expected"), [(0.0, True), (LONGEST_S, True), (LONGEST_S + 1, False)])
def test_an_answer_is_told_for_a_day(age_s: float, expected: bool) -> None:
    """What was said longer ago than RFC 8767 suggests is not told any more."""
    answers = LastAnswers()
    answers.learn(QUERY, response(QUERY), now=7.0)
    assert bool(told(answers, now=7.0 + age_s)) is expected


def test_an_old_answer_has_a_short_time_to_live() -> None:
    """Whatever the server promised, clients ask again soon (RFC 8767 §4)."""
    answers = LastAnswers()
    answers.learn(QUERY, response(QUERY), now=0.0)
    made = answers.answer(QUERY, now=1.0)
    assert made is not None
    assert made.answer[0].ttl == STALE_TTL_S


@pytest.mark.parametrize("code", ["NXDOMAIN", "REFUSED"])
def test_what_is_said_not_to_be_is_forgotten(code: str) -> None:
    """A name that was taken back has no old answer, nor has one without addresses."""
    for last in (response(QUERY, code=code), response(QUERY, "")):
        answers = LastAnswers()
        answers.learn(QUERY, response(QUERY), now=0.0)
        answers.learn(QUERY, last, now=1.0)
        assert told(answers, now=2.0) == []


def test_the_oldest_answers_make_room() -> None:
    """However many names are asked for, the number of answers is bounded."""
    answers = LastAnswers()
    answers.learn(QUERY, response(QUERY), now=0.0)
    for number in range(MOST_ANSWERS):
        query = dns.message.make_query(f"n{number}.test", "A")
        answers.learn(query, response(query), now=0.0)
    assert len(answers) == MOST_ANSWERS
    assert told(answers, now=0.0) == []
