"""What processes measure, merged in a real Redis and read by window."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from core.errors import CoordinatorUnavailable
from monitoring.exposition import Gauge, exposition
from monitoring.families import (
    FAMILIES,
    HTTP_DURATION,
    HTTP_REQUESTS,
    LLM_COST,
    LLM_DURATION,
    RATELIMIT_REJECTIONS,
)
from monitoring.metrics import OTHER, SLOTS, TOTAL, Metrics
from monitoring.readings import WINDOWS, Readings


@pytest.fixture
def metrics(redis_client):
    return Metrics(redis_client)


@pytest.fixture
def readings(redis_client):
    return Readings(redis_client)


@pytest.mark.parametrize("window", WINDOWS)
def test_what_several_processes_measured_is_one_reading(window, redis_client, readings):
    for number in range(4):
        process = Metrics(redis_client)
        process.count(HTTP_REQUESTS, "GET", "/a", "2xx", amount=number)
        process.observe(LLM_DURATION, "m", value=float(number + 1))
        process.flush()

    reading = readings.window(window)

    assert reading.total(HTTP_REQUESTS) == 6
    spread = reading.spread(LLM_DURATION, model="m")
    assert (spread.count, spread.sum) == (4, 10.0)
    assert spread.quantile(1.0) == pytest.approx(4.0, rel=0.02)
    assert reading.spread(LLM_DURATION, model="n").count == 0


def test_labels_are_told_apart_and_summed(metrics, readings):
    metrics.count(HTTP_REQUESTS, "GET", "/a", "2xx")
    metrics.count(HTTP_REQUESTS, "GET", "/a", "5xx", amount=2)
    metrics.count(HTTP_REQUESTS, "POST", "/b", "5xx", amount=4)
    metrics.count(LLM_COST, "m", amount=1_500_000)
    metrics.flush()

    reading = readings.window("15m")

    assert reading.total(HTTP_REQUESTS, status_class="5xx") == 6
    assert reading.total(HTTP_REQUESTS, route="/a", status_class="5xx") == 2
    assert reading.values_of(HTTP_REQUESTS, "route") == ["/a", "/b"]
    assert reading.total(LLM_COST) == 1.5


def test_nothing_is_lost_or_doubled_while_many_threads_measure(metrics, readings):
    def measure(_):
        for _ in range(200):
            metrics.count(HTTP_REQUESTS, "GET", "/", "2xx")
            metrics.observe(HTTP_DURATION, "GET", "/", value=0.01)
        metrics.flush()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(measure, range(16)))
    metrics.flush()

    reading = readings.since_ever()
    assert reading.total(HTTP_REQUESTS) == 3200
    assert reading.spread(HTTP_DURATION).count == 3200


class LosingRedis(Redis):
    """Loses connection before or behind a script, as often as it is told."""

    losses: ClassVar[list[str]] = []

    def execute_command(self, *args, **options):
        loss = self.losses.pop(0) if args[0].startswith("EVAL") and self.losses else ""
        if loss == "before":
            raise RedisConnectionError
        answer = super().execute_command(*args, **options)
        if loss == "behind":
            raise RedisConnectionError
        return answer


def test_a_batch_counts_once_however_often_its_answer_is_lost(redis_client, readings):
    losing = LosingRedis(connection_pool=redis_client.connection_pool)
    LosingRedis.losses[:] = ["before", "behind", "behind", "before"]
    metrics = Metrics(losing)

    for _ in range(6):
        metrics.count(HTTP_REQUESTS, "GET", "/", "2xx")
        metrics.flush()

    assert readings.since_ever().total(HTTP_REQUESTS) == 6
    assert not losing.losses


def test_a_forked_process_does_not_add_what_its_parent_had(metrics, redis_client, readings):
    metrics.count(HTTP_REQUESTS, "GET", "/", "2xx")
    child = os.fork()
    if not child:
        # Only what the child itself measures is its own.
        metrics.flush()
        os._exit(0)
    os.waitpid(child, 0)
    redis_client.connection_pool.disconnect()
    metrics.flush()

    assert readings.since_ever().total(HTTP_REQUESTS) == 1


def test_too_many_series_count_as_other(metrics, readings):
    for number in range(400):
        metrics.count(RATELIMIT_REJECTIONS, f"limit-{number}")
    metrics.flush()

    reading = readings.window("1h")

    assert reading.total(RATELIMIT_REJECTIONS) == 400
    assert reading.total(RATELIMIT_REJECTIONS, limit=OTHER) == 100


def test_slots_go_when_no_window_reads_them(metrics, redis_client):
    metrics.count(HTTP_REQUESTS, "GET", "/", "2xx")
    metrics.flush()

    for slots in SLOTS:
        (key,) = redis_client.keys(f"aether:metrics:{slots.name}:*")
        lives_s = redis_client.ttl(key)
        longest = max(s.length_s * number for s, number in WINDOWS.values() if s is slots)
        assert longest + slots.length_s <= lives_s <= slots.kept_s
    assert redis_client.ttl(TOTAL) == -1


def test_a_window_reads_what_was_added_since(metrics, readings):
    for expected in (1, 2, 3):
        metrics.count(HTTP_REQUESTS, "GET", "/", "2xx")
        metrics.flush()

        assert readings.window("15m").total(HTTP_REQUESTS) == expected


def test_readings_say_that_redis_is_away():
    with pytest.raises(CoordinatorUnavailable):
        Readings(Redis(port=1)).window("15m")


def test_prometheus_reads_every_metric(metrics, readings):
    for family in FAMILIES.values():
        labels = ['a"b\\c|d#e\n'] * len(family.labels)
        if family.kind == "counter":
            metrics.count(family, *labels, amount=family.scale)
        else:
            metrics.observe(family, *labels, value=0.2)
    metrics.flush()
    gauges = [Gauge("aether_queue_depth", "Waiting.", {(("queue", "chat.run"),): 3})]

    text = exposition(readings.since_ever(), gauges)

    found = {family.name: family for family in text_string_to_metric_families(text)}
    assert set(found) == {n.removesuffix("_total") for n in FAMILIES} | {"aether_queue_depth"}
    (cost,) = found["aether_llm_cost_usd"].samples
    assert (cost.value, cost.labels) == (1.0, {"model": 'a"b\\c_d_e\n'})
    durations = {s.labels.get("le", s.name): s.value for s in found[LLM_DURATION.name].samples}
    assert durations["+Inf"] == durations["aether_llm_duration_seconds_count"] == 1
    assert durations["aether_llm_duration_seconds_sum"] == 0.2
