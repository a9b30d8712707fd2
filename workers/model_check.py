"""Whether the provider has the models of the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from core.model_errors import ModelError

if TYPE_CHECKING:
    from agents.groq.model import GroqModel
    from core.models import Catalogue

logger = structlog.get_logger(__name__)

_TIMEOUT_S: Final = 10.0


def warn_of_missing_models(provider: GroqModel, catalogue: Catalogue) -> None:
    """Log one warning with the ids that the provider does not list; jobs go on by fallbacks."""
    try:
        served = provider.list_models(timeout_s=_TIMEOUT_S)
    except ModelError as error:
        logger.warning("the provider did not list its models", code=error.code, why=error.message)
        return
    missing = sorted(catalogue.models.keys() - served)
    if missing:
        logger.warning("the provider lacks models of the catalogue", models=missing)
