"""From the settings to the models: what is opened and verified, what is released, and when files count as new."""

import asyncio
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from prometheus_client import CollectorRegistry

from app import models as module
from app.catalog import VersionSpec
from app.config import Settings
from app.errors import ArtifactError, CorruptArtifact
from app.inference import Model, load_model
from app.metrics import Metrics
from app.models import Opener, follow, new_follower, open_default
from app.serving import Feedback, Lifecycle, Version
from tests.support.artifacts import artifact, write_manifest
from tests.support.waiting import async_until

DIGEST = "0" * 64
MOCK = load_model(backend="mock")


def spec(source: str, kind: Any = "path", digest: str = "") -> VersionSpec:
    return VersionSpec(source, kind, 100.0, False, digest)


class Store:
    """A store whose artifacts are folders, and that counts who uses them."""

    def __init__(self, folder: Path, _: int) -> None:
        self.folder = folder
        self.held: list[Path] = []
        self.fetches: list[tuple[str, str, bool]] = []

    def fetch(self, source: str, digest: str = "", *, signed: bool = False) -> Path:
        self.fetches.append((source, digest, signed))
        name = (digest or source[-1]).removeprefix("sha256:")[-1] * 64
        (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.held.append(self.folder / name)
        return self.folder / name

    def release(self, folder: Path) -> None:
        self.held.remove(folder)  # raises if nobody has it

    def discard(self, folder: Path) -> None:
        self.release(folder)
        folder.rmdir()


@pytest.fixture
def opener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opener:
    """An opener that loads nothing, with a cache behind a symlink."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "cache").symlink_to(tmp_path / "disk")
    monkeypatch.setattr(module, "ArtifactStore", Store)
    return opener_of(monkeypatch, tmp_path / "cache")


def opener_of(monkeypatch: pytest.MonkeyPatch, cache: Path, **settings: Any) -> Opener:
    def load_model(source: str, **options: Any) -> Any:
        return Mock(source=source, options=options, artifact=Mock(directory=Path(source).resolve()))

    monkeypatch.setattr(module, "load_model", load_model)
    return Opener(Settings(models_cache=cache, **settings))


def opened(opener: Opener, version: VersionSpec) -> Any:
    return opener.open(version)


def version_of(model: Any, version: VersionSpec) -> Version:
    return Version(version, folder=model.artifact.directory)


class TestOpener:
    def test_a_path_is_loaded_where_it_is(self, opener: Opener) -> None:
        model = opened(opener, spec("somewhere", digest=f"sha256:{DIGEST}"))
        assert (model.source, model.options["digest"]) == ("somewhere", f"sha256:{DIGEST}")
        assert opener._store.fetches == []  # type: ignore[attr-defined]
        opener.release(version_of(model, spec("somewhere")))

    def test_the_digest_of_the_setting_counts_where_none_is_stated(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        opener = opener_of(monkeypatch, tmp_path, model_digest=DIGEST)
        assert opened(opener, spec("a")).options["digest"] == opener._settings.model_digest != ""
        assert opened(opener, spec("a", digest=f"sha256:{'1' * 64}")).options["digest"] == f"sha256:{'1' * 64}"

    def test_what_is_at_an_address_is_fetched_and_loaded_as_it_was_verified(self, opener: Opener) -> None:
        model = opened(opener, spec("s3://bucket/1", "url"))
        assert (Path(model.source).name, model.options["digest"]) == ("1" * 64, "1" * 64)
        assert opener._store.fetches == [("s3://bucket/1", "", False)]  # type: ignore[attr-defined]

    def test_each_fetch_is_released_once(self, opener: Opener) -> None:
        """Two models with the same address, and one address with two contents."""
        specs = [spec("s3://b/1", "url"), spec("s3://b/1", "url"), spec("s3://b/1", "url", f"sha256:{'2' * 64}")]
        versions = [version_of(opened(opener, each), each) for each in specs]
        held = opener._store.held  # type: ignore[attr-defined]
        assert [folder.name[0] for folder in held] == ["1", "1", "2"]
        for version, left in zip([versions[2], versions[0], versions[1]], (["1", "1"], ["1"], []), strict=True):
            opener.release(version)
            assert [folder.name[0] for folder in held] == left

    @pytest.mark.parametrize("step", ["load_model", "_check_memory"])
    def test_what_was_fetched_and_refused_is_released(
        self, opener: Opener, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        monkeypatch.setattr(module if step == "load_model" else opener, step, Mock(side_effect=ArtifactError("no")))
        with pytest.raises(ArtifactError):
            opener.open(spec("s3://b/1", "url"))
        assert opener._store.held == []  # type: ignore[attr-defined]

    def test_what_was_fetched_and_is_corrupt_is_fetched_again(
        self, opener: Opener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "load_model", Mock(side_effect=CorruptArtifact("no")))
        with pytest.raises(CorruptArtifact):
            opener.open(spec("s3://b/1", "url"))
        store = opener._store
        assert store.held == []  # type: ignore[attr-defined]
        assert not (store.folder / ("1" * 64)).exists()  # type: ignore[attr-defined]

    def test_a_version_that_was_not_opened_has_nothing_to_release(self, opener: Opener) -> None:
        opener.release(Version(spec("s3://b/1", "url")))

    def test_the_mock_has_no_files(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(module, "ArtifactStore", Store)
        opener = opener_of(monkeypatch, tmp_path, backend="mock", models_keys=(tmp_path / "key",))
        assert opened(opener, spec("s3://b/1", "url")).source == "s3://b/1"
        assert opener._store.fetches == []  # type: ignore[attr-defined]

    def test_with_keys_what_is_loaded_must_be_what_was_signed(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(module, "ArtifactStore", Store)
        verified: list[Path] = []

        def verify(folder: Path, keys: object) -> str:
            verified.append(folder)
            if folder.name == "bad":
                raise CorruptArtifact("not signed")
            return "f" * 64 if folder.name == "good" else folder.name

        monkeypatch.setattr(module, "verify_signature", verify)
        (tmp_path / "good").mkdir()
        (tmp_path / "bad").mkdir()
        opener = opener_of(monkeypatch, tmp_path / "cache", models_keys=(tmp_path / "key",))
        assert opened(opener, spec(str(tmp_path / "good"))).options["digest"] == "f" * 64
        with pytest.raises(CorruptArtifact):
            opener.open(spec(str(tmp_path / "bad")))
        opener.open(spec("s3://b/1", "url"))
        assert opener._store.fetches == [("s3://b/1", "", True)]  # type: ignore[attr-defined]
        assert [folder.name[:4] for folder in verified] == ["good", "bad", "1111"]
        with pytest.raises(CorruptArtifact, match="its manifest has the sha256 ffff"):
            opener.open(spec(str(tmp_path / "good"), digest=f"sha256:{DIGEST}"))


class TestOpenDefault:
    """What commands and workers load, which is what most callers of a server with the same settings get."""

    @pytest.fixture(autouse=True)
    def info(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def load_model(source: str, **options: Any) -> Model:
            return replace(MOCK, info=replace(MOCK.info, model_version=source, backend=str(options["workers"])))

        monkeypatch.setattr(module, "load_model", load_model)
        monkeypatch.setattr(Opener, "_check_memory", lambda *_: None)

    def test_without_a_models_file_it_is_the_model_of_the_settings(self) -> None:
        assert open_default(Settings(model="a")).info.model_version == "a"

    def test_with_a_models_file_it_is_the_main_version_of_the_first_model(self, tmp_path: Path) -> None:
        file = tmp_path / "models.yaml"
        file.write_text(
            "models:\n  reviews:\n    versions:\n"
            "      - {path: /canary, weight: 10}\n      - {path: /main, weight: 90}\n"
            "  other: {versions: [{path: /other}]}\n"
        )
        info = open_default(Settings(models_file=file), processes=2).info
        assert (info.model, info.model_version, info.backend) == ("reviews", "/main", "2")

    def test_a_model_that_is_named_goes_before_the_models_file(self, tmp_path: Path) -> None:
        assert open_default(Settings(models_file=tmp_path / "none", model="a")).info.model_version == "a"


class TestMemory:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        artifact(tmp_path / "model", weights=b"x" * 1000)
        config = {"id2label": {"0": "bad", "1": "good"}, "architectures": ["DistilBertForSequenceClassification"]}
        (tmp_path / "model" / "config.json").write_text(json.dumps(config))
        write_manifest(tmp_path / "model")
        return tmp_path / "model"

    def test_a_version_that_does_not_fit_is_refused_with_the_figures(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path
    ) -> None:
        opener = opener_of(monkeypatch, tmp_path, memory_limit_bytes=1, backend="onnx", device="cpu")
        with pytest.raises(ArtifactError, match="needs about 21 MB, and 0 MB of 0 MB are left"):
            opener.open(spec(str(folder)))

    def test_one_model_without_a_limit_is_not_measured(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path
    ) -> None:
        monkeypatch.setattr(module, "memory_limit", lambda _: 1)
        assert opener_of(monkeypatch, tmp_path, backend="onnx").open(spec(str(folder)))

    def test_all_workers_load_the_model(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path) -> None:
        checked = Mock()
        monkeypatch.setattr(module, "check_fits", checked)
        monkeypatch.setattr(module, "memory_needed", lambda *_, **__: 7)
        monkeypatch.setattr(module, "memory_used", lambda workers: 100 * workers)
        monkeypatch.setattr(module, "memory_limit", lambda _: 1000)
        file = tmp_path / "models.yaml"
        opener_of(monkeypatch, tmp_path, workers=3, models_file=file, backend="onnx").open(spec(str(folder)))
        checked.assert_called_once_with(str(folder), 21, 1000, 300)


class TestStamp:
    def test_pinned_versions_have_none(self) -> None:
        assert module._stamp_of(spec("owner/name@1", "hub")) is None
        assert module._stamp_of(spec("s3://b/1", "url")) is None

    def test_a_folder_that_is_missing_is_no_error(self, tmp_path: Path) -> None:
        assert module._stamp_of(spec(str(tmp_path / "missing"))) == "missing"

    @pytest.mark.parametrize("source", ["a" * 300, "~nobody-of-this-name/model"])
    def test_what_cannot_be_a_folder_is_no_error(self, source: str) -> None:
        assert module._stamp_of(spec(source)) == "unreadable"

    def test_with_a_manifest_only_that_counts(self, tmp_path: Path) -> None:
        artifact(tmp_path / "model")
        before = module._stamp_of(spec(str(tmp_path / "model")))
        assert module._stamp_of(spec(str(tmp_path / "model"))) == before
        (tmp_path / "model" / "notes.txt").write_text("new")
        assert module._stamp_of(spec(str(tmp_path / "model"))) == before
        write_manifest(tmp_path / "model")
        assert module._stamp_of(spec(str(tmp_path / "model"))) != before

    def test_without_a_manifest_every_file_counts(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text("{}")
        (tmp_path / "folder").mkdir()
        before = module._stamp_of(spec(str(tmp_path)))
        (tmp_path / "model.onnx").write_text("x")
        assert module._stamp_of(spec(str(tmp_path))) != before

    def test_a_folder_that_is_exchanged_with_the_same_times_is_new(self, tmp_path: Path) -> None:
        for name in ("1", "2"):
            artifact(tmp_path / name)
            os.utime(tmp_path / name / "manifest.json", (1, 1))
        link = tmp_path / "current"
        link.symlink_to("1")
        before = module._stamp_of(spec(str(link)))
        link.unlink()
        link.symlink_to("2")
        assert module._stamp_of(spec(str(link))) != before

    def test_a_file_that_goes_while_it_is_looked_at_is_no_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        artifact(tmp_path / "model")
        monkeypatch.setattr(module, "_stamp_of_file", Mock(side_effect=FileNotFoundError))
        assert module._stamp_of(spec(str(tmp_path / "model"))) == "unreadable"


class TestFollow:
    @staticmethod
    def start(feedback: Feedback | None = None, **settings: Any) -> tuple[Lifecycle, "asyncio.Task[None]", Any]:
        lifecycle = Lifecycle()
        every = Settings(**{"backend": "mock", "models_poll_s": 0.001, **settings})
        follower = new_follower(
            every,
            lifecycle,
            Metrics(CollectorRegistry()),
            None,
            feedback,
            on_ready=lambda: None,
            on_broken=lambda: None,
        )
        return lifecycle, asyncio.create_task(follow(every, follower)), follower

    @staticmethod
    async def stop(lifecycle: Lifecycle, task: "asyncio.Task[None]", follower: Any) -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        follower.close()
        lifecycle.close()

    async def test_without_a_file_the_model_of_the_setting_is_served(self) -> None:
        running = self.start()
        await async_until(lambda: running[0].status == "ok")
        assert [*running[0].registry.models] == ["mock"]
        await self.stop(*running)

    async def test_without_checks_that_is_all(self) -> None:
        running = self.start(golden_interval_s=0)
        await running[1]
        assert running[0].status == "ok"
        await self.stop(*running)

    async def test_an_address_with_a_password_is_refused_at_the_start(self) -> None:
        running = self.start(model="s3://user:secret@bucket/model")
        await running[1]
        assert (running[0].status, running[0].reason) == ("degraded", "the model could not be loaded")
        await self.stop(*running)

    async def test_a_file_is_followed_with_paths_from_its_folder(self, tmp_path: Path) -> None:
        (tmp_path / "one").mkdir()
        file = tmp_path / "models.yaml"
        file.write_text("models:\n  m:\n    versions:\n      - {path: one}\n")
        running = self.start(models_file=file)
        registry = running[0].registry
        await async_until(lambda: running[0].status == "ok")
        assert registry.models["m"].versions[0].spec.source == str(tmp_path / "one")
        file.write_text("models:\n  m:\n    versions:\n      - {path: two}\n")
        await async_until(lambda: [Path(each.spec.source).name for each in registry.models["m"].versions] == ["two"])
        await self.stop(*running)

    async def test_feedback_of_a_version_goes_with_it(self, tmp_path: Path) -> None:
        feedback, file = Feedback(), tmp_path / "models.yaml"
        file.write_text("models:\n  m:\n    versions:\n      - {path: one}\n")
        running = self.start(feedback, models_file=file)
        await async_until(lambda: running[0].status == "ok")
        feedback.remember("request", "m@mock", ["good"], ["bad", "good"])
        feedback.record("request", "good")
        file.write_text("models:\n  m:\n    versions:\n      - {path: two}\n")
        await async_until(lambda: not feedback.counts("m@mock"))
        await self.stop(*running)

    async def test_a_stall_degrades_the_process(self) -> None:
        running = self.start()
        await async_until(lambda: running[0].status == "ok")
        assert running[0].engine
        running[0].engine._on_stall()
        assert (running[0].status, running[0].reason) == ("degraded", "the model stopped answering")
        await self.stop(*running)

    async def test_a_version_that_fails_hands_over_its_callers(self, tmp_path: Path) -> None:
        file = tmp_path / "models.yaml"
        file.write_text(
            "models:\n  m:\n    versions:\n      - {path: one, weight: 50}\n      - {path: two, weight: 50}\n"
        )
        running = self.start(models_file=file)
        await async_until(lambda: running[0].status == "ok" and len(running[0].registry.models["m"].shares) == 2)
        version = running[0].registry.models["m"].versions[0]
        running[2]._loader._set_failing(version, "the model is failing")
        assert len(running[0].registry.models["m"].shares) == 1
        await self.stop(*running)


def test_a_real_version_is_fetched_loaded_and_released(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree("models/sentiment-en", source, ignore=shutil.ignore_patterns("*.safetensors"))
    manifest = json.loads((source / "manifest.json").read_text())
    del manifest["files"]["model.safetensors"]
    (source / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "disk").mkdir()
    (tmp_path / "cache").symlink_to(tmp_path / "disk")
    opener = Opener(Settings(models_cache=tmp_path / "cache", slots=1, backend="onnx"))
    version = spec(source.as_uri(), "url")
    model = opener.open(version)
    assert len(opener._store._held) == 1
    assert model.predict(["I love it"])[0].label == "positive"
    opener.release(version_of(model, version))
    assert opener._store._held == {}


def test_a_path_does_not_begin_to_lead_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the folder is moved away, one of the same name in the working directory does not take its place."""
    for folder in ("config/a", "work/a", "work/b"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    file = module._ModelsFile(tmp_path / "config" / "models.yaml")
    text = "models: {m: {versions: [{path: ./a, weight: %d}, {path: ./b, weight: 1}, {path: ./c, weight: 1}]}}\n"

    def sources(weight: int) -> list[str]:
        (tmp_path / "config" / "models.yaml").write_text(text % weight)
        return [each.source for each in file.read().default.versions]

    before = sources(1)
    assert before[:2] == [str(tmp_path / "config" / "a"), str(tmp_path / "work" / "b")]
    (tmp_path / "config" / "a").rename(tmp_path / "config" / "gone")
    assert sources(2) == before
    (tmp_path / "config" / "c").mkdir()  # was not there before
    assert sources(3) == [*before[:2], str(tmp_path / "config" / "c")]
