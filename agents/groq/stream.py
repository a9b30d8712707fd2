"""The bytes of a provider's answer become text and one end, or an error that says what came.

The bounds here hold whatever the server ignores: bytes of a stream, characters of an answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal

from agents.groq.chunks import Chunk, decode, to_chunk
from agents.groq.failures import Failure, clean, failure_in
from agents.groq.sse import Event, EventReader, StreamTooLong
from core.chat import RateLimits, StreamEnd, TextDelta, Usage
from core.model_errors import ModelError, NoAnswer, PermanentModelError, TransientModelError

#: Bytes of one response: 65,536 tokens in chunks of 300 bytes are 20 MB.
MAX_STREAM_BYTES: Final = 32 << 20
#: Outside of events so many characters are kept, as they may be the whole answer.
_MAX_OTHER_CHARS: Final = 1 << 20
_MAX_ANSWER_CHARS: Final = 1_000_000
#: A token has four characters of English prose. A run of blanks is one token, too, so that the
#: bound is four times as many, and the constant lets short answers be odd.
_CHARS_PER_TOKEN: Final = 16
_SPARE_CHARS: Final = 1024

#: What ends an answer. Any other reason is an end like "stop", unless it names a failure.
ENDS: Final[dict[str, Literal["whole", "cut", "filtered", "failed"]]] = {
    "stop": "whole",
    "eos": "whole",
    "eos_token": "whole",
    "end_turn": "whole",
    "stop_sequence": "whole",
    "tool_calls": "whole",
    "function_call": "whole",
    "length": "cut",
    "max_tokens": "cut",
    "max_output_tokens": "cut",
    "model_length": "cut",
    "content_filter": "filtered",
    "safety": "filtered",
    "recitation": "filtered",
    "abort": "failed",
    "aborted": "failed",
    "cancelled": "failed",
    "error": "failed",
    "timeout": "failed",
    "insufficient_system_resource": "failed",
    "repetition_truncation": "cut",
}
_FAILED: Final = re.compile(r"abort|cancel|error|fail|timeout|overload|resource", re.IGNORECASE)
_TITLE: Final = re.compile(r"<title[^>]*>([^<]{1,200})", re.IGNORECASE)
_DONE: Final = "[DONE]"


class AnswerReader:
    """Reads one answer, a stream or a body of JSON.

    Args:
        max_tokens: the answer is cut, as by the server, where it is clearly longer.
        limits: the provider's limits for the end.
        on_text: called when the first piece of the answer or of its reasoning is there.
        on_finish: called when a finish reason is there, after which only the usage may follow.
        on_done: called when the server says that nothing follows.
    """

    def __init__(
        self,
        max_tokens: int,
        limits: RateLimits,
        *,
        on_text: Callable[[], None],
        on_finish: Callable[[], None],
        on_done: Callable[[], None],
    ) -> None:
        self._chars_left = min(max_tokens * _CHARS_PER_TOKEN + _SPARE_CHARS, _MAX_ANSWER_CHARS)
        self._limits = limits
        self._on_text = on_text
        self._on_finish = on_finish
        self._on_done = on_done
        self._text: list[str] = []
        self._came: set[str] = set()
        self._finish_reason: str | None = None
        self._usage: Usage | None = None
        self._reasoning_tokens: int | None = None
        self._reasoning_chars = 0
        self._is_done = False
        self._other: list[str] = []
        self._other_chars = 0
        self._bytes = 0

    def items(self, pieces: Iterable[bytes]) -> Iterator[TextDelta | StreamEnd]:
        """Yield the text of the response's bytes, then the end.

        Reads on after the server's last word, so that the connection can be reused.

        Raises:
            ModelError: the server told an error, broke off, or sent no text or too much.
        """
        try:
            for event in EventReader(self._keep_other).events(self._bounded(pieces)):
                for chunk in self._chunks_of(event):
                    yield from self._take(chunk)
                    if self._chars_left <= 0:
                        yield self._end("length")
                        return
            if not self._text and not self._finish_reason:
                for chunk in self._chunks_of_other():
                    yield from self._take(chunk)
        except StreamTooLong as error:
            raise TransientModelError("The provider sent a line that is too long.") from error
        yield self._end("length" if self._chars_left <= 0 else self._ended_by())

    def _bounded(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._bytes += len(piece)
            if self._bytes > MAX_STREAM_BYTES:
                raise TransientModelError("The provider sent more bytes than an answer can have.")
            yield piece

    def _keep_other(self, line: str) -> None:
        """Keep a line that is part of no event: an error, or of a body that is no event stream."""
        if line.startswith("error:"):
            raise _failure_of(line.removeprefix("error:")).to_error()
        self._other_chars += len(line) + 1
        if self._other_chars <= _MAX_OTHER_CHARS:
            self._other.append(line)

    def _chunks_of(self, event: Event) -> Iterator[Chunk]:
        data = event.data.strip()
        if self._is_done:
            return
        if data in (_DONE, f'"{_DONE}"'):
            self._is_done = True
            self._on_done()
            return
        if event.type == "error":
            raise _failure_of(data).to_error()
        try:
            yield to_chunk(decode(data))
        except ValueError as error:
            if data.startswith("{"):
                raise TransientModelError(
                    "The provider sent a chunk that could not be decoded."
                ) from error
            # No chunk, such as a "ping"; it is told where nothing else comes.
            self._keep_other(data)

    def _chunks_of_other(self) -> Iterator[Chunk]:
        """Yield the chunks of a body that is no event stream: one JSON, or one on each line."""
        text = "\n".join(self._other).strip()
        for bodies in ([text], self._other):
            try:
                chunks = [to_chunk(decode(body)) for body in bodies if body.strip()]
            except ValueError:
                continue
            yield from chunks
            return

    def _take(self, chunk: Chunk) -> Iterator[TextDelta]:
        if chunk.failure is not None:
            raise chunk.failure.to_error()
        self._usage = chunk.usage or self._usage
        if chunk.reasoning_tokens is not None:
            self._reasoning_tokens = chunk.reasoning_tokens
        self._reasoning_chars += chunk.reasoning_chars
        if chunk.finish_reason and self._finish_reason is None:
            self._on_finish()
        self._finish_reason = chunk.finish_reason or self._finish_reason
        self._came.update(chunk.others)
        text = chunk.text
        # Some servers repeat the whole answer as a message at its end.
        if chunk.is_message and self._text and text == "".join(self._text):
            return
        if text or chunk.reasoning_chars:
            self._on_text()
        text = text[: max(0, self._chars_left)]
        self._chars_left -= len(text) + chunk.reasoning_chars
        if text:
            self._text.append(text)
            yield TextDelta(text)

    def _ended_by(self) -> str:
        """Return the answer's finish reason in our words.

        Raises:
            ModelError: the answer did not end, or ended without any text.
        """
        reason = self._finish_reason
        if reason is None and not self._is_done:
            raise self._broken_off()
        reason = reason or "stop"
        end = ENDS.get(reason.lower()) or ("failed" if _FAILED.search(reason) else "whole")
        if end == "failed":
            raise TransientModelError(f'The provider ended the answer with "{clean(reason)}".')
        if end == "cut":
            return "length"
        if end == "filtered":
            if not self._text:
                raise PermanentModelError("The provider's content filter withheld the answer.")
            return "content_filter"
        if not "".join(self._text).strip():
            came = " and ".join(sorted(self._came)) or "nothing"
            raise NoAnswer(
                f"The model ended without any text; what came: {came}.", usage=self._usage
            )
        return reason if reason in ("tool_calls", "function_call") else "stop"

    def _broken_off(self) -> ModelError:
        other = "\n".join(self._other).strip()
        if self._text or self._came or not other:
            return TransientModelError("The provider's stream ended before the answer did.")
        if other.startswith("<"):
            title = _TITLE.search(other)
            name = f' ("{clean(title[1])}")' if title else ""
            return TransientModelError(f"The provider sent a web page{name}, not an answer.")
        return TransientModelError(f"The provider sent no answer but this: {clean(other)}")

    def _end(self, finish_reason: str) -> StreamEnd:
        usage = self._usage
        # Text that used no tokens is a usage that cannot be true.
        if usage is not None and self._text and usage.output_tokens == 0:
            usage = None
        hidden = self._hidden_of(usage.output_tokens) if usage else 0
        return StreamEnd(
            finish_reason=finish_reason, usage=usage, hidden_tokens=hidden, limits=self._limits
        )

    def _hidden_of(self, output_tokens: int) -> int:
        """Return how many of the output's tokens were thoughts, by their share of characters where
        the provider does not tell."""
        if self._reasoning_tokens is not None:
            return min(self._reasoning_tokens, output_tokens)
        said = sum(map(len, self._text))
        return output_tokens * self._reasoning_chars // max(1, said + self._reasoning_chars)


def _failure_of(text: str) -> Failure:
    """Return the failure that an error's own line or event tells, as JSON or as plain words."""
    try:
        body = decode(text.strip())
    except ValueError:
        body = text
    if isinstance(body, dict):
        return failure_in(body) or failure_in({"error": body}) or Failure()
    return Failure(message=clean(body if isinstance(body, str) else text))
