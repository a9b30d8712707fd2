"""All settings, read from the environment and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, FilePath, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

#: Shortest secret that production accepts, in characters; 32 random bytes are 43 in base64.
MIN_SECRET_CHARS = 32
_WELL_KNOWN = (
    "secret",
    "changeme",
    "change-me",
    "password",
    "example",
    "aether",
    "default",
    "test",
)


class Settings(BaseSettings):
    """The deployment's settings; each field is read from the variable `AETHER_<NAME>`.

    Raises:
        pydantic.ValidationError: a value has the wrong type or range, or production mode has a
            missing, short or well-known secret.
    """

    model_config = SettingsConfigDict(
        env_prefix="AETHER_",
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    env: Literal["development", "production"] = "development"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8001
    #: Processes that serve HTTP; each has connection pools of its own.
    api_processes: Annotated[int, Field(ge=1, le=64)] = 1
    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    mongo_url: SecretStr = SecretStr("mongodb://127.0.0.1:27017")
    mongo_database: str = "aether"
    broker_url: SecretStr | None = None
    #: Scheme and host; the SDK appends /openai/v1/… itself.
    llm_url: str = "https://api.groq.com"
    groq_api_key: SecretStr = Field(
        default=SecretStr(""), validation_alias="GROQ_API_KEY", description="Groq's API key"
    )
    #: The section of the model catalogue to use.
    llm_provider: str = "groq"
    #: Limits per model and minute for all workers together; None: only the provider's own apply.
    llm_requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    llm_tokens_per_minute: Annotated[int, Field(ge=1)] | None = None
    #: A catalogue file to use instead of the shipped one.
    models_file: Path | None = None
    #: A data file of the router in place of the one that ships.
    routing_file: FilePath | None = None
    jwt_secret: SecretStr = SecretStr("")
    demo_login: bool = True
    access_token_s: Annotated[int, Field(ge=60)] = 15 * 60
    refresh_token_s: Annotated[int, Field(ge=3600)] = 14 * 24 * 3600
    job_deadline_s: Annotated[int, Field(ge=5, le=140)] = 120
    lease_s: Annotated[int, Field(ge=3, le=60)] = 15
    sweep_interval_s: Annotated[int, Field(ge=1, le=60)] = 5
    max_body_bytes: Annotated[int, Field(ge=1024)] = 256 * 1024
    max_message_chars: Annotated[int, Field(ge=1)] = 32_000
    max_output_tokens: Annotated[int, Field(ge=1)] = 4_096
    worker_threads: Annotated[int, Field(ge=1, le=100)] = 64
    #: The response cache's Redis, which may evict at any time; `redis_url` where None.
    cache_redis_url: SecretStr | None = None
    #: `user`: an answer serves only its user; `shared`: users may see each other's answers.
    cache_scope: Literal["user", "shared"] = "user"
    cache_ttl_s: Annotated[int, Field(ge=1, le=30 * 24 * 3600)] = 3600
    flower_host: str = "127.0.0.1"
    flower_user: str = "operator"
    flower_password: SecretStr = SecretStr("")
    flower_port: Annotated[int, Field(ge=1, le=65535)] = 5555
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _refuse_weak_secrets(self) -> Self:
        if self.env != "production":
            return self
        for name in ("jwt_secret", "flower_password"):
            problem = _weakness(getattr(self, name).get_secret_value())
            if problem:
                raise ValueError(f"AETHER_{name.upper()} {problem}; production refuses to start")
        if not self.groq_api_key.get_secret_value() and self.llm_url.endswith("api.groq.com"):
            raise ValueError("GROQ_API_KEY is missing; production refuses to start")
        return self

    @property
    def celery_broker_url(self) -> str:
        return (self.broker_url or self.redis_url).get_secret_value()


def _weakness(secret: str) -> str | None:
    if not secret:
        return "is missing"
    if len(secret) < MIN_SECRET_CHARS:
        return f"is shorter than {MIN_SECRET_CHARS} characters"
    plain = secret.lower()
    if len(set(plain)) < 8 or any(
        plain.count(word) * len(word) > len(plain) / 2 for word in _WELL_KNOWN
    ):
        return "is a well-known value"
    return None


def read_settings(**overrides: Any) -> Settings:
    """Read the environment; `overrides`, for tests and tools, take precedence."""
    return Settings(**overrides)
