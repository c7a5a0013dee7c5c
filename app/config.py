"""Settings: defaults < YAML profile < environment < flags, validated once and frozen."""

import os
import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from limits import parse_many
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

PREFIX = "SENTIMENT_"
# What Kubernetes puts into the environment of every pod beside a Service named "sentiment".
_SERVICE_LINK = re.compile(rf"{PREFIX}(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_\w+)")
PROFILES = Path(__file__).parent / "profiles"


class SettingsError(ValueError):
    """A setting is wrong; the message names it."""


class Settings(BaseSettings):
    """Everything that can be set. Each field is `SENTIMENT_<NAME>` in the environment and `--<name>` as a flag."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True, allow_inf_nan=False
    )

    profile: Literal["dev", "prod"] | None = Field(None, description="named set of values to start from")
    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for every interface")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    keep_alive_s: int = Field(
        75, ge=1, description="seconds an idle connection is kept; more than a proxy in front has"
    )

    model: str = Field(
        "sentiment-en",
        description="embedded model, directory, or hub name (owner/name@revision) of a sequence classifier",
    )
    backend: Literal["auto", "onnx", "torch", "mock"] = Field("auto", description="what runs the model")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where it runs")
    precision: Literal["auto", "int8", "fp32", "fp16", "bf16"] = Field(
        "auto", description="arithmetic: int8 or fp32 with onnx; fp32, fp16 or bf16 with torch"
    )
    compare_backends: bool = Field(
        False, description="with backend auto: load every backend that works here, measure, and keep the fastest"
    )
    workers: int = Field(
        1, ge=1, description="processes that serve side by side, each with a model, a cache and a queue of its own"
    )
    slots: int = Field(
        0,
        ge=0,
        description="batches run at the same time by each worker; 0 for one a usable core, or two on a GPU, in all",
    )
    max_batch_size: int = Field(
        0, ge=0, description="texts that the model runs at once, at most; 0 for 16, or 128 on a GPU"
    )
    max_batch_tokens: int = Field(
        0,
        ge=0,
        description="tokens that it runs at once, at most, padded if it cannot pack; 0 for 512, or 16 384 on a GPU",
    )
    mock_delay_ms: float = Field(0, ge=0, description="mock backend: milliseconds added to each batch")
    mock_failure_rate: float = Field(0, ge=0, le=1, description="mock backend: share of batches that fail")

    cache_entries: int = Field(10_000, ge=0, description="answers kept for repeated texts; 0 turns the cache off")
    max_text_chars: int = Field(10_000, ge=1, description="characters of a text, at most")
    max_batch_texts: int = Field(256, ge=1, description="texts of a /predict/batch request, at most")
    max_body_bytes: int = Field(
        4 * 1024 * 1024,
        ge=1024,
        description="bytes of a body, at most; of /predict also some twelve a character of its longest text",
    )
    header_timeout_s: float = Field(10, gt=0, description="time for the headers of a request, and to fetch an answer")
    body_timeout_s: float = Field(30, gt=0, description="time for the body of a request; after it 408")
    max_header_bytes: int = Field(32 * 1024, ge=1024, description="bytes of a request's headers, at most")
    max_queue_texts: int = Field(4096, ge=1, description="texts that wait for the model, at most; more get 429")
    max_wait_ms: float = Field(1000, gt=0, description="predicted wait over which a request gets 429 at once")
    request_timeout_ms: float = Field(10_000, gt=0, description="time after which a request gets 504")
    backend_timeout_ms: float = Field(30_000, gt=0, description="time after which a running batch counts as hung")
    drain_delay_ms: float = Field(0, ge=0, description="time to go on listening after SIGTERM, answering 503")
    drain_timeout_ms: float = Field(10_000, ge=0, description="time that requests in flight have to end after that")

    api_keys_file: Path | None = Field(
        None, description="file of API keys, which `rt-sentiment key` writes; without one everybody may call"
    )
    api_keys_for_all: bool = Field(
        False, description="with API keys, whether /info, /metrics and /docs need one too; probes never do"
    )
    rate_limit: str = Field("", description="texts that one key or address may send, as 1000/minute; empty: any number")
    rate_limit_storage: str = Field(
        "memory", description="where they are counted: memory, or redis://host:port for all replicas together"
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        ("127.0.0.1", "::1"),
        description="addresses or networks whose X-Forwarded-For is believed, separated by commas; none: nobody's",
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="values of the Host header that are answered, separated by commas; any by default"
    )
    tls_cert_file: Path | None = Field(None, description="certificate chain (PEM), to answer by HTTPS without a proxy")
    tls_key_file: Path | None = Field(None, description="its private key (PEM)")
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="origins whose pages may call the API, separated by commas; none by default"
    )
    log_format: Literal["auto", "json", "console"] = Field("auto", description="auto: console on a terminal, else json")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")

    @field_validator("cors_origins", "trusted_proxies", "allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        # An empty variable is none at all: there must be another way to say it.
        return [] if value.strip().lower() == "none" else [part.strip() for part in value.split(",") if part.strip()]

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != "*" and (not origin.startswith(("http://", "https://")) or origin.count("/") != 2):
                raise ValueError(f"{origin!r} is no origin; write scheme://host[:port] without a path, or *")
        return value

    @field_validator("rate_limit")
    @classmethod
    def _rate(cls, value: str) -> str:
        if value and not (len(rates := parse_many(value)) == 1 and rates[0].amount >= 1):
            raise ValueError("expected one rate, of 1 or more")
        return value

    @field_validator("rate_limit_storage")
    @classmethod
    def _storage(cls, value: str) -> str:
        if value != "memory" and not value.startswith(("redis://", "rediss://", "redis+unix://")):
            raise ValueError("expected memory, redis://…, rediss://… or redis+unix://…")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ip_network(network)
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not host.isascii() or any(character in "/*@ " for character in host):
                raise ValueError(f"{host!r} is no host; write it as it stands in the header, without scheme and path")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.max_queue_texts < self.max_batch_texts:
            raise ValueError("MAX_QUEUE_TEXTS must not be below MAX_BATCH_TEXTS, or a full batch is never admitted")
        if self.workers > 1 and self.rate_limit and self.rate_limit_storage == "memory":
            raise ValueError("RATE_LIMIT with several WORKERS wants RATE_LIMIT_STORAGE, or each would count for itself")
        if self.compare_backends and (self.backend != "auto" or self.workers > 1):
            raise ValueError(
                "COMPARE_BACKENDS goes with BACKEND=auto, and with one worker: others might choose otherwise"
            )
        if self.api_keys_for_all and not self.api_keys_file:
            raise ValueError("API_KEYS_FOR_ALL wants API_KEYS_FILE")
        if bool(self.tls_cert_file) != bool(self.tls_key_file):
            raise ValueError("TLS_CERT_FILE and TLS_KEY_FILE go together")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        *_others: PydanticBaseSettingsSource,
        **_more: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then the environment, then the profile that they name."""
        return init_settings, env_settings, _Profile(settings_cls, init_settings, env_settings)


