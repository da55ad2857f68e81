"""A watch's lines come out as they went in, however the network cuts them."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from isthmus.discovery.lines import LineSplitter

lines = st.lists(st.binary(max_size=20).filter(lambda line: not set(line) & set(b"\r\n") and line == line.strip()))


@given(lines, st.lists(st.integers(0, 300)), st.sampled_from([b"\r\n", b"\n"]))
def test_any_cut_gives_the_same_lines(sent: list[bytes], cuts: list[int], end: bytes) -> None:
    """Lines are independent of the pieces in which they arrive; a heartbeat is an empty line."""
    stream = b"".join(line + end for line in sent)
    edges = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    splitter = LineSplitter(limit=20)
    pieces = [stream[start:stop] for start, stop in pairwise(edges)]
    assert [line for piece in pieces for line in splitter.feed(piece)] == sent


def test_a_line_too_long_is_cut_and_does_not_grow() -> None:
    """What is beyond the limit is dropped as it arrives; the next line is whole again."""
    splitter = LineSplitter(limit=4)
    assert splitter.feed(b"123") == []
    for _ in range(1000):
        assert splitter.feed(b"x" * 1000) == []
    assert splitter.feed(b"y\r\nnext\r\n") == [b"123xx", b"next"]
