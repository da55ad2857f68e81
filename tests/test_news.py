"""What is news, and what was told already."""

from isthmus.news import MOST_STATES, News


def test_a_state_is_told_once_until_it_ends() -> None:
    """Tries that fail for the same reason are one piece of news, and the end of it another."""
    news: News[str] = News()
    assert [news.is_new("a", "down") for _ in range(3)] == [True, False, False]
    assert (news.settled("a"), news.settled("a")) == (True, False)
    assert news.is_new("a", "down")


def test_reasons_that_take_turns_are_told_once_each() -> None:
    """A try that fails here and the next that fails there do not fill the log."""
    news: News[str] = News()
    assert [news.is_new("a", reason) for reason in ("x", "y", "x", "y", "z", "x")] == [
        True,
        True,
        False,
        False,
        True,
        False,
    ]
    for number in range(MOST_STATES):
        news.is_new("a", str(number))
    assert news.is_new("a", "x")


def test_subjects_are_apart_and_bounded() -> None:
    """Whoever makes up subjects fills no memory."""
    news: News[int] = News(most=2)
    assert all(news.is_new(number, "down") for number in range(5))
    assert len(news._told) == 2
    assert (news.is_new(4, "down"), news.is_new(0, "down")) == (False, True)
