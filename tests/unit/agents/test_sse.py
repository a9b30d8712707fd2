"""A provider's stream, byte by byte."""

from __future__ import annotations

import pytest

from agents.groq.sse import read_chunks
from core.chat import Usage
from core.errors import TransientModelError

STREAM = (
    b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}\n\n'
    b": a comment\n\n"
    b'data: {"choices":[{"index":0,"delta":{"content":"Gr\xc3\xbc\xc3\x9fe"}}]}\r\n\r\n'
    b'data:{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],'
    b'"x_groq":{"usage":{"prompt_tokens":7,"completion_tokens":2,'
    b'"prompt_tokens_details":{"cached_tokens":4}}}}\n\n'
    b"data: [DONE]\n\n"
)


def read(pieces):
    return read_chunks(pieces, lambda: None)


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_chunks_are_the_same_however_the_bytes_are_cut(size):
    pieces = [STREAM[i : i + size] for i in range(0, len(STREAM), size)]

    first, second, last = read(pieces)

    assert first.choices[0].delta.content is None
    assert second.choices[0].delta.content == "Grüße"
    assert last.choices[0].finish_reason == "stop"
    assert last.billed == Usage(input_tokens=7, cached_input_tokens=4, output_tokens=2)


def test_usage_is_found_when_it_comes_in_a_chunk_without_choices():
    (chunk,) = read([b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n'])

    assert chunk.billed == Usage(input_tokens=1)


@pytest.mark.parametrize(
    ("line", "failure"),
    [
        (b'{"choices":[],"error":{"message":"overloaded"}}', "overloaded"),
        (b'{"choices":[],"error":"overloaded"}', "overloaded"),
        (b'{"choices":[],"x_groq":{"error":"cut"}}', "cut"),
        (b'{"choices":[]}', None),
    ],
)
def test_failure_is_seen_wherever_the_provider_puts_it(line, failure):
    (chunk,) = read([b"data: " + line + b"\n\n"])

    assert chunk.failure == failure


@pytest.mark.parametrize("line", [b"{not json", b"[]", b'{"choices":[{"delta":{"content":5}}]}'])
def test_line_that_is_no_chunk_is_a_passing_failure(line):
    with pytest.raises(TransientModelError):
        list(read([b"data: " + line + b"\n\n"]))


def test_line_without_an_end_is_given_up():
    with pytest.raises(TransientModelError):
        list(read([b"data: " + b"x" * (2 << 20)]))


def test_end_is_told_when_the_stream_says_so():
    told = []

    list(read_chunks([STREAM], lambda: told.append("done")))

    assert told == ["done"]
