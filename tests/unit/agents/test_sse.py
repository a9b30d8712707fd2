"""An event stream, byte by byte, against the standard and another reader of it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from groq._streaming import SSEDecoder
from hypothesis import given
from hypothesis import strategies as st

from agents.groq.sse import MAX_LINE_BYTES, Event, EventReader, StreamTooLong


def read(*pieces):
    return list(EventReader().events(pieces))


def data_of(*pieces):
    return [event.data for event in read(*pieces)]


@pytest.mark.parametrize(
    ("stream", "data"),
    [
        (b"data: a\n\ndata: b\n\n", ["a", "b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", ["a", "b"]),
        (b"data: a\r\rdata: b\r\r", ["a", "b"]),
        (b"data: a\n\r\ndata: b\r\n\r", ["a", "b"]),
        (b"\xef\xbb\xbfdata: a\n\n", ["a"]),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", ["a"]),
        (b"data: a\ndata: b\ndata:  c\n\n", ["a\nb\n c"]),
        (b"data:\n\ndata\n\ndata: \n\n", []),
        (b"data\ndata\n\n", ["\n"]),
        (b": comment\n\n:\n\ndata:a\n\n", ["a"]),
        (b"id: 1\nretry: 5\nnonsense\nother: x\ndata: a\n\n", ["a"]),
        (b"data: \xff\xfe \xe2\x82\n\n", ["\ufffd\ufffd \ufffd"]),
        ("data: a\u2028b\u0085c\x0bd\n\n".encode(), ["a\u2028b\u0085c\x0bd"]),
        (b"data: a", ["a"]),
        (b"data: a\ndat", ["a"]),
        (b"", []),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_stream_is_read_as_the_standard_says_however_its_bytes_are_cut(stream, data, size):
    assert data_of(*(stream[at : at + size] for at in range(0, len(stream), size))) == data


def test_event_has_its_type_and_the_next_one_does_not():
    assert read(b"event: error\ndata: a\n\ndata: b\n\n") == [Event("a", "error"), Event("b")]


def test_line_of_an_unknown_field_is_handed_out():
    others = []

    list(EventReader(others.append).events([b'error: {"a":1}\nid: 1\n: c\n  "x": 2\n\n']))

    assert others == ['error: {"a":1}', '  "x": 2']


@pytest.mark.parametrize(
    "pieces",
    [
        [b"data: " + b"x" * MAX_LINE_BYTES],
        [b"x" * 65_536] * 17,
        [b"data: " + b"x" * 600_000 + b"\n"] * 2,
        [b"data:\n"] * (MAX_LINE_BYTES + 1),
    ],
    ids=["one piece", "many pieces", "two lines", "empty lines"],
)
def test_line_or_event_without_an_end_is_given_up(pieces):
    with pytest.raises(StreamTooLong):
        read(*pieces)


FIELDS = st.sampled_from([b"data", b"event", b"id", b"retry", b"", b"datas", b"error", b" data"])
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
VALUES = st.one_of(st.sampled_from([b"", b" ", b":", b"[DONE]", b"\xef\xbb\xbf"]), st.binary())
LINES = st.builds(
    lambda *parts: b"".join(parts), FIELDS, st.sampled_from([b":", b": ", b""]), VALUES
)
STREAMS = st.lists(st.builds(lambda line, end: line + end, st.one_of(LINES, st.just(b"")), ENDS))


def reference(stream):
    """Read a stream by the SDK's decoder, which refuses what is no UTF-8 and keeps a BOM."""
    text = stream.removeprefix(b"\xef\xbb\xbf").decode(errors="replace").encode()
    return [
        Event(e.data, e.event or "message") for e in SSEDecoder().iter_bytes(iter([text])) if e.data
    ]


@given(
    st.one_of(st.binary(), STREAMS.map(b"".join)),
    st.lists(st.integers(min_value=0, max_value=200)),
)
def test_any_bytes_in_any_pieces_are_read_as_the_sdk_reads_them(stream, cuts):
    stream += b"\n\n"
    places = sorted(min(cut, len(stream)) for cut in cuts)
    bounds = [0, *places, len(stream)]

    found = read(*(stream[start:end] for start, end in pairwise(bounds)))

    assert found == reference(stream)
