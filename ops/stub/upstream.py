"""The stub upstream: a local server that speaks Groq's chat protocol, with faults on request.

It is no model: it answers `token-1 token-2 …` after scripted delays. A question may contain
directives such as `[[stub:429 retry_after=1]]`; `python -m ops.stub.upstream --help` lists them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import re
import signal
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from ops.stub import faults
from ops.stub.faults import to_line
from ops.stub.limits import MinuteLimit
from ops.stub.script import (
    DIRECTIVES,
    Prompt,
    ScriptedAnswer,
    has_directive,
    prompt_tokens,
    read_prompt,
    script_answer,
    usage_of,
)

_STALL_S: Final = 600.0


@dataclass
class Stats:
    """Counts of calls, read at /stub/stats and reset by a POST to /stub/reset."""

    requests: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    completed: int = 0
    client_closed: int = 0
    over_limit: int = 0
    faults: Counter[str] = field(default_factory=Counter)


class StubUpstream:
    """Answers calls to /chat/completions; every connection is kept alive."""

    def __init__(
        self,
        *,
        first_token_ms: float,
        tokens: int,
        token_gap_ms: float,
        requests_per_minute: int,
        tokens_per_minute: int,
    ) -> None:
        self._request_limit = MinuteLimit("requests", requests_per_minute)
        self._token_limit = MinuteLimit("tokens", tokens_per_minute)
        self._first_token_ms = first_token_ms
        self._tokens = tokens
        self._token_gap_ms = token_gap_ms
        self._seen: Counter[Prompt] = Counter()
        self.stats = Stats()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A connection that a client keeps open is cancelled when the server stops.
        gone = (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError)
        with contextlib.suppress(*gone):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                method, path, _ = head.split(b"\r\n", 1)[0].split(b" ")
                found = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
                body = await reader.readexactly(int(found[1])) if found else b""
                if path.endswith(b"/chat/completions"):
                    await self._chat(reader, writer, json.loads(body))
                else:
                    self._plain(method, path, writer)
        writer.close()

    def _plain(self, method: bytes, path: bytes, writer: asyncio.StreamWriter) -> None:
        if path == b"/stub/stats":
            send_json(writer, 200, vars(self.stats))
        elif path == b"/stub/reset" and method == b"POST":
            self.stats, self._seen = Stats(), Counter()
            send_json(writer, 200, {})
        elif path.endswith(b"/models"):
            ids = ("openai/gpt-oss-20b", "openai/gpt-oss-120b")
            send_json(writer, 200, {"object": "list", "data": [{"id": i} for i in ids]})
        else:
            send_json(writer, 404, {"error": {"message": "no such path"}})

    def _script(self, request: dict[str, Any]) -> ScriptedAnswer:
        prompt = read_prompt(request)
        self._seen[prompt] += 1
        return script_answer(
            prompt,
            is_repeat=self._seen[prompt] > 1,
            tokens=self._tokens,
            first_ms=self._first_token_ms,
            gap_ms=self._token_gap_ms,
            max_tokens=request["max_completion_tokens"],
        )

    async def _chat(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: dict[str, Any]
    ) -> None:
        stats = self.stats
        stats.requests += 1
        stats.in_flight += 1
        stats.max_in_flight = max(stats.max_in_flight, stats.in_flight)
        answer = asyncio.ensure_future(self._answer(writer, request))
        hang_up = asyncio.ensure_future(reader.read(1)) if self._may_wait(request) else None
        try:
            await asyncio.wait(
                [task for task in (answer, hang_up) if task], return_when="FIRST_COMPLETED"
            )
            if not answer.done():
                stats.client_closed += 1
                answer.cancel()
                raise ConnectionError
            answer.result()
            stats.completed += 1
        finally:
            stats.in_flight -= 1
            if hang_up is not None and not hang_up.done():
                hang_up.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await hang_up

    def _may_wait(self, request: dict[str, Any]) -> bool:
        """Say whether the answer takes time, so that the client may hang up before its end."""
        waits = self._first_token_ms > 0 or self._token_gap_ms > 0
        return waits or has_directive(read_prompt(request))

    async def _answer(self, writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
        script = self._script(request)
        if not self._is_within_limits(writer, script, request):
            return
        status = next((int(word) for word in script.options if word.isdigit()), None)
        if status is not None:
            self.stats.faults[str(status)] += 1
            send_body(writer, status, *faults.refusal(script.options, status))
            return
        if "head_first" in script.options:
            self._send_head(writer, script)
        if "stall_before" in script.options:
            self.stats.faults["stall_before"] += 1
            await asyncio.sleep(float(script.options["stall_before"] or _STALL_S))
        await asyncio.sleep(script.first_ms / 1000)
        usage = usage_of(script, request)
        body = faults.whole_body(script.options, "".join(script.tokens), usage)
        if body is not None:
            send_body(writer, 200, {}, body)
            return
        if "head_first" not in script.options:
            self._send_head(writer, script)
        await self._tokens_of(writer, script)
        done = faults.framed(script.options, b"data: [DONE]\n\n")
        send_chunks(writer, *self._ending(script, request), done, b"")

    def _send_head(self, writer: asyncio.StreamWriter, script: ScriptedAnswer) -> None:
        lines = ["HTTP/1.1 200 OK", "content-type: text/event-stream", "transfer-encoding: chunked"]
        headers = self._limit_headers() | faults.limit_headers(script.options)
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())

    def _is_within_limits(
        self, writer: asyncio.StreamWriter, script: ScriptedAnswer, request: dict[str, Any]
    ) -> bool:
        """Count the request against the limits, or answer 429 and return False."""
        tokens = prompt_tokens(request) + len(script.tokens)
        wait_s = max(self._request_limit.wait_s(1), self._token_limit.wait_s(tokens))
        if wait_s > 0:
            self.stats.over_limit += 1
            headers = {"retry-after": str(math.ceil(wait_s))} | self._limit_headers()
            send_json(writer, 429, {"error": {"message": "stub's limit is reached"}}, headers)
            return False
        self._request_limit.take(1)
        self._token_limit.take(tokens)
        return True

    def _limit_headers(self) -> dict[str, str]:
        return self._request_limit.headers() | self._token_limit.headers()

    async def _tokens_of(self, writer: asyncio.StreamWriter, script: ScriptedAnswer) -> None:
        start = faults.opening(script.options)
        pending = [start] if start else []
        for number, token in enumerate(script.tokens, start=1):
            pending.append(faults.token_line(script.options, token))
            # Without delays and faults the tokens go out in one write, which costs a bench less.
            if script.gap_ms or script.options:
                send_chunks(writer, *pending)
                pending = []
                await self._fault_after(number, writer, script)
                await asyncio.sleep(script.gap_ms / 1000)
        send_chunks(writer, *pending)

    async def _fault_after(
        self, number: int, writer: asyncio.StreamWriter, script: ScriptedAnswer
    ) -> None:
        if script.after("stall_after") == number:
            self.stats.faults["stall_after"] += 1
            await asyncio.sleep(_STALL_S)
        if script.after("cut_after") == number:
            self.stats.faults["cut_after"] += 1
            writer.transport.abort()
            raise ConnectionError
        if script.after("error_after") == number:
            self.stats.faults["error_after"] += 1
            send_chunks(writer, to_line({"delta": {}}, x_groq={"error": "stub says cut"}))
        if script.after("garbage_after") == number:
            self.stats.faults["garbage_after"] += 1
            send_chunks(writer, b"data: {not json\n\n")

    def _ending(self, script: ScriptedAnswer, request: dict[str, Any]) -> list[bytes]:
        options = script.options
        reason = "length" if "length" in options else options.get("finish", "stop")
        end: dict[str, Any] = {
            "delta": {},
            "finish_reason": None if "done_only" in options else reason,
        }
        usage = faults.usage(options, usage_of(script, request))
        if "no_usage" in options:
            lines = [to_line(end)]
        else:
            lines = [to_line(end, x_groq={"id": "req_stub", "usage": usage})]
            if (request.get("stream_options") or {}).get("include_usage"):
                lines.append(to_line(None, usage=usage))
        return [faults.framed(options, line) for line in lines]


def send_chunks(writer: asyncio.StreamWriter, *chunks: bytes) -> None:
    """Write each as one HTTP chunk; an empty one ends the response."""
    writer.write(b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks))


def send_json(
    writer: asyncio.StreamWriter,
    status: int,
    body: object,
    headers: dict[str, str] | None = None,
) -> None:
    payload = json.dumps(body).encode()
    send_body(writer, status, {"content-type": "application/json"} | (headers or {}), payload)


def send_body(
    writer: asyncio.StreamWriter, status: int, headers: dict[str, str], payload: bytes
) -> None:
    lines = [f"HTTP/1.1 {status} Stub", f"content-length: {len(payload)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode() + payload)


async def serve_until_terminated(port: int, stub: StubUpstream) -> None:
    server = await asyncio.start_server(stub.serve, "127.0.0.1", port, limit=1 << 20)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"{DIRECTIVES}\n{faults.HOSTILE}",
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--first-token-ms", type=float, default=20)
    parser.add_argument("--tokens", type=int, default=10)
    parser.add_argument("--token-gap-ms", type=float, default=0)
    parser.add_argument("--requests-per-minute", type=int, default=0, help="0: no limit")
    parser.add_argument("--tokens-per-minute", type=int, default=0, help="0: no limit")
    options = parser.parse_args()
    stub = StubUpstream(
        first_token_ms=options.first_token_ms,
        tokens=options.tokens,
        token_gap_ms=options.token_gap_ms,
        requests_per_minute=options.requests_per_minute,
        tokens_per_minute=options.tokens_per_minute,
    )
    asyncio.run(serve_until_terminated(options.port, stub))


if __name__ == "__main__":
    main()
