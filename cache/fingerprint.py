"""What two requests have to share for one answer to serve both.

The key is an HMAC of all that the answer depends on, so that nobody who reads the cache can tell or
test what was asked.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Sequence
from typing import Final

import msgspec

from core.chat import Message
from core.jobs import JobSpec, Question
from core.models import read_catalogue
from core.policy_version import policy_version
from core.settings import Settings

#: The scope of answers that any user may get.
SHARED: Final = "shared"
#: Where blanks may mean something: code, quotations, a table, a line that goes on.
_MEANINGFUL_BLANKS: Final = re.compile(r"[`\"'|\t\\\u2018-\u201f]")
_BLANKS: Final = re.compile(r" +")
_TRAILING_BLANKS: Final = re.compile(r" +$", re.MULTILINE)


class Fingerprints:
    """Names requests; the same secret, scope and version name them alike in every process.

    Args:
        secret: the deployment's; another one makes every name new.
        version: of prompts and weights, and which models answer.
        is_shared: answers to requests without a conversation are anybody's, not their user's.
    """

    def __init__(self, secret: str, version: str, *, is_shared: bool) -> None:
        self._key = hashlib.sha256(f"aether cache\0{secret}".encode()).digest()
        self._version = version
        self._is_shared = is_shared

    def of(self, spec: JobSpec, question: Question, history: Sequence[Message] = ()) -> str:
        """Return the name of what is asked: 64 hexadecimal digits.

        Args:
            history: of the conversation that the request goes on with, oldest first.
        """
        has_context = spec.conversation_id is not None
        asked = {
            "scope": SHARED if self._is_shared and not has_context else spec.user_id,
            "version": self._version,
            "tier": "quick" if spec.mode == "quick" else "routed",
            "route": msgspec.structs.replace(spec.route, max_cost_micros=None),
            "agent": spec.agent,
            "team": spec.team,
            "max_tokens": spec.max_tokens,
            "temperature": spec.temperature,
            "history": [(message.role, message.content) for message in history],
            "message": canonical(question.message),
        }
        document = msgspec.json.encode(asked, order="deterministic")
        return hmac.new(self._key, document, hashlib.sha256).hexdigest()


def fingerprints_of(settings: Settings) -> Fingerprints:
    """Return the deployment's names; API and workers make the same ones."""
    tiers = read_catalogue(settings.llm_provider, settings.models_file).tiers
    models = ",".join(f"{tier}={tiers[tier]}" for tier in sorted(tiers))
    provider = f"{settings.llm_provider} {settings.llm_url} {models}"
    return Fingerprints(
        settings.jwt_secret.get_secret_value(),
        f"{policy_version()} {provider}",
        is_shared=settings.cache_scope == SHARED,
    )


def canonical(text: str) -> str:
    """Return the text without differences that no reader would see.

    Unicode NFC, line ends as line feeds, no empty lines around. Where no blank can mean anything,
    there is none at the end of a line, and a single line has one between words. Case and every
    other character stay.
    """
    text = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n")
    if _MEANINGFUL_BLANKS.search(text):
        return text.strip("\n")
    text = _TRAILING_BLANKS.sub("", text).strip("\n")
    return text if "\n" in text else _BLANKS.sub(" ", text).strip(" ")
