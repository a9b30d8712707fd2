"""All settings, read from the environment and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    FilePath,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from core.forms.addresses import (
    read_broker_url,
    read_host,
    read_llm_url,
    read_mongo_url,
    read_proxy_url,
    read_public_url,
    read_redis_url,
)
from core.forms.days import read_days_by_plan
from core.forms.networks import read_hosts, read_networks
from core.forms.numbers import read_bytes, read_count, read_port, read_seconds, read_usd
from core.forms.origins import read_origins
from core.forms.text import clean, is_service_link, read_key
from core.plans import PLANS
from core.problems import SettingsError, sentences_of

#: What a process of Aether is there for.
Role = Literal["api", "worker", "upkeep", "beat", "flower"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
#: Which roles see each secret; an address may hold a password. To all others it is not given.
SECRETS: Final[Mapping[str, tuple[Role, ...]]] = {
    "redis_url": ROLES,
    "broker_url": ROLES,
    "mongo_url": ("api", "worker", "upkeep"),
    "cache_redis_url": ("api", "worker", "upkeep"),
    "jwt_secret": ("api",),
    "jwt_secret_previous": ("api",),
    "metrics_token": ("api",),
    "cache_secret": ("api", "worker"),
    "groq_api_key": ("worker",),
    "webhook_proxy": ("upkeep",),
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


def _secret(read: Callable[[str], str]) -> AfterValidator:
    return AfterValidator(lambda secret: SecretStr(read(secret.get_secret_value())))


Port = Annotated[int, BeforeValidator(read_port), Field(ge=1, le=65535)]
Host = Annotated[str, AfterValidator(read_host)]
RedisUrl = Annotated[SecretStr, _secret(read_redis_url)]
_count = BeforeValidator(read_count)
_seconds = BeforeValidator(read_seconds)
_usd = BeforeValidator(read_usd)
_bytes = BeforeValidator(read_bytes)
_Days = Annotated[
    dict[str, int], NoDecode, BeforeValidator(lambda given: read_days_by_plan(given, PLANS))
]
_lower = BeforeValidator(lambda given: given.lower() if isinstance(given, str) else given)


class Settings(BaseSettings):
    """The deployment's settings; each field is read from the variable `AETHER_<NAME>`.

    Raises:
        pydantic.ValidationError: a value has the wrong form or range; `read_settings` makes
            sentences of it.
    """

    model_config = SettingsConfigDict(
        env_prefix="AETHER_",
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        hide_input_in_errors=True,
        env_ignore_empty=True,
    )

    env: Annotated[Literal["development", "production"], _lower] = "development"
    host: Host = "127.0.0.1"
    port: Port = 8001
    #: What links for people begin with: where they reach the API.
    public_url: Annotated[str, AfterValidator(read_public_url)] = "http://127.0.0.1:8001"
    #: Processes that serve HTTP; each has connection pools of its own.
    api_processes: Annotated[int, _count, Field(ge=1, le=64)] = 1
    #: Pages of other origins that may call the API from a browser; none by default.
    cors_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(read_origins)] = ()
    redis_url: RedisUrl = SecretStr("redis://127.0.0.1:6379/0")
    mongo_url: Annotated[SecretStr, _secret(read_mongo_url)] = SecretStr(
        "mongodb://127.0.0.1:27017"
    )
    mongo_database: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}$")] = "aether"
    broker_url: Annotated[SecretStr, _secret(read_broker_url)] | None = None
    #: Authorities that sign the servers' certificates, instead of the system's; a certificate of
    #: our own where a server asks for one. All of PEM; MongoDB's has its key in the same file.
    redis_tls_ca_file: FilePath | None = None
    redis_tls_cert_file: FilePath | None = None
    redis_tls_key_file: FilePath | None = None
    mongo_tls_ca_file: FilePath | None = None
    mongo_tls_cert_file: FilePath | None = None
    #: False: whoever answers with TLS is believed. For a test on one machine, never elsewhere.
    tls_verify: bool = True
    #: A provider's scheme and host, and the path of its API where that is not /openai/v1.
    llm_url: Annotated[str, AfterValidator(read_llm_url)] = "https://api.groq.com"
    groq_api_key: Annotated[SecretStr, _secret(read_key)] = Field(
        default=SecretStr(""), validation_alias="GROQ_API_KEY", description="Groq's API key"
    )
    #: The section of the model catalogue to use.
    llm_provider: str = "groq"
    #: Limits per model and minute for all workers together; None: only the provider's own apply.
    llm_requests_per_minute: Annotated[int, _count, Field(ge=1)] | None = None
    llm_tokens_per_minute: Annotated[int, _count, Field(ge=1)] | None = None
    #: How long a call to a model waits for a connection, for the first piece of the answer, and for
    #: the next one; the job's deadline bounds all of them.
    llm_connect_s: Annotated[float, _seconds, Field(gt=0, le=600)] = 5.0
    llm_first_byte_s: Annotated[float, _seconds, Field(gt=0, le=600)] = 60.0
    llm_silence_s: Annotated[float, _seconds, Field(gt=0, le=600)] = 20.0
    #: Conversations get their titles from the quick tier; never from the embedded model.
    titles_by_model: bool = True
    #: Hosts, addresses and networks that webhooks may call although they are not public.
    webhook_allow: Annotated[tuple[str, ...], NoDecode, BeforeValidator(read_hosts)] = ()
    #: Authorities that sign receivers' certificates, besides the system's.
    webhook_ca_file: FilePath | None = None
    #: Calls to webhooks go through it; the proxies of the environment are not used for them.
    webhook_proxy: Annotated[SecretStr, _secret(read_proxy_url)] | None = None
    #: A catalogue file to use instead of the shipped one.
    models_file: Path | None = None
    #: A data file of the router in place of the one that ships.
    routing_file: FilePath | None = None
    #: Signs tokens; those that `jwt_secret_previous` signed are read, too.
    jwt_secret: SecretStr = SecretStr("")
    jwt_secret_previous: SecretStr = SecretStr("")
    #: Opens /metrics; without one only administrators see it.
    metrics_token: SecretStr = SecretStr("")
    demo_login: bool = True
    #: New accounts, demo accounts among them, that one address may make in a minute.
    sign_ups_per_minute: Annotated[int, _count, Field(ge=1)] = 200
    access_token_s: Annotated[int, _seconds, Field(ge=60)] = 15 * 60
    refresh_token_s: Annotated[int, _seconds, Field(ge=3600)] = 14 * 24 * 3600
    job_deadline_s: Annotated[int, _seconds, Field(ge=5, le=140)] = 120
    lease_s: Annotated[int, _seconds, Field(ge=3, le=60)] = 15
    #: How long Redis keeps an ended job after MongoDB has it.
    ended_job_kept_s: Annotated[int, _seconds, Field(ge=30, le=24 * 3600)] = 300
    sweep_interval_s: Annotated[int, _seconds, Field(ge=1, le=60)] = 5
    max_body_bytes: Annotated[int, _bytes, Field(ge=1024, le=64 << 20)] = 256 * 1024
    max_message_chars: Annotated[int, _count, Field(ge=1, le=16_000_000)] = 32_000
    max_output_tokens: Annotated[int, _count, Field(ge=1, le=1_000_000)] = 4_096
    #: What all jobs of a calendar month or day (UTC) may cost together, in dollars; None: anything.
    monthly_budget_usd: Annotated[float, _usd, Field(gt=0, le=1e9)] | None = None
    daily_budget_usd: Annotated[float, _usd, Field(gt=0, le=1e9)] | None = None
    #: Networks whose proxies name the client in `X-Forwarded-For`; others' header is not believed.
    trusted_proxies: Annotated[tuple[str, ...], NoDecode, BeforeValidator(read_networks)] = ()
    worker_threads: Annotated[int, _count, Field(ge=1, le=100)] = 64
    #: The response cache's Redis, which may evict at any time; `redis_url` where None.
    cache_redis_url: RedisUrl | None = None
    #: `user`: an answer serves only its user; `shared`: users may see each other's answers.
    cache_scope: Annotated[Literal["user", "shared"], _lower] = "user"
    #: Key of the names under which answers are kept: with another one they are not found.
    cache_secret: SecretStr = SecretStr("")
    cache_ttl_s: Annotated[int, _seconds, Field(ge=1, le=30 * 24 * 3600)] = 3600
    flower_host: Host = "127.0.0.1"
    flower_user: Annotated[str, Field(pattern=r"^[^:\s]{1,100}$")] = "operator"
    flower_password: SecretStr = SecretStr("")
    flower_port: Port = 5555
    #: Days after a job's end until its texts, or its record, are removed; by the plan.
    keep_content_days: _Days = {}
    keep_records_days: _Days = {}
    log_level: Annotated[Literal["debug", "info", "warning", "error"], _lower] = "info"

    @model_validator(mode="before")
    @classmethod
    def _as_people_write(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Clean every text; what is empty then, or is Kubernetes' and not ours, is not set."""
        cleaned = {n: clean(v) if isinstance(v, str) else v for n, v in given.items()}
        return {
            name: value
            for name, value in cleaned.items()
            if value != "" and not (isinstance(value, str) and is_service_link(value))
        }

    @property
    def celery_broker_url(self) -> str:
        return (self.broker_url or self.redis_url).get_secret_value()

    @property
    def broker_is_redis(self) -> bool:
        return not self.celery_broker_url.startswith(("amqp", "pyamqp"))

    def check_secrets(self, role: Role) -> None:
        """Refuse to run as `role` in production when one of its secrets is missing or weak.

        Raises:
            ValueError: a sentence with the variable's name.
        """
        if self.env != "production":
            return
        needed = ("jwt_secret", "cache_secret", "flower_password")
        optional = ("jwt_secret_previous", "metrics_token")
        for name in (*needed, *optional):
            secret = getattr(self, name).get_secret_value()
            is_optional = name in optional
            problem = None if is_optional and not secret else _weakness(secret)
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
        SettingsError: with a sentence for each variable that is wrong.
    """
    given: dict[str, Any] = {
        name: value
        for name in Settings.model_fields
        if (value := environment.get(variable_of(name)))
    }
    return _or_sentences(lambda: _GivenSettings(**given))


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
    """Read the environment; `overrides`, for tests and tools, take precedence.

    Raises:
        SettingsError: with a sentence for each variable that is wrong.
    """
    return _or_sentences(lambda: Settings(**overrides))


def _or_sentences(build: Callable[[], Settings]) -> Settings:
    try:
        return build()
    except ValidationError as error:
        variables = {name: variable_of(name) for name in Settings.model_fields}
        raise SettingsError(sentences_of(error, variables, SECRETS)) from None