class _Profile(PydanticBaseSettingsSource):
    """The values of the YAML file that the `profile` of the stronger sources names."""

    def __init__(self, settings_cls: type[BaseSettings], *stronger: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._stronger = stronger

    def get_field_value(self, field: object, field_name: str) -> tuple[Any, str, bool]:
        """Not used: the file is read whole."""
        raise NotImplementedError

    def __call__(self) -> dict[str, Any]:
        name = next((found for source in self._stronger if (found := source().get("profile"))), None)
        file = PROFILES / f"{name}.yaml"
        # An unknown name is left to the field's own validation, which lists the known ones.
        return dict(yaml.safe_load(file.read_text(encoding="utf-8"))) if name in profiles() else {}


def profiles() -> list[str]:
    """Names of the profiles that exist."""
    return sorted(file.stem for file in PROFILES.glob("*.yaml"))


def load_settings(flags: Mapping[str, object] | None = None) -> Settings:
    """Read the settings; raise `SettingsError` naming each one that is wrong, and where it could be set."""
    unknown = sorted(
        name
        for name in os.environ
        if name.startswith(PREFIX)
        and name.removeprefix(PREFIX).lower() not in Settings.model_fields
        and not _SERVICE_LINK.fullmatch(name)
    )
    if os.environ.get(f"{PREFIX}PORT", "").startswith("tcp://"):
        raise SettingsError(
            f"{PREFIX}PORT was set by Kubernetes for a Service named sentiment; set enableServiceLinks: false"
        )
    if unknown:
        raise SettingsError(f"unknown setting {', '.join(unknown)}; `rt-sentiment serve --help` lists those there are")
    try:
        return Settings(**dict(flags or {}))  # type: ignore[arg-type]
    except ValidationError as error:
        wrong = [
            f"{PREFIX}{str(item['loc'][0]).upper()}: {item['msg']}" if item["loc"] else f"{PREFIX}{item['msg']}"
            for item in error.errors()
        ]
        raise SettingsError("; ".join(wrong).replace("Value error, ", "")) from None
