"""The errors about conversations; core/errors.py says how they are written.

InvalidRequest
  UnknownParent                  400
  ParentInOtherConversation      400
NotFound
  ConversationNotFound           404
AetherError
  ConversationBusy               409
  ConversationExists             409
"""

from __future__ import annotations

from core.errors import AetherError, InvalidRequest, NotFound


class UnknownParent(InvalidRequest):
    """`parent_id` names no job of yours that is a message of a conversation."""

    code = "unknown_parent"


class ParentInOtherConversation(InvalidRequest):
    """`parent_id` names a message of another conversation."""

    code = "parent_in_other_conversation"


class ConversationNotFound(NotFound):
    """No conversation of this account has this id."""

    code = "conversation_not_found"


class ConversationBusy(AetherError):
    """A message of this conversation is still being answered; wait for its end, or cancel it."""

    code = "conversation_busy"
    status = 409


class ConversationExists(AetherError):
    """This account has a conversation with this id."""

    code = "conversation_exists"
    status = 409
