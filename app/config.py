"""Settings: defaults < YAML profile < environment < flags, validated once and frozen."""

import os
import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from .addresses import parse_host, parse_prefix

PREFIX = "SENTIMENT_"
PROFILES = Path(__file__).parent / "profiles"

_CLASS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
# Kubernetes adds these variables to every pod in the namespace of a Service named "sentiment".
_SERVICE_LINK = re.compile(rf"{PREFIX}(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_\w+)")


class SettingsError(ValueError):
    """A setting is invalid; the message names it."""


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    # An empty variable counts as unset, so `none` is the way to write an empty list.
    return [] if value.strip().lower() == "none" else [part.strip() for part in value.split(",") if part.strip()]


def _network(value: str) -> str:
    ip_network(value)
    return value


def _host(value: str) -> str:
    parse_host(value)
    return value


def _origin(value: str) -> str:
    if value != "*" and (not value.startswith(("http://", "https://")) or value.count("/") != 2):
        raise ValueError(f"{value!r} is not an origin; write scheme://host[:port] without a path, or *")
    return value


def _backend(value: str) -> str:
    if value not in ("auto", "onnx", "torch", "mock") and not _CLASS.fullmatch(value):
        raise ValueError("expected auto, onnx, torch, mock or package.module:Class")
    return value


def _rate(value: str) -> str:
    from limits import parse_many  # not at the top: this import takes nearly as long as the rest of the module

    if value and not (len(rates := parse_many(value)) == 1 and rates[0].amount >= 1):
        raise ValueError("expected one rate of at least 1, such as 1000/minute")
    return value


def _storage(value: str) -> str:
    if value != "memory" and not value.startswith(("redis://", "rediss://", "redis+unix://")):
        raise ValueError("expected memory, redis://…, rediss://… or redis+unix://…")
    return value


_CommaSeparated = (NoDecode, BeforeValidator(_split))
Networks = Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], *_CommaSeparated]
Hosts = Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], *_CommaSeparated]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], *_CommaSeparated]


