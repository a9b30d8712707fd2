"""The errors about accounts and their plans; core/errors.py says how they are written.

InvalidRequest
  UnknownPlan                    400
  UnknownScope                   400
  InvalidResetToken              400
Forbidden
  DemoDisabled                   403
  TooManyAgents                  403
  WrongPassword                  403
  SessionRequired                403
  MissingScope                   403
  PlanNotAllowed                 403
  TrialEnded                     403
NotFound
  UserNotFound                   404
  ApiKeyNotFound                 404
  SessionNotFound                404  also for another account's session
AetherError
  TooManyApiKeys                 409
  AccountExists                  409
  NoPassword                     409
  TrialUsed                      409
"""

from __future__ import annotations

from core.errors import AetherError, Forbidden, InvalidRequest, NotFound


class UnknownPlan(InvalidRequest):
    """No plan has this name."""

    code = "unknown_plan"


class InvalidResetToken(InvalidRequest):
    """This link does not work: it was used, replaced or is older than an hour; ask for another."""

    code = "invalid_reset_token"


class UnknownScope(InvalidRequest):
    """No scope has this name."""

    code = "unknown_scope"


class DemoDisabled(Forbidden):
    """This deployment has no demo accounts."""

    code = "demo_disabled"


class TooManyAgents(Forbidden):
    """Your plan does not allow so many agents on one job."""

    code = "too_many_agents"


class WrongPassword(Forbidden):
    """The password is wrong; nothing was changed."""

    code = "wrong_password"


class SessionRequired(Forbidden):
    """An API key cannot do this; log in and use the session's token."""

    code = "session_required"


class MissingScope(Forbidden):
    """This API key was not made for that."""

    code = "missing_scope"


class PlanNotAllowed(Forbidden):
    """An API key's plan must not be above its account's."""

    code = "plan_not_allowed"


class TrialEnded(Forbidden):
    """Your trial has ended: you can read what you have; an administrator can give you a plan."""

    code = "trial_ended"


class UserNotFound(NotFound):
    """No account has this id or address."""

    code = "user_not_found"


class SessionNotFound(NotFound):
    """No session of this account has this id."""

    code = "session_not_found"


class ApiKeyNotFound(NotFound):
    """This account has no such API key."""

    code = "api_key_not_found"


class TooManyApiKeys(AetherError):
    """An account has at most 50 API keys; revoke one."""

    code = "too_many_api_keys"
    status = 409


class AccountExists(AetherError):
    """An account with this e-mail address exists already; log in instead."""

    code = "account_exists"
    status = 409


class NoPassword(AetherError):
    """This account has no password to change: it is a demo account."""

    code = "no_password"
    status = 409


class TrialUsed(AetherError):
    """This account has had its trial, and there is only one."""

    code = "trial_used"
    status = 409
