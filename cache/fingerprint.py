"""The cache key of a request: equal for two requests that one answer may serve.

It is an HMAC, under a secret of the deployment, of everything that the answer depends on. Whoever
can read the cache can neither see what was asked nor test a guess. The key of an answer that serves
one user covers a secret of his account, too: when the account is gone, nobody finds the answer.
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

#: The scope of answers that may serve any user.
SHARED: Final = "shared"
#: Signs of code, quotations, tables or continued lines, in which spaces may be significant.
_SIGNIFICANT_SPACES: Final = re.compile(r"[`\"'|\t\\\u2018-\u201f]")
_SPACES: Final = re.compile(r" +")


class Fingerprints:
    """Computes fingerprints; processes with the same arguments compute the same ones.

    Args:
        secret: the deployment's.
        version: of everything but the request that an answer depends on: prompts, weights, models.
        is_shared: an answer to a request without a conversation may serve any user.
    """

    def __init__(self, secret: str, version: str, *, is_shared: bool) -> None:
        self._key = hashlib.sha256(f"aether cache\0{secret}".encode()).digest()
        self._version = version
        self._is_shared = is_shared

    def of(self, spec: JobSpec, question: Question, history: Sequence[Message] = ()) -> str:
        """Return the request's fingerprint, 64 hexadecimal digits.

        It is empty where an answer would serve its user alone and the job has no `cache_secret`,
        because the version before accepted it: such an answer could be read when its user is gone.

        Args:
            history: of the conversation that the request continues, oldest first.
        """
        is_for_all = self._is_shared and spec.conversation_id is None
        if not is_for_all and not spec.cache_secret:
            return ""
        asked = {
            "scope": SHARED if is_for_all else (spec.user_id, spec.cache_secret),
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
    """Return the deployment's fingerprints: the same in the API and in the workers."""
    catalogue = read_catalogue(settings.llm_provider, settings.models_file)
    rows = ((tier, catalogue.for_tier(tier)) for tier in sorted(catalogue.tiers))
    models = ",".join(
        f"{tier}={model.id} {model.system_prompt} {sorted(model.sampling.items())}"
        for tier, model in rows
    )
    provider = f"{settings.llm_provider} {settings.llm_url} {models}"
    return Fingerprints(
        settings.cache_secret.get_secret_value(),
        f"{policy_version(settings.routing_file)} {provider}",
        is_shared=settings.cache_scope == SHARED,
    )


def canonical(text: str) -> str:
    """Return the text without differences that no reader can see.

    The result is Unicode NFC, has line feeds as line ends, and no empty lines around it. Text with
    no sign of significant spaces has none at line ends, and a single line of it has one between
    words. Case and all other characters are unchanged.
    """
    text = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n")
    if _SIGNIFICANT_SPACES.search(text):
        return text.strip("\n")
    # Line by line: a pattern for blanks at line ends takes quadratic time on blanks elsewhere.
    text = "\n".join(line.rstrip(" ") for line in text.split("\n")).strip("\n")
    return text if "\n" in text else _SPACES.sub(" ", text).strip(" ")
