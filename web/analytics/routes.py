"""The routes of analytics."""

from __future__ import annotations

from typing import Any

from flask import Response

from core.errors import Forbidden, StoreUnavailable
from core.money import to_usd
from web.accounts.auth import current_user, require_user
from web.admin.users import require_admin
from web.analytics import schemas
from web.analytics.figures import analytics, days_of, to_csv
from web.http.openapi import returns, routes
from web.services import current_services

analytics_api = routes(
    "analytics", __name__, "What was used, and how it went.", prefix="/api/ai/v4/analytics"
)
analytics_api.before_request(require_user)
admin_analytics_api = routes(
    "admin_analytics", __name__, "What everybody used.", prefix="/api/admin/analytics"
)
admin_analytics_api.before_request(require_user)
admin_analytics_api.before_request(require_admin)


@analytics_api.get(
    "/user", **returns({200: (schemas.Analytics, "The figures of your jobs.")}, StoreUnavailable)
)
def get_own(query: schemas.AnalyticsQuery) -> Any:
    """Return what your jobs used by day, model, agent or mode; a job counts on its first day.

    Of a model or an agent the jobs in which it took part count, and its own tokens and cost.
    """
    first, last = days_of(query.from_, query.to)
    days = current_services().usage.of_user(current_user().id, first, last)
    return analytics(days, first, last, query.by)


@admin_analytics_api.get(
    "",
    **returns(
        {200: (schemas.AdminAnalytics, "The figures of everybody's jobs.")},
        Forbidden,
        StoreUnavailable,
        text_type="text/csv",
    ),
)
def get_all(query: schemas.AdminAnalyticsQuery) -> Any:
    """Return what all users' jobs used; by user, those whose jobs cost most."""
    first, last = days_of(query.from_, query.to)
    usage = current_services().usage
    days = usage.of_all(first, last)
    found = analytics(days, first, last, query.by)
    if query.by == "user":
        found["groups"] = [
            {"key": one.user_id, "jobs": one.jobs, "cost_usd": to_usd(one.cost_micros)}
            for one in usage.top_spenders(first, last, limit=query.limit)
        ]
    if query.format == "json":
        return found
    response = Response(to_csv(found["groups"]), mimetype="text/csv")
    response.headers["Content-Disposition"] = 'attachment; filename="analytics.csv"'
    return response
