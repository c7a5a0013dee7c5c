"""From the settings to the models: which ones are wanted, where their files are, and what must be true of them."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from .artifacts import ArtifactStore, check_fits, memory_limit, memory_needed, memory_used, verify_signature
from .catalog import Catalog, ModelSpec, VersionSpec, locate, read
from .config import Settings
from .cpu import usable_cores
from .errors import CorruptArtifact, ModelsFileError
from .inference import Model, find_directory, load_model, open_artifact
from .inference import locate as find_files
from .metrics import Metrics
from .scheduling import BatchObserver
from .serving import (
    CanaryLimits,
    Engine,
    Feedback,
    Follower,
    Lifecycle,
    Loader,
    ServingLimits,
    SharedCache,
    Source,
    Version,
)


def new_follower(
    settings: Settings,
    lifecycle: Lifecycle,
    metrics: Metrics,
    shared: SharedCache | None,
    feedback: Feedback | None,
    *,
    batches: BatchObserver | None = None,
    on_ready: Callable[[], None],
    on_broken: Callable[[], None],
) -> Follower:
    """Return what loads the models into `lifecycle`, and keeps them what they are to be.

    `batches` counts what happens in all of them together, by default `metrics`.
    """

    def on_stall() -> None:
        follower.stop("the model stopped answering")

    def on_change(version: Version) -> None:
        follower.changed(version)

    def on_unload(version: Version) -> None:
        opener.release(version)
        if feedback and version.info:
            feedback.forget(version.info.id)

    opener = Opener(settings)
    engine = lifecycle.engine = Engine(_serving_limits(settings), batches or metrics, on_stall=on_stall, shared=shared)
    loader = Loader(
        opener.open,
        engine,
        metrics,
        agreement=settings.golden_agreement,
        on_change=on_change,
        on_unload=on_unload,
    )
    follower = Follower(loader, lifecycle.registry, lifecycle, on_ready=on_ready, on_broken=on_broken)
    return follower


async def follow(settings: Settings, follower: Follower) -> None:
    """Load what the settings want and, if that is a models file, follow it."""
    file = settings.models_file
    limits = CanaryLimits(settings.canary_max_error_rate, settings.canary_max_p99_ratio)
    upkeep = [
        asyncio.create_task(follower.check_golden_texts(settings.golden_interval_s)),
        asyncio.create_task(follower.check_canaries(limits)),
    ]
    try:
        if file is None:
            await follower.serve(_single(settings))
            await asyncio.gather(*upkeep)
        else:
            await follower.follow(Source(_ModelsFile(file).read, _stamp_of, settings.models_poll_s))
    except ModelsFileError as error:
        follower.refuse(str(error))
    finally:
        for task in upkeep:
            task.cancel()


def open_default(settings: Settings, processes: int = 1) -> Model:
    """Load what most callers of the default model get, in one of so many processes; a model that is named goes first.

    Blocks. Raises as `Opener.open` does.
    """
    opener = Opener(settings.model_copy(update={"workers": processes, "compare_backends": False}))
    if settings.models_file is None or "model" in settings.model_fields_set:
        return opener.open(_single(settings))
    default = _ModelsFile(settings.models_file).read().default
    model = opener.open(max(default.versions, key=lambda version: version.weight))
    return replace(model, info=replace(model.info, model=default.name))


def _single(settings: Settings) -> VersionSpec:
    """Return the one version that is served without a models file."""
    source = settings.model or settings.backend
    return VersionSpec(source, "url" if "://" in source else "path", 100.0, shadow=False)


class _ModelsFile:
    """A models file, with paths that do not depend on where it is.

    A path leads to the same place as long as this exists: when its folder is moved away, another folder of that name,
    below the working directory, must not take its place.
    """

    def __init__(self, file: Path) -> None:
        self._file = file.expanduser()
        self._places: dict[VersionSpec, str] = {}

    def read(self) -> Catalog:
        """Return what the file says. Raises `ModelsFileError`."""
        found = read(self._file)
        keys = {_without_callers(each): each for model in found.models for each in model.versions}
        places = {key: self._places.get(key) or locate(self._file, each) for key, each in keys.items()}
        self._places = {key: place for key, place in places.items() if key in self._places or Path(place).is_dir()}

        def absolute(model: ModelSpec) -> ModelSpec:
            sources = [places[_without_callers(each)] for each in model.versions]
            versions = (replace(each, source=source) for each, source in zip(model.versions, sources, strict=True))
            return replace(model, versions=tuple(versions))

        return Catalog(tuple(absolute(model) for model in found.models))


def _without_callers(version: VersionSpec) -> VersionSpec:
    """Return what says where a version is."""
    return replace(version, weight=0.0, shadow=False)


class Opener:
    """Opens versions: fetches, verifies, sizes and loads them. Its methods block."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._cache = settings.models_cache.expanduser().absolute()
        self._store = ArtifactStore(self._cache, settings.models_cache_bytes)

    def open(self, spec: VersionSpec) -> Model:
        """Load a version. Raises `ArtifactError`, `BackendError` and `SetupError`, which say what is wrong with it."""
        settings = self._settings
        if settings.backend == "mock":
            return self._load(spec.source, "")  # it has no files
        digest = spec.digest or settings.model_digest
        if spec.kind != "url":
            return self._verify_and_load(spec.source, digest)
        folder = self._store.fetch(spec.source, digest, signed=bool(settings.models_keys))
        try:
            return self._verify_and_load(str(folder), folder.name)
        except CorruptArtifact:
            self._store.discard(folder)  # so that the next attempt downloads it again
            raise
        except BaseException:
            self._store.release(folder)
            raise

    def release(self, version: Version) -> None:
        """Let the files of a version go that were fetched for it."""
        if version.spec.kind == "url" and version.folder:
            self._store.release(self._cache / version.folder.name)

    def _verify_and_load(self, source: str, digest: str) -> Model:
        if keys := self._settings.models_keys:
            signed = verify_signature(find_files(source), keys)
            if digest and digest.removeprefix("sha256:") != signed.removeprefix("sha256:"):
                raise CorruptArtifact(f"{source}: signed, but its manifest has the sha256 {signed} and not {digest}")
            digest = signed  # what is loaded must be what was verified
        self._check_memory(source, digest)
        return self._load(source, digest)

    def _load(self, source: str, digest: str) -> Model:
        settings = self._settings
        return load_model(
            source,
            digest=digest,
            backend=settings.backend,
            device=settings.device,
            precision=settings.precision,
            slots=settings.slots,
            workers=settings.workers,
            max_batch_size=settings.max_batch_size,
            compare=settings.compare_backends,
            abstain_below=settings.abstain_below,
            depth=settings.depth,
            mock_delay_ms=settings.mock_delay_ms,
            mock_failure_rate=settings.mock_failure_rate,
        )

    def _check_memory(self, source: str, digest: str) -> None:
        """Raise `ArtifactError` if a version would not fit beside what is in memory."""
        settings = self._settings
        if settings.models_file is None and not settings.memory_limit_bytes:
            return  # one model, on a machine that nobody has limited
        artifact = open_artifact(source, digest)
        slots = settings.slots or max(1, usable_cores() // settings.workers)
        needed = memory_needed(artifact, settings.backend, settings.device, slots, precision=settings.precision)
        limit = memory_limit(settings.memory_limit_bytes)
        check_fits(source, needed * settings.workers, limit, memory_used(settings.workers))


def _stamp_of(spec: VersionSpec) -> object:
    """Return what changes when the files of a version do; None if they are pinned."""
    if spec.kind != "path":
        return None
    try:
        if (folder := find_directory(spec.source)) is None:
            return "missing"
        manifest = folder / "manifest.json"
        files = [manifest] if manifest.is_file() else sorted(file for file in folder.iterdir() if file.is_file())
        return [_stamp_of_file(file) for file in files]
    except (OSError, RuntimeError):  # files are being replaced, or it cannot be a folder: loading it says why
        return "unreadable"


def _stamp_of_file(file: Path) -> tuple[str, int, int, int]:
    status = file.stat()
    return file.name, status.st_mtime_ns, status.st_size, status.st_ino


def _serving_limits(settings: Settings) -> ServingLimits:
    return ServingLimits(
        max_batch_size=settings.max_batch_size,
        max_batch_tokens=settings.max_batch_tokens,
        max_queue_texts=settings.max_queue_texts,
        max_wait_ms=settings.max_wait_ms,
        backend_timeout_ms=settings.backend_timeout_ms,
        max_text_chars=settings.max_text_chars,
        cache_entries=settings.cache_entries,
        # Without keys, all callers share the cache.
        brownout_ms=settings.brownout_ms,
        cache_per_caller=settings.cache_scope == "key" and settings.needs_key,
    )