class Settings(BaseSettings):
    """All settings. Each field is `SENTIMENT_<NAME>` in the environment and `--<name>` as a flag."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True, allow_inf_nan=False
    )

    profile: Literal["dev", "prod"] | None = Field(None, description="named set of values to start from")
    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for all interfaces")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 picks a free port")
    keep_alive_s: int = Field(
        75,
        ge=1,
        description="seconds before an idle connection is closed; set it longer than the idle timeout of your proxy",
    )

    model: str = Field(
        "sentiment-en",
        description="embedded model, directory, or hub name (owner/name@revision) of a sequence classifier",
    )
    backend: Annotated[str, AfterValidator(_backend)] = Field(
        "auto", description="auto, onnx, torch, mock, or your own class as package.module:Class"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="device that the model runs on")
    precision: Literal["auto", "int8", "fp32", "fp16", "bf16"] = Field(
        "auto", description="numeric precision: int8 or fp32 with onnx; fp32, fp16 or bf16 with torch"
    )
    compare_backends: bool = Field(
        False, description="with backend auto: load each backend that works here, measure it, and keep the fastest"
    )
    workers: int = Field(1, ge=1, le=256, description="worker processes, each with its own model, cache and queue")
    slots: int = Field(
        0,
        ge=0,
        description="batches that each worker runs in parallel; "
        "0 means one per usable core, or two on a GPU, divided among the workers",
    )
    max_batch_size: int = Field(
        0, ge=0, description="maximum texts that the model runs at once; 0 means 16, or 128 on a GPU"
    )
    max_batch_tokens: int = Field(
        0,
        ge=0,
        description="maximum tokens that the model runs at once, including any padding; "
        "0 means 512, or 16 384 on a GPU",
    )
    mock_delay_ms: float = Field(0, ge=0, description="mock backend: milliseconds added to each batch")
    mock_failure_rate: float = Field(0, ge=0, le=1, description="mock backend: fraction of batches that fail")

    cache_entries: int = Field(
        10_000, ge=0, description="predictions to cache for repeated texts; 0 disables the cache"
    )
    max_text_chars: int = Field(10_000, ge=1, description="maximum characters in a text")
    max_batch_texts: int = Field(256, ge=1, description="maximum texts in a /predict/batch request")
    max_body_bytes: int = Field(
        4 * 1024 * 1024,
        ge=1024,
        description="maximum bytes in a request body; /predict allows about 12 per character of the longest text",
    )
    header_timeout_s: float = Field(
        10, gt=0, description="seconds that a client has to send the headers of a request, and to read the response"
    )
    body_timeout_s: float = Field(
        30, gt=0, description="seconds that a client has to send the body of a request; after that, it gets 408"
    )
    max_header_bytes: int = Field(32 * 1024, ge=1024, description="maximum bytes in the headers of a request")
    max_queue_texts: int = Field(4096, ge=1, description="maximum texts waiting for the model; more get 429")
    max_wait_ms: float = Field(
        1000, gt=0, description="maximum predicted waiting time; a request that would wait longer gets 429 at once"
    )
    request_timeout_ms: float = Field(10_000, gt=0, description="time after which a request gets 504")
    backend_timeout_ms: float = Field(30_000, gt=0, description="time after which a running batch counts as hung")
    drain_delay_ms: float = Field(0, ge=0, description="time to keep listening after SIGTERM, answering 503")
    drain_timeout_ms: float = Field(
        10_000, ge=0, description="time for requests in flight to finish after the drain delay"
    )

    api_keys_file: Path | None = Field(
        None, description="file of API keys, written by `rt-sentiment key`; without one, no key is needed"
    )
    api_keys_for_all: bool = Field(
        False, description="with API keys: require one for /info, /metrics and /docs, too; probes never need one"
    )
    rate_limit: Annotated[str, AfterValidator(_rate)] = Field(
        "", description="maximum texts per API key or client address, such as 1000/minute; empty means no limit"
    )
    rate_limit_storage: Annotated[str, AfterValidator(_storage)] = Field(
        "memory",
        description="where these texts are counted: memory, or redis://host:port to share the count among replicas",
    )
    trusted_proxies: Networks = Field(
        ("127.0.0.1", "::1"),
        description="addresses or networks whose X-Forwarded headers are trusted, separated by commas; or none",
    )
    root_path: Annotated[str, AfterValidator(parse_prefix)] = Field(
        "", description="path below which a proxy serves the API, such as /sentiment; X-Forwarded-Prefix overrides it"
    )
    allowed_hosts: Hosts = Field(
        (),
        description="accepted values of the Host header, separated by commas; "
        "any by default, and any port if none is given",
    )
    tls_cert_file: Path | None = Field(None, description="certificate chain (PEM), to serve HTTPS without a proxy")
    tls_key_file: Path | None = Field(None, description="private key of the certificate (PEM)")
    cors_origins: Origins = Field(
        (), description="origins whose pages may call the API, separated by commas; none by default"
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="format of the log; auto is console on a terminal, otherwise json"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="lowest level that is logged")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.max_queue_texts < self.max_batch_texts:
            raise ValueError(
                "MAX_QUEUE_TEXTS must be at least MAX_BATCH_TEXTS; otherwise a full list could never be admitted"
            )
        if self.workers > 1 and self.rate_limit and self.rate_limit_storage == "memory":
            raise ValueError(
                "RATE_LIMIT with several WORKERS needs RATE_LIMIT_STORAGE; otherwise each worker counts separately"
            )
        if self.compare_backends and (self.backend != "auto" or self.workers > 1):
            raise ValueError(
                "COMPARE_BACKENDS needs BACKEND=auto and one worker, because several could choose different backends"
            )
        if self.api_keys_for_all and not self.api_keys_file:
            raise ValueError("API_KEYS_FOR_ALL needs API_KEYS_FILE")
        if bool(self.tls_cert_file) != bool(self.tls_key_file):
            raise ValueError("TLS_CERT_FILE and TLS_KEY_FILE must be set together")
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
        """Flags first, then the environment, then the profile that these two name."""
        name = init_settings().get("profile") or env_settings().get("profile")
        # The validation of the field reports an unknown name.
        file = PROFILES / f"{name}.yaml" if name in profiles() else None
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls, file, yaml_file_encoding="utf-8")


def profiles() -> list[str]:
    """Names of the profiles that exist."""
    return sorted(file.stem for file in PROFILES.glob("*.yaml"))


def load_settings(flags: Mapping[str, object] | None = None) -> Settings:
    """Read the settings; raise `SettingsError`, which names every setting that is invalid or unknown."""
    if os.environ.get(f"{PREFIX}PORT", "").startswith("tcp://"):
        raise SettingsError(
            f"{PREFIX}PORT was set by Kubernetes for a Service named sentiment; set enableServiceLinks: false"
        )
    if unknown := sorted(filter(_is_unknown, os.environ)):
        raise SettingsError(f"unknown setting {', '.join(unknown)}; `rt-sentiment serve --help` lists all settings")
    try:
        return Settings(**dict(flags or {}))  # type: ignore[arg-type]
    except ValidationError as error:
        wrong = [
            f"{PREFIX}{str(item['loc'][0]).upper()}: {item['msg']}" if item["loc"] else f"{PREFIX}{item['msg']}"
            for item in error.errors()
        ]
        raise SettingsError("; ".join(wrong).replace("Value error, ", "")) from None


def _is_unknown(variable: str) -> bool:
    name = variable.removeprefix(PREFIX).lower()
    return variable.startswith(PREFIX) and name not in Settings.model_fields and not _SERVICE_LINK.fullmatch(variable)
