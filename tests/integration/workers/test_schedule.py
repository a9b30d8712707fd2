"""The scheduler of the periodic tasks outlives a Redis that refuses."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from celery import Celery
from redbeat.schedulers import acquire_distributed_beat_lock
from redis import Redis
from redis.exceptions import LockNotOwnedError

from tests.services import start_redis
from workers.schedule import GuardedScheduler


@pytest.fixture
def redis(tmp_path):
    server = start_redis(tmp_path)
    with Redis.from_url(server.url) as client:
        yield client
    server.stop()


@pytest.fixture
def scheduler(redis):
    url = f"redis://127.0.0.1:{redis.get_connection_kwargs()['port']}/0"
    app = Celery("beat", broker=url, set_as_current=False)
    app.conf.update(redbeat_redis_url=url, redbeat_lock_timeout=5, beat_max_loop_interval=1)
    app.conf.beat_schedule = {"sweep": {"task": "sweep", "schedule": 0.0}}
    scheduler = GuardedScheduler(app, max_interval=1)
    acquire_distributed_beat_lock(SimpleNamespace(scheduler=scheduler))
    return scheduler


def published(redis):
    return redis.llen("celery")


def test_tasks_are_sent_again_when_redis_takes_writes_again(redis, scheduler):
    redis.config_set("min-replicas-to-write", 1)
    assert scheduler.tick() == 1.0
    assert published(redis) == 0

    redis.config_set("min-replicas-to-write", 0)
    scheduler.tick()

    assert published(redis) == 1


def test_the_lock_is_taken_again_when_it_ran_out_meanwhile(redis, scheduler):
    redis.delete(scheduler.lock_key)

    assert scheduler.tick() == 1.0
    scheduler.tick()

    assert published(redis) == 1


def test_the_lock_is_taken_again_when_it_ran_out_while_redis_refuses(redis, scheduler):
    redis.delete(scheduler.lock_key)
    redis.config_set("min-replicas-to-write", 1)
    assert scheduler.tick() == 1.0

    redis.config_set("min-replicas-to-write", 0)
    scheduler.tick()
    scheduler.tick()

    assert published(redis) == 1


def test_the_scheduler_leaves_when_another_one_has_the_lock(redis, scheduler):
    redis.set(scheduler.lock_key, "another")

    with pytest.raises(LockNotOwnedError):
        scheduler.tick()


def test_the_schedule_is_written_again_when_redis_lost_everything(redis, scheduler):
    redis.flushall()

    assert scheduler.tick() == 1.0
    scheduler.tick()

    assert published(redis) == 1
