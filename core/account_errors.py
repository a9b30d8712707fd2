"""The errors about accounts and their plans; core/errors.py says how they are written.

InvalidRequest
  UnknownPlan                    400
Forbidden
  DemoDisabled                   403
  TooManyAgents                  403
  TrialEnded                     403
NotFound
  UserNotFound                   404
AetherError
  AccountExists                  409
  TrialUsed                      409
"""

from __future__ import annotations

from core.errors import AetherError, Forbidden, InvalidRequest, NotFound


class UnknownPlan(InvalidRequest):
    """No plan has this name."""

    code = "unknown_plan"


class DemoDisabled(Forbidden):
    """This deployment has no demo accounts."""

    code = "demo_disabled"


class TooManyAgents(Forbidden):
    """Your plan does not allow so many agents on one job."""

    code = "too_many_agents"


class TrialEnded(Forbidden):
    """Your trial has ended: you can read what you have; an administrator can give you a plan."""

    code = "trial_ended"


class UserNotFound(NotFound):
    """No account has this id or address."""

    code = "user_not_found"


class AccountExists(AetherError):
    """An account with this e-mail address exists already; log in instead."""

    code = "account_exists"
    status = 409


class TrialUsed(AetherError):
    """This account has had its trial, and there is only one."""

    code = "trial_used"
    status = 409
