"""From the settings to the models: which ones are wanted, where their files are, and how each is opened."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from .catalog import Catalog, ModelSpec, VersionSpec, locate, read
from .config import Settings
from .inference import Model, find_directory, load_model
from .serving import Follower, Source


async def follow(settings: Settings, follower: Follower) -> None:
    """Load what the settings want and, if that is a models file, follow it."""
    file = settings.models_file
    if file is None:
        await follower.serve(VersionSpec(settings.model or settings.backend, "path", 100.0, shadow=False))
    else:
        await follower.follow(Source(partial(_read, file), stamp_of, settings.models_poll_s))


def _read(file: Path) -> Catalog:
    """Return what the models file says, with paths that do not depend on where it is."""
    found = read(file)

    def absolute(model: ModelSpec) -> ModelSpec:
        return replace(model, versions=tuple(replace(each, source=locate(file, each)) for each in model.versions))

    return Catalog(tuple(absolute(model) for model in found.models))


def open_model(settings: Settings, spec: VersionSpec) -> Model:
    """Load one version. Blocks. Raises `ArtifactError`, `BackendError` and `SetupError`."""
    return load_model(
        spec.source,
        digest=spec.digest or settings.model_digest,
        backend=settings.backend,
        device=settings.device,
        precision=settings.precision,
        slots=settings.slots,
        workers=settings.workers,
        max_batch_size=settings.max_batch_size,
        compare=settings.compare_backends,
        abstain_below=settings.abstain_below,
        mock_delay_ms=settings.mock_delay_ms,
        mock_failure_rate=settings.mock_failure_rate,
    )


def stamp_of(spec: VersionSpec) -> object:
    """Return what changes when the files of a version do; None if they are pinned."""
    if spec.kind != "path":
        return None
    folder = find_directory(spec.source)
    if folder is None:
        return "missing"
    manifest = folder / "manifest.json"
    files = [manifest] if manifest.is_file() else sorted(file for file in folder.iterdir() if file.is_file())
    return [_stamp_of_file(file) for file in files]


def _stamp_of_file(file: Path) -> tuple[str, int, int, int]:
    status = file.stat()
    return file.name, status.st_mtime_ns, status.st_size, status.st_ino
