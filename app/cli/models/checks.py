"""What must be true of an artifact before it is served, checked one by one."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from ...artifacts import ArtifactStore, check_fits, memory_limit, memory_needed, memory_used, verify_signature
from ...config import Settings
from ...cpu import usable_cores
from ...errors import SentimentError
from ...inference import SIGNATURE, Artifact, Model, load_model, locate, open_artifact, open_files, read_development

T = TypeVar("T")

NAMES = ("found", "manifest", "signature", "checksums", "format", "labels", "memory", "loads", "golden texts")
_TEXT = "It works."

# Says how many golden texts a model agrees with, or that it has none; raises `SentimentError` if they are too few.
Golden = Callable[[Model], str]


@dataclass(frozen=True, slots=True)
class Check:
    """What was checked, how it went, and the figures or the reason."""

    name: str
    result: Literal["passed", "failed", "skipped"]
    detail: str


@dataclass(slots=True)
class Verification:
    """Checks a model as the service would before it serves it."""

    settings: Settings
    keys: Sequence[Path] = ()
    golden: Golden | None = None
    checks: list[Check] = field(default_factory=list)

    def run(self, model: str) -> list[Check]:
        """Check the model of a directory, a name or an address, and return all checks in the order of `NAMES`."""
        store = ArtifactStore(self.settings.models_cache, self.settings.models_cache_bytes)
        if (directory := self._try("found", lambda: self._find(model, store))) is not None:
            try:
                self._check(directory)
            finally:
                store.release(directory)
        done = {check.name for check in self.checks}
        self.checks += [Check(name, "skipped", "an earlier check failed") for name in NAMES if name not in done]
        return sorted(self.checks, key=lambda check: NAMES.index(check.name))

    def _check(self, directory: Path) -> None:
        if (files := self._try("manifest", lambda: open_files(directory))) is None:
            return
        if not files.manifest:
            self._skip("manifest", "no manifest.json")
            self._skip("checksums", "there are none; `python -m onnx_export` writes them")
        else:
            listed = files.manifest["files"]
            self._pass("manifest", f"{len(listed)} files, sha256:{files.manifest_sha256}")
            if self._try("checksums", lambda: [files.read(name) and None for name in listed]) is not None:
                self._pass("checksums", f"those of all {len(listed)} files match")
        digest = self._check_signature(directory)
        if (artifact := self._try("format", lambda: open_artifact(str(directory), digest))) is None:
            return
        requires = files.manifest.get("requires")
        needs = f", requires rt-sentiment {requires}" if requires else ""
        self._pass("format", f"{', '.join(artifact.files) or 'no weights'}; version {artifact.version}{needs}")
        if self._try("labels", lambda: [read_development(artifact)]) is None:  # its shares are those of labels, too
            return
        self._pass("labels", f"{', '.join(artifact.labels)}; reads {artifact.max_tokens} tokens")
        self._check_memory(artifact)
        if not any(check.result == "failed" for check in self.checks):
            self._check_predictions(directory, digest)

    def _find(self, model: str, store: ArtifactStore) -> Path:
        directory = store.fetch(model, signed=bool(self.keys)) if "://" in model else locate(model)
        self._pass("found", str(directory))
        return directory

    def _check_signature(self, directory: Path) -> str:
        """Return the digest of the manifest that is signed; "" if that is not known."""
        if not self.keys:
            has_one = (directory / SIGNATURE).is_file()
            self._skip("signature", f"{'signed' if has_one else 'not signed'}; no key is given to verify it with")
            return ""
        digest = self._try("signature", lambda: verify_signature(directory, self.keys))
        if digest is not None:
            self._pass(
                "signature",
                f"made with one of {len(self.keys)} keys" if len(self.keys) > 1 else "made with the given key",
            )
        return digest or ""

    def _check_memory(self, artifact: Artifact) -> None:
        settings = self.settings
        slots = settings.slots or usable_cores()

        def check() -> str:
            needed = memory_needed(artifact, settings.backend, settings.device, slots, precision=settings.precision)
            limit = memory_limit(settings.memory_limit_bytes)
            check_fits(artifact.name, needed, limit, memory_used())
            return f"about {needed / 1e6:,.0f} MB of {limit / 1e6:,.0f} MB"

        if (detail := self._try("memory", check)) is not None:
            self._pass("memory", detail)

    def _check_predictions(self, directory: Path, digest: str) -> None:
        settings = self.settings

        def load() -> Model:
            started_s = time.perf_counter()
            model = load_model(
                str(directory),
                digest=digest,
                backend=settings.backend,
                device=settings.device,
                precision=settings.precision,
                depth=settings.depth,
                slots=settings.slots,
            )
            loaded_s = time.perf_counter() - started_s
            model.predict([_TEXT])
            runs = f"{model.info.backend} {model.info.precision} on {model.info.device}"
            self._pass("loads", f"{runs}, loaded and warmed up in {loaded_s:.1f} s")
            return model

        model, golden = self._try("loads", load), self.golden
        if model is None:
            return
        if golden is None:
            self._skip("golden texts", "not compared")
        elif (detail := self._try("golden texts", lambda: golden(model))) is not None:
            self._pass("golden texts", detail)

    def _try(self, name: str, function: Callable[[], T]) -> T | None:
        """Return a result; None if the check `name` failed."""
        try:
            return function()
        except SentimentError as error:
            self.checks.append(Check(name, "failed", str(error)))
            return None

    def _pass(self, name: str, detail: str) -> None:
        self.checks.append(Check(name, "passed", detail))

    def _skip(self, name: str, detail: str) -> None:
        self.checks.append(Check(name, "skipped", detail))
