"""The settings of several models and versions, and of where they come from: a part of `Settings`."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings

from .setting_types import Files


class ModelsSettings(BaseSettings):
    """Which models are served, what must be true of them, and how much room they may take."""

    depth: Literal["auto", "full"] = Field(
        "auto",
        description="of a model with exits: auto answers a text as soon as the model is sure; full runs all layers",
    )
    brownout_ms: float = Field(
        0,
        ge=0,
        description="of a model with exits: predicted waiting time above which new texts get shallower answers, which "
        "are marked and not cached; 0 means never",
    )
    models_file: Path | None = Field(
        None,
        description="YAML file that states which models and versions are served; without it, SENTIMENT_MODEL is",
    )
    models_poll_s: float = Field(2, gt=0, description="seconds after which that file is looked at again")
    models_cache: Path = Field(
        Path("~/.cache/rt-sentiment/models"), description="folder for models that are downloaded from an address"
    )
    models_cache_bytes: int = Field(
        10 * 1024**3,
        ge=1024**2,
        description="maximum bytes in that folder; beyond it, those that were used least recently are removed",
    )
    models_keys: Files = Field(
        (),
        description="files of public keys (PEM), separated by commas; with any, only models signed with one are loaded",
    )
    golden_interval_s: float = Field(
        300,
        ge=0,
        description="seconds after which a model must answer its golden texts again; 0 means only when it is loaded",
    )
    golden_agreement: float = Field(
        0.9, ge=0, le=1, description="minimum part of its golden texts to which a model must give the published label"
    )
    canary_max_error_rate: float = Field(
        0,
        ge=0,
        le=1,
        description="maximum part of the newest requests of a canary that may fail; beyond it, the other versions get "
        "its callers; 0 means no limit",
    )
    canary_max_p99_ratio: float = Field(
        0,
        ge=0,
        description="maximum p99 of the newest requests of a canary, in times that of the version with most callers; "
        "beyond it, the other versions get its callers; 0 means no limit",
    )
    memory_limit_bytes: int = Field(
        0,
        ge=0,
        description="maximum bytes of memory for all processes of the service; a model that needs more is refused; "
        "0 means the limit of the container or the machine",
    )
