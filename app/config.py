"""Settings: defaults < YAML profile < environment < flags, validated once and frozen."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from .cache_settings import CacheSettings
from .identity_settings import IdentitySettings
from .job_settings import JobSettings
from .models_settings import ModelsSettings
from .setting_types import Address, Backend, Digest, Hosts, Networks, Origins, PathPrefix, Rate, RateStorage
from .tracing_settings import TracingSettings

PREFIX = "SENTIMENT_"
PROFILES = Path(__file__).parent / "profiles"

# Kubernetes adds these variables to every pod in the namespace of a Service named "sentiment".
_SERVICE_LINK = re.compile(rf"{PREFIX}(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_\w+)")


class SettingsError(ValueError):
    """A setting is invalid; the message names it."""


class Settings(CacheSettings, IdentitySettings, JobSettings, ModelsSettings, TracingSettings):
    """All settings. Each field is `SENTIMENT_<NAME>` in the environment and `--<name>` as a flag."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True, allow_inf_nan=False
    )

    profile: Literal["dev", "prod"] | None = Field(None, description="named set of values to start from")
    host: Address = Field("127.0.0.1", description="address to listen on, such as 0.0.0.0, :: for all, or unix:PATH")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on, also PORT; 0 picks a free port")
    keep_alive_s: int = Field(
        75,
        ge=1,
        description="seconds before an idle connection is closed; set it longer than the idle timeout of your proxy",
    )

    model: str = Field(
        "sentiment-en",
        description="embedded model, directory, or hub name (owner/name@revision) of a sequence classifier",
    )
    model_digest: Digest = Field(
        "", description="sha256 of the model's manifest.json; a model with another manifest, or without one, is refused"
    )
    backend: Backend = Field("auto", description="auto, onnx, torch, mock, or your own class as package.module:Class")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="device that the model runs on")
    precision: Literal["auto", "int8", "fp32", "fp16", "bf16"] = Field(
        "auto", description="numeric precision: int8 or fp32 with onnx; fp32, fp16 or bf16 with torch"
    )
    abstain_below: float = Field(
        0, ge=0, le=1, description="predictions with a lower confidence have the label null; 0 means none"
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

    max_text_chars: int = Field(10_000, ge=1, description="maximum characters in a text")
    max_batch_texts: int = Field(256, ge=1, description="maximum texts in a /predict/batch request")
    max_body_bytes: int = Field(
        4 * 1024 * 1024,
        ge=1024,
        description="maximum bytes in a request body; /predict allows about 12 per character of the longest text",
    )
    max_bodies_bytes: int = Field(
        0,
        ge=0,
        description="maximum bytes of memory for all request bodies together; if they need more, bodies over 4 KiB get "
        "503; 0 means 16 times SENTIMENT_MAX_BODY_BYTES",
    )
    header_timeout_s: float = Field(
        10, gt=0, description="seconds that a client has to send the headers of a request, and to read the response"
    )
    body_timeout_s: float = Field(
        30, gt=0, description="seconds that a client has to send the body of a request; after that, it gets 408"
    )
    stream_idle_s: float = Field(
        60,
        gt=0,
        description="seconds that /predict/stream waits for its client, to send the next line or to read its answers; "
        "after that, the stream ends",
    )
    max_header_bytes: int = Field(32 * 1024, ge=1024, description="maximum bytes in the headers of a request")
    max_connections: int = Field(
        2000,
        ge=1,
        description="maximum open connections of each worker; for a new one, the connection is closed that has waited "
        "longest for its client",
    )
    max_queue_texts: int = Field(
        4096,
        ge=1,
        description="maximum texts waiting for the model; more get 429, "
        "unless their client has less than an equal part of the queue",
    )
    max_wait_ms: float = Field(
        1000, gt=0, description="maximum predicted waiting time; a request that would wait longer gets 429 at once"
    )
    request_timeout_ms: float = Field(10_000, gt=0, description="time after which a request gets 504")
    backend_timeout_ms: float = Field(30_000, gt=0, description="time after which a running batch counts as hung")
    drain_delay_ms: float = Field(0, ge=0, description="time to keep listening after SIGTERM, answering 503")
    drain_timeout_ms: float = Field(
        10_000, ge=0, description="time for requests in flight to finish after the drain delay"
    )

    rate_limit: Rate = Field(
        "", description="maximum texts per API key or client address, such as 1000/minute; empty means no limit"
    )
    rate_limit_storage: RateStorage = Field(
        "memory",
        description="where these texts are counted: memory, or redis://host:port to share the count among replicas",
    )
    trusted_proxies: Networks = Field(
        ("127.0.0.1", "::1"),
        description="addresses or networks whose X-Forwarded headers are trusted, separated by commas; or none",
    )
    page: bool = Field(True, description="page for people at /, to try the model; off leads / to /docs")
    huggingface: bool = Field(True, description="Hugging Face's protocol at POST /")
    open_inference: bool = Field(True, description="Open Inference Protocol (KServe, Triton) below /v2")
    feedback: bool = Field(
        False, description="POST /feedback, with which callers say which label was right; only counts are kept"
    )
    root_path: PathPrefix = Field(
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

    @field_validator("*", mode="before")
    @classmethod
    def _tidy(cls, value: object, info: ValidationInfo) -> object:
        """Ignore spaces around a value, and the case of one that is among a few choices."""
        if not isinstance(value, str):
            return value
        value = value.strip()
        return value.lower() if value.lower() in choices(info.field_name or "") else value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.max_queue_texts < self.max_batch_texts:
            raise ValueError(
                "MAX_QUEUE_TEXTS must be at least MAX_BATCH_TEXTS; otherwise a full list could never be admitted"
            )
        if 0 < self.max_bodies_bytes < 4 * self.max_body_bytes:
            raise ValueError(
                "MAX_BODIES_BYTES must be 0 or at least 4 times MAX_BODY_BYTES, the memory that one body may take"
            )
        if self.workers > 1 and self.host.startswith("unix:"):
            raise ValueError("HOST=unix:… needs WORKERS=1, because workers cannot share a socket in the file system")
        if self.workers > 1 and self.rate_limit and self.rate_limit_storage == "memory":
            raise ValueError(
                "RATE_LIMIT with several WORKERS needs RATE_LIMIT_STORAGE; otherwise each worker counts separately"
            )
        if self.compare_backends and (self.backend != "auto" or self.workers > 1):
            raise ValueError(
                "COMPARE_BACKENDS needs BACKEND=auto and one worker, because several could choose different backends"
            )
        if self.models_file and self.model_digest:
            raise ValueError(
                "MODEL_DIGEST is for one model; in the models file, state the `digest` of each version instead"
            )
        if self.feedback and self.workers > 1:
            raise ValueError(
                "FEEDBACK needs WORKERS=1, because feedback could reach another worker than its prediction did"
            )
        if self.model_digest and self.backend == "mock":
            raise ValueError("MODEL_DIGEST cannot be checked with BACKEND=mock, which reads no model")
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
        """Flags first, then the environment, then the platform, then the profile that the first two name."""
        name = str(init_settings().get("profile") or env_settings().get("profile")).strip().lower()
        # The validation of the field reports an unknown name.
        file = PROFILES / f"{name}.yaml" if name in profiles() else None
        profile = YamlConfigSettingsSource(settings_cls, file, yaml_file_encoding="utf-8")
        return init_settings, env_settings, InitSettingsSource(settings_cls, platform_settings()), profile


def platform_settings() -> dict[str, Any]:
    """Return what the platform prescribes: Cloud Run, Heroku and others state the port to listen on in PORT."""
    port = os.environ.get("PORT", "")
    return {"port": port} if port.isdecimal() else {}


def choices(name: str) -> list[str]:
    """Return the values that a setting may have; none if it may have others."""
    annotation = Settings.model_fields[name].annotation
    return [value for each in (annotation, *get_args(annotation)) for value in get_args(each) if isinstance(value, str)]


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
