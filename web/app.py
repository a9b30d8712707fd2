"""The web's composition root: an application from settings."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from flask_openapi3.openapi import OpenAPI

from cache.fingerprint import fingerprints_of
from cache.response_cache import ResponseCache
from core.models import read_catalogue
from core.settings import Settings, read_settings
from core.webhooks import Reachable
from monitoring.job_metrics import cache_counter
from monitoring.metrics import Metrics
from monitoring.readings import Readings
from storage.accounts.api_keys import ApiKeys
from storage.accounts.audit import AuditLog
from storage.accounts.cache_secrets import CacheSecrets
from storage.accounts.deletions import Deletions
from storage.accounts.password_changes import PasswordChanges
from storage.accounts.personal_data import PersonalData
from storage.accounts.revoked_tokens import RevokedTokens
from storage.accounts.sessions import RefreshFamilies
from storage.accounts.usage import PlanUses
from storage.accounts.users import Accounts
from storage.accounts.webhook_secrets import WebhookSecrets
from storage.connections import (
    cache_redis_client,
    close_all,
    is_mongo_up,
    is_redis_up,
    mongo_database,
    redis_client,
    redis_probe,
)
from storage.events.feed import EventFeed
from storage.events.hub import EventHub
from storage.events.log import EventLog
from storage.jobs.acceptance import Acceptance
from storage.jobs.cancellation import cancellation_of
from storage.jobs.drain import Drain
from storage.jobs.feedback import LiveFeedback
from storage.jobs.lines import Lines
from storage.jobs.overview import Overview
from storage.jobs.recovery import Recovery
from storage.jobs.store import JobStore
from storage.jobs.user_keys import UserKeys
from storage.limits.lessons import Lessons
from storage.limits.throttle import Throttle
from storage.loop_reports import LoopReports
from storage.records.bulk import BulkActions
from storage.records.conversations import Conversations
from storage.records.feedback import FeedbackRecords
from storage.records.format_watch import FormatWatch
from storage.records.job_logs import JobLogs
from storage.records.job_search import JobSearch
from storage.records.jobs import JobRecords
from storage.records.ledger import Ledger
from storage.records.lost_jobs import LostJobs
from storage.records.usage import UsageRecords
from storage.records.webhooks import WebhookRecords
from web.accounts.account import account_api
from web.accounts.auth import auth_api
from web.accounts.key_routes import keys_api
from web.accounts.password_routes import password_api, reset_api
from web.accounts.passwords import Passwords
from web.accounts.scopes import SCOPE_OF
from web.accounts.sessions import sessions_api
from web.accounts.subscription import subscription_api
from web.accounts.tokens import Tokens
from web.admin.users import admin_api
from web.admission import CoordinatorMemory, OpenRequests
from web.analytics.routes import admin_analytics_api, analytics_api
from web.conversations.routes import conversations_api
from web.docs.page import register_page
from web.health import health_api
from web.http.context import wrap_requests
from web.http.cors import allow_origins
from web.http.errors import Problem, refuse_invalid, register_errors
from web.http.openapi import INFO, SECURITY_SCHEMES, register_document
from web.http.proxies import ClientAddress
from web.jobs.bulk import bulk_api
from web.jobs.chat import chat_api
from web.jobs.feedback import feedback_api
from web.jobs.jobs import jobs_api
from web.jobs.retry import retry_api
from web.metrics import metrics_api
from web.pages.reset_password import register_reset_page
from web.services import APP_LOAD_ERROR, EXTENSION, WebServices
from web.webhooks.routes import webhooks_api
from workers.app import celery_app
from workers.queue import JobQueue, WakeUps

if TYPE_CHECKING:
    from flask import Flask
    from redis import Redis

#: Every route of the API.
BLUEPRINTS: Final = (
    *(auth_api, sessions_api, password_api, reset_api, keys_api, account_api),
    *(subscription_api, chat_api, jobs_api, feedback_api, retry_api, conversations_api),
    *(bulk_api, webhooks_api, analytics_api, admin_analytics_api, admin_api),
    *(health_api, metrics_api),
)
#: Refuses a submit within a second while MongoDB is away; the driver checks every half second.
_MONGO_SELECTION_TIMEOUT_S: Final = 0.45
#: How long a request waits for a Redis that hangs; one that is down refuses at once.
_REDIS_ANSWER_TIMEOUT_S: Final = 2.0


def create_app(settings: Settings | None = None) -> OpenAPI:
    """Build the application; connections are made when a request needs them.

    Raises:
        ValueError: a secret that the API works with is missing, or weak in production.
    """
    settings = settings or read_settings()
    settings.check_secrets("api")
    app = OpenAPI(
        "web",
        info=INFO,
        security_schemes=SECURITY_SCHEMES,
        validation_error_status=400,
        validation_error_model=Problem,
        validation_error_callback=refuse_invalid,
        doc_ui=False,
        static_folder=None,
    )
    if settings.trusted_proxies:
        app.wsgi_app = ClientAddress(app.wsgi_app, settings.trusted_proxies)  # type: ignore[method-assign]
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    services = app.extensions[EXTENSION] = _build_services(app, settings)
    wrap_requests(app, services.metrics)
    allow_origins(app, settings.cors_origins)
    register_errors(app)
    for blueprint in BLUEPRINTS:
        app.register_api(blueprint)
    register_document(app, bounds=_bounds_of_requests(settings), scopes=SCOPE_OF)
    register_page(app)
    register_reset_page(app)
    return app


def _bounds_of_requests(settings: Settings) -> dict[str, dict[str, int]]:
    """Return the bounds of request fields that settings give, as keywords of JSON Schema."""
    return {
        "message": {"maxLength": settings.max_message_chars},
        "max_tokens": {"maximum": settings.max_output_tokens},
    }


def _end_this_process() -> None:
    """End gunicorn as a whole: it starts no worker anew for one that could not load."""
    os._exit(APP_LOAD_ERROR)


def _dependencies(probe: Any, database: Any) -> dict[str, Callable[[], bool]]:
    """Return the checks of the servers that every request may need, by name."""
    return {"redis": partial(is_redis_up, probe), "mongodb": partial(is_mongo_up, database)}


def _close(hub: EventHub, metrics: Metrics, *clients: Any) -> None:
    hub.close()
    metrics.flush()
    close_all(*clients)


def _account_services(
    app: Flask, settings: Settings, redis: Redis, database: Any
) -> dict[str, Any]:
    """Return the services of accounts, by the names that they have in `WebServices`."""
    accounts = Accounts(database)
    return {
        "accounts": accounts,
        "api_keys": ApiKeys(database),
        "audit": AuditLog(database),
        "cache_secrets": CacheSecrets(database),
        "password_changes": PasswordChanges(database, accounts),
        "deletions": Deletions(database),
        "passwords": Passwords(),
        "personal_data": PersonalData(database),
        "plan_uses": PlanUses(redis),
        "refresh_families": RefreshFamilies(database, life_s=settings.refresh_token_s),
        "revoked_tokens": RevokedTokens(redis),
        "throttle": Throttle(redis),
        "tokens": Tokens(app, settings),
        "user_keys": UserKeys(redis),
        "webhook_secrets": WebhookSecrets(database),
        "deliveries": WebhookRecords(database),
        "reachable": Reachable(settings.webhook_allow),
    }


def _record_services(database: Any, store: JobStore, records: JobRecords) -> dict[str, Any]:
    """Return the services of what jobs leave behind, by their names in `WebServices`."""
    return {
        "job_records": records,
        "job_logs": JobLogs(database),
        "job_search": JobSearch(database, store),
        "bulk_actions": BulkActions(database),
        "feedback": FeedbackRecords(database),
        "conversations": Conversations(database),
        "usage": UsageRecords(database),
    }


def _servers(settings: Settings, metrics: Metrics) -> tuple[Any, Redis]:
    """Return the database and the Redis that requests use, each command of which is measured."""
    observe = metrics.observe_command
    return (
        mongo_database(settings, selection_timeout_s=_MONGO_SELECTION_TIMEOUT_S, observe=observe),
        redis_client(
            settings, name="aether-api", answer_timeout_s=_REDIS_ANSWER_TIMEOUT_S, observe=observe
        ),
    )


def _build_services(app: Flask, settings: Settings) -> WebServices:
    metrics = Metrics(redis_client(settings, name="aether-metrics", answer_timeout_s=5.0))
    database, redis = _servers(settings, metrics)
    probe = redis_probe(settings)
    cache_redis = cache_redis_client(settings)
    catalogue = read_catalogue(settings.llm_provider, settings.models_file)
    store, log, hub = JobStore(redis), EventLog(redis), EventHub(redis)
    records = JobRecords(database)

    return WebServices(
        settings=settings,
        catalogue=catalogue,
        cache=ResponseCache(cache_redis, ttl_s=settings.cache_ttl_s, count=cache_counter(metrics)),
        metrics=metrics,
        readings=Readings(redis),
        overview=Overview(redis),
        fingerprints=fingerprints_of(settings),
        job_store=store,
        acceptance=Acceptance(redis),
        lost_jobs=LostJobs(store, Recovery(redis), records, Ledger(database)),
        lessons=Lessons(redis, catalogue.models),
        **_record_services(database, store, records),
        live_feedback=LiveFeedback(redis),
        event_log=log,
        feed=EventFeed(hub, log),
        cancellation=cancellation_of(redis, lease_s=settings.lease_s),
        queue=JobQueue(Lines(redis, lease_s=settings.lease_s), WakeUps(celery_app)),
        **_account_services(app, settings, redis, database),
        dependencies=_dependencies(probe, database),
        open_requests=OpenRequests(),
        memory=CoordinatorMemory(probe),
        loops=(hub.loop, metrics.loop),
        loop_reports=LoopReports(probe),
        format_watch=FormatWatch(redis, database, _end_this_process),
        drain_mark=Drain(probe),
        drain=hub.drain,
        close=partial(_close, hub, metrics, database, redis, probe, cache_redis),
    )
