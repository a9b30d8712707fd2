"""The floor to compare with: a bare Celery task that calls the groq SDK and stores nothing.

The time of a job beyond it is spent by Aether; see `docs/performance.md`.
"""

from __future__ import annotations

import os
import threading

import groq
import httpx
import redis
from celery import Celery

DONE_KEY = "bench:done"
_local = threading.local()

app = Celery("bench_floor", broker=os.environ.get("BENCH_REDIS_URL", "redis://127.0.0.1:6379/1"))
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": 300},
)
_client = groq.Groq(
    api_key="bench",
    base_url=os.environ.get("BENCH_LLM_URL", "http://127.0.0.1:9"),
    max_retries=0,
    http_client=httpx.Client(
        limits=httpx.Limits(max_connections=100, max_keepalive_connections=100)
    ),
)


@app.task(name="floor.answer")
def answer(number: int) -> None:
    stream = _client.chat.completions.create(
        model="bench",
        messages=[{"role": "user", "content": "Help me build a scalable web app"}],
        max_completion_tokens=1024,
        stream=True,
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    _redis().lpush(DONE_KEY, f"{number}:{len(text)}")


def _redis() -> redis.Redis:
    if not hasattr(_local, "redis"):
        _local.redis = redis.Redis.from_url(os.environ["BENCH_REDIS_URL"])
    client: redis.Redis = _local.redis
    return client
