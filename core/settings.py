"""All settings, read from the environment and checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BeforeValidator, Field, FilePath, SecretStr
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from core.origins import read_origins

#: What a process of Aether is there for.
Role = Literal["api", "worker", "upkeep", "beat", "flower"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
#: Which roles see each secret; an address may hold a password. To all others it is not given.
SECRETS: Final[Mapping[str, tuple[Role, ...]]] = {
    "redis_url": ROLES,
    "broker_url": ROLES,
    "mongo_url": ("api", "worker", "upkeep"),
    "cache_redis_url": ("api", "worker", "upkeep"),
    "jwt_secret": ("api", "worker"),  # it signs tokens, and it is the key of the cache's names
    "groq_api_key": ("worker",),
    "flower_password": ("flower",),
}

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
        pydantic.ValidationError: a value has the wrong type or range.
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
    #: Pages of other origins that may call the API from a browser; none by default.
    cors_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(read_origins)] = ()
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
    #: How long a call to a model waits for a connection, for the first piece of the answer, and for
    #: the next one; the job's deadline bounds all of them.
    llm_connect_s: Annotated[float, Field(gt=0, le=600)] = 5.0
    llm_first_byte_s: Annotated[float, Field(gt=0, le=600)] = 60.0
    llm_silence_s: Annotated[float, Field(gt=0, le=600)] = 20.0
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

    @property
    def celery_broker_url(self) -> str:
        return (self.broker_url or self.redis_url).get_secret_value()

    def check_secrets(self, role: Role) -> None:
        """Refuse to run as `role` in production when one of its secrets is missing or weak.

        Raises:
            ValueError: a sentence with the variable's name.
        """
        if self.env != "production":
            return
        for name in ("jwt_secret", "flower_password"):
            problem = _weakness(getattr(self, name).get_secret_value())
            if problem and role in SECRETS[name]:
                raise ValueError(f"{variable_of(name)} {problem}; production refuses to start")
        is_groq = self.llm_url.endswith("api.groq.com")
        if is_groq and role in SECRETS["groq_api_key"] and not self.groq_api_key:
            raise ValueError("GROQ_API_KEY is missing; production refuses to start")


class _GivenSettings(Settings):
    """Settings of given variables; this process's own environment plays no part."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def settings_of(environment: Mapping[str, str]) -> Settings:
    """Return the settings of a process with this environment.

    Raises:
        pydantic.ValidationError: as `Settings`.
    """
    given: dict[str, Any] = {
        name: value
        for name in Settings.model_fields
        if (value := environment.get(variable_of(name)))
    }
    return _GivenSettings(**given)


def variable_of(name: str) -> str:
    """Return the variable of the environment that sets the field `name`."""
    return str(Settings.model_fields[name].validation_alias or f"AETHER_{name.upper()}")


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
