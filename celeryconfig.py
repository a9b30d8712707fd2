"""Celery's settings and nothing else; one module for the API, the workers, beat and Flower.

The visibility timeout has to be the same wherever the broker is used, which is why there is no
second place for any of these.
"""

from __future__ import annotations

from kombu import Exchange, Queue

from core.server_addresses import broker_tls, celery_url, redis_tls
from core.start import settings_or_exit
from workers import names

_settings = settings_or_exit()
_redis_url = _settings.redis_url.get_secret_value()

broker_url = celery_url(_settings.celery_broker_url)
broker_use_ssl = broker_tls(_settings.celery_broker_url, _settings)
#: Results are ignored; a chord's counting needs the backend.
result_backend = celery_url(_redis_url)
redis_backend_use_ssl = redis_tls(_redis_url, _settings)
task_ignore_result = True
result_expires = 3600
result_backend_thread_safe = True
#: The default is to retry for ever, which holds a worker's slot for as long as Redis is away.
result_backend_always_retry = True
result_backend_max_retries = 10
redis_socket_timeout = 10
redis_socket_connect_timeout = 3
#: A Unix socket knows no such option.
redis_socket_keepalive = not result_backend.startswith("redis+socket")
redis_backend_health_check_interval = 25

task_serializer = "json"
result_serializer = "json"
event_serializer = "json"
accept_content = ["json"]
result_accept_content = ["json"]

task_queues = [Queue(name, Exchange(name), routing_key=name) for name in names.QUEUES]
task_default_queue = names.RUN_QUEUE
#: A mistyped queue fails instead of filling where nobody reads.
task_create_missing_queues = False
task_routes = {
    names.RUN_CHAT: {"queue": names.RUN_QUEUE},
    names.RUN_AGENT: {"queue": names.AGENT_QUEUE},
    names.FINISH_ROUND: {"queue": names.FINISH_QUEUE},
    names.SWEEP: {"queue": names.UPKEEP_QUEUE},
}

#: The second safety net behind the job's lease.
task_acks_late = True
task_reject_on_worker_lost = True
worker_prefetch_multiplier = 1
#: True loses jobs when the connection to Redis breaks.
worker_cancel_long_running_tasks_on_connection_loss = False
#: A refusal of Redis (full, read-only) is an error of the channel; without this it ends the worker.
broker_channel_error_retry = True
worker_consumer = "workers.celery_guards:GuardedConsumer"
worker_hijack_root_logger = False
worker_redirect_stdouts = False
worker_eta_task_limit = 1000
worker_enable_remote_control = True
#: Flower switches events on for as long as it runs.
worker_send_task_events = False
task_send_sent_event = False

visibility_timeout = 300
_redis_transport = {
    #: At least twice a job's deadline, or a slow job is delivered a second time.
    "visibility_timeout": visibility_timeout,
    "socket_timeout": 15,
    "socket_connect_timeout": 3,
    "socket_keepalive": True,
    "health_check_interval": 25,
    #: A repeat of a push whose answer was lost is a second message.
    "retry_on_timeout": False,
    "max_connections": 40,
    #: A killed worker's messages come back after the visibility timeout plus 5 s, not plus 100 s.
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
}
broker_transport_options = _redis_transport if _settings.broker_is_redis else {}
result_backend_transport_options = {
    "visibility_timeout": visibility_timeout,
    "retry_policy": {"timeout": 5.0, "max_retries": 3},
}
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
broker_pool_limit = 20
broker_pool_acquire_timeout = 2
#: Gives up in under a second; the job stays queued and the sweeper sends it.
task_publish_retry_policy = {
    "max_retries": 2,
    "interval_start": 0,
    "interval_step": 0.1,
    "interval_max": 0.3,
}

beat_schedule = {
    #: A net below the loop of upkeep's worker, which sweeps every few seconds.
    "sweep": {"task": names.SWEEP, "schedule": 60.0, "options": {"expires": 60}},
}
beat_max_loop_interval = 1
redbeat_redis_url = _redis_url
redbeat_redis_use_ssl = redis_tls(_redis_url, _settings) or None
redbeat_key_prefix = "aether:beat:"
redbeat_lock_timeout = 5 * beat_max_loop_interval
