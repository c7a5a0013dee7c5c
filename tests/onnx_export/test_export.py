"""The exporter, on a small classifier with its own labels."""

import json
import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnxruntime.quantization import quantize_dynamic
from transformers import DistilBertConfig, DistilBertForSequenceClassification, PreTrainedTokenizerFast

from app.inference import compare_golden, read_development, read_golden
from app.inference.artifact import open_artifact, sha256
from app.inference.backends.onnx import OnnxBackend
from app.inference.model import load_model
from app.inference.padding import pad
from app.types import Batch, FloatArray
from onnx_export import __main__ as command
from onnx_export.quantize import down_projections
from onnx_export.samples import samples_of
from onnx_export.verify import Invariance, Limits, Parity, ParityError, Report, Sample, compare, invariance, spell
from tests.support.process import serve
from training.data import Example, read

SENTENCES = [text for sample in samples_of([]) for text in sample.texts]

# Warnings of the export libraries about themselves.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*:torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning"),
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibrated DistilBERT with two layers, the labels BAD and GOOD, and clear decisions."""
    directory = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(0)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(open_artifact("sentiment-en").directory)
    config = DistilBertConfig(
        vocab_size=len(tokenizer), dim=48, n_heads=4, n_layers=2, hidden_dim=96, id2label={0: "BAD", 1: "GOOD"},
        label2id={"BAD": 0, "GOOD": 1},
    )  # fmt: skip
    model = DistilBertForSequenceClassification(config)
    with torch.no_grad():
        model.classifier.weight.mul_(50)
    model.save_pretrained(directory)
    calibrated = json.loads((directory / "config.json").read_text()) | {"calibration_temperature": 1.25}
    (directory / "config.json").write_text(json.dumps(calibrated))
    tokenizer.save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def artifact(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("artifact") / "mine"
    level = logging.root.level
    command.main([str(checkpoint), "--out", str(out), "--version", "7", "--fp32"])
    logging.root.setLevel(level)
    return out


def test_the_last_line_says_how_to_serve_the_artifact(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = Report({}, Invariance("int8", 400, 0.0, 0))
    monkeypatch.setattr(command, "build", lambda *_, **__: report)
    command.main([str(checkpoint), "--out", str(tmp_path / "my model")])
    assert capsys.readouterr().out.splitlines()[-1] == f"To serve it: SENTIMENT_MODEL='{tmp_path}/my model' make serve"


def test_the_artifact_has_every_file_with_its_checksum(artifact: Path) -> None:
    manifest = json.loads((artifact / "manifest.json").read_text())
    assert {"config.json", "tokenizer.json", "model_int8.onnx", "model.onnx", "model.safetensors"} <= set(
        manifest["files"]
    )
    for name, entry in manifest["files"].items():
        assert entry == {"sha256": sha256(artifact / name), "bytes": (artifact / name).stat().st_size}
    assert manifest["version"] == "7"
    assert (manifest["format"], manifest["requires"]) == (1, ">=0.1")
    parity, invariant = manifest["metrics"]["parity"], manifest["metrics"]["invariance"]
    assert parity["behavioural_suite"]["texts"] == len(SENTENCES) > 400
    assert parity["behavioural_suite"]["disagreement"] <= 2
    assert invariant["precision"] == "int8"
    assert invariant["texts"] == 400
    assert invariant["largest_difference"] <= 0.001
    assert invariant["other_labels"] == 0
    assert manifest["tools"]["onnxruntime"]


def test_the_artifact_gives_its_golden_texts_the_answers_that_it_states(artifact: Path) -> None:
    opened = open_artifact(str(artifact))
    texts, development = read_golden(opened), read_development(opened)
    assert len(texts) == 48
    assert {each.text for each in texts} & set(SENTENCES)
    predictions = load_model(str(artifact), backend="onnx", device="cpu").predict([each.text for each in texts])
    assert compare_golden(texts, predictions, tolerance=0.001).agreement == 1.0
    assert development is not None
    assert development.texts == len(SENTENCES)


def test_the_artifact_keeps_the_temperature_of_the_checkpoint(artifact: Path) -> None:
    assert json.loads((artifact / "config.json").read_text())["calibration_temperature"] == 1.25
    for backend in ("onnx", "torch"):
        assert load_model(str(artifact), backend=backend, device="cpu").info.temperature == 1.25


def test_labels_of_texts_may_be_written_in_another_case() -> None:
    spelt = spell(Sample("dev", ["a", "b"], ["refund", "1.0"]), ("Refund", "1"))
    assert spelt == Sample("dev", ["a", "b"], ["Refund", "1"])
    assert spell(Sample("dev", ["a"]), ("Refund", "1")) == Sample("dev", ["a"])


def test_a_label_that_the_model_lacks_is_an_error_before_the_work(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "prepare", lambda *_: pytest.fail("the export has begun"))
    (tmp_path / "dev.csv").write_text("text,label\na,joy\nb,good\n")
    with pytest.raises(
        SystemExit, match="dev: the model has no label joy; it has bad, good; translate others with --map"
    ):
        command.main([str(checkpoint), "--out", str(tmp_path / "out"), "--dev", str(tmp_path / "dev.csv")])


def test_columns_and_labels_of_texts_can_be_named(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[object] = []
    report = Report({}, Invariance("int8", 400, 0.0, 0))
    monkeypatch.setattr(command, "build", lambda *arguments, **_: given.extend(arguments) or report)
    (tmp_path / "dev.csv").write_text("id;review;stars\n1;fine;5\n2;bad;1\n3;so so;3\n")
    (tmp_path / "more.csv").write_text("id,review\n1,other\n")
    files = ["--dev", str(tmp_path / "dev.csv"), "--calibration", str(tmp_path / "more.csv")]
    flags = ["--text-column", "review", "--map", "1:BAD,5:GOOD,other=drop"]
    command.main([str(checkpoint), "--out", str(tmp_path / "out"), *files, *flags])
    assert given[2:4] == [[Sample("dev", ["fine", "bad"], ["GOOD", "BAD"])], ["other"]]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("run", "run is the directory of a training; its model is in .*run/checkpoint"),
        ("runs/nothing/checkpoint", "no such directory"),
        ("multi", "models with several labels per text are not supported"),
    ],
)
def test_what_is_no_checkpoint_is_explained(checkpoint: Path, tmp_path: Path, name: str, complaint: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint").symlink_to(checkpoint)
    (tmp_path / "multi").mkdir()
    (tmp_path / "multi" / "config.json").write_text('{"problem_type": "multi_label_classification"}')
    with pytest.raises(SystemExit, match=f"^nothing was written: .*{complaint}"):
        command.main([str(tmp_path / name), "--out", str(tmp_path / "out")])


def test_the_artifact_is_smaller_than_what_it_came_from(artifact: Path, checkpoint: Path) -> None:
    whole = (checkpoint / "model.safetensors").stat().st_size
    assert (artifact / "model.safetensors").stat().st_size < 0.55 * whole
    assert (artifact / "model_int8.onnx").stat().st_size < 0.35 * whole


def test_all_formats_agree(artifact: Path) -> None:
    labels = []
    for backend, precision in (("onnx", "int8"), ("onnx", "fp32"), ("torch", "fp32")):
        model = load_model(str(artifact), backend=backend, device="cpu", precision=precision)
        results = model.runner.run(model.tokenizer.encode_many(SENTENCES))
        labels.append([getattr(result, "label", None) for result in results])
    assert {"bad", "good"} >= set(labels[0])
    for other in labels[1:]:
        assert np.mean([mine == theirs for mine, theirs in zip(labels[0], other, strict=True)]) >= 0.98


def test_the_artifact_is_served_with_its_own_labels(artifact: Path) -> None:
    with serve(model=str(artifact)) as server, server.client() as http:
        assert http.get("/info").json()["labels"] == ["bad", "good"]
        assert list(http.post("/predict", json={"text": "So good"}).json()["scores"]) == ["bad", "good"]


def test_accuracy_is_measured_on_labelled_texts(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "dev.tsv").write_text("label\ttext\n" + "".join(f"good\t{text}\n" for text in SENTENCES[:50]))
    samples = samples_of(read(tmp_path / "dev.tsv"))
    parities = command.build(str(checkpoint), tmp_path / "out", samples, version="1", keep_fp32=False).parity
    assert parities["dev"].fp32_accuracy is not None
    assert abs(parities["dev"].fp32_accuracy - (parities["dev"].int8_accuracy or 0)) <= 0.5
    assert not (tmp_path / "out" / "model.onnx").exists()


def test_golden_texts_can_be_others_than_those_compared(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, object] = {}
    report = Report({}, Invariance("int8", 400, 0.0, 0))
    monkeypatch.setattr(command, "build", lambda *_, **options: given.update(options) or report)
    (tmp_path / "dev.csv").write_text("text,label\nfine,good\n")
    (tmp_path / "public.csv").write_text("text\nlovely\n")
    files = ["--dev", str(tmp_path / "dev.csv"), "--golden", str(tmp_path / "public.csv")]
    command.main([str(checkpoint), "--out", str(tmp_path / "out"), *files])
    assert given["golden"] == ["lovely"]


def test_a_graph_that_cannot_be_narrowed_is_still_quantised(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "narrow", lambda _source, target: target.write_bytes(b"no graph"))
    report = command.build(str(checkpoint), tmp_path / "out", samples_of([]), version="1", keep_fp32=False)
    assert all(parity.disagreement <= 2 for parity in report.parity.values())
    assert report.invariance.passes
    assert not load_model(str(tmp_path / "out"), backend="onnx", device="cpu").backend.skips_padding


def test_a_model_that_depends_on_the_batch_in_int8_is_served_in_float32(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def dependent_in_int8(directory: Path, precision: str, texts: list[str]) -> Invariance:
        return Invariance("int8", 400, 0.2, 3) if precision == "int8" else invariance(directory, precision, texts)

    monkeypatch.setattr(command, "invariance", dependent_in_int8)
    out = tmp_path / "out"
    report = command.build(str(checkpoint), out, samples_of([]), version="1", keep_fp32=False)
    assert report.invariance.precision == "fp32"
    assert report.parity == {}  # there is no int8 file
    assert json.loads((out / "manifest.json").read_text())["metrics"]["parity"] == {}
    assert report.invariance.largest_difference <= 0.001
    assert "served in float32" in capsys.readouterr().err
    assert not (out / "model_int8.onnx").exists()
    assert load_model(str(out), backend="onnx", device="cpu").info.precision == "fp32"


def test_a_model_whose_float32_scores_depend_on_the_batch_is_not_written(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dependent = Invariance("fp32", 400, 0.2, 3)
    monkeypatch.setattr(command, "invariance", lambda *_: dependent)
    with pytest.raises(ParityError, match=r"up to 0\.2000, and 3 of 400 texts get another label"):
        command.build(str(checkpoint), tmp_path / "out", samples_of([]), version="1", keep_fp32=False)
    assert not (tmp_path / "out").exists()


def test_the_int8_graph_computes_nothing_for_padding(artifact: Path) -> None:
    assert load_model(str(artifact), backend="onnx", device="cpu", precision="int8").backend.skips_padding
    assert not load_model(str(artifact), backend="onnx", device="cpu", precision="fp32").backend.skips_padding


def test_texts_run_one_by_one_if_a_graph_takes_scales_from_the_batch(
    artifact: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((artifact / name).read_bytes())
    quantize_dynamic(artifact / "model.onnx", tmp_path / "model_quantized.onnx")
    model = load_model(str(tmp_path), backend="onnx", device="cpu")
    (record,) = [each for each in caplog.records if each.message == "texts run one by one"]
    assert "take their scale from the batch" in record.fields["why"]  # type: ignore[attr-defined]
    encodings = model.tokenizer.encode_many(SENTENCES[:40])
    alone = np.concatenate([model.backend.run(pad([encoding], 0)) for encoding in encodings])
    assert np.array_equal(model.backend.run(pad(encodings, 0)), alone)


def test_a_sample_has_labels_only_if_every_text_has_one() -> None:
    rows = [Example("Good.", "good", "a"), Example("Bad.", None, "a"), Example("Fine.", "good", "b")]
    samples = {sample.name: sample for sample in samples_of(rows)}
    assert samples["a"].labels is None
    assert samples["a"].texts == ["Good.", "Bad."]
    assert samples["b"].labels == ["good"]


def test_embeddings_are_quantised_by_row_and_column(artifact: Path) -> None:
    graph = onnx.load(artifact / "model_int8.onnx").graph
    tables = {weight.name: weight for weight in graph.initializer if weight.dims and weight.dims[0] > 2000}
    kinds = {name.rpartition("_")[2]: weight for name, weight in tables.items()}
    assert kinds.keys() == {"int8", "scale"}
    assert kinds["int8"].data_type == onnx.TensorProto.INT8
    rows, width = kinds["int8"].dims
    assert list(kinds["scale"].dims) == [rows, 1]
    columns = [weight for weight in graph.initializer if weight.name.endswith("_columns")]
    assert [list(weight.dims) for weight in columns] == [[1, width]] * len(columns) != []


def test_a_model_beyond_the_limits_is_not_written(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "model_int8.onnx").write_text("what was there")
    (out / "manifest.json").write_text("{}")
    with pytest.raises(SystemExit, match="nothing was written: behavioural_suite: int8 gives another label"):
        command.main([str(checkpoint), "--out", str(out), "--max-other-labels", "-1"])
    assert (out / "model_int8.onnx").read_text() == "what was there"
    assert "2 of 2 down-projections" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["", "there"])
def test_only_an_artifact_is_ever_replaced(
    checkpoint: Path, tmp_path: Path, out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "thesis.txt").write_text("years of work")
    with pytest.raises(SystemExit, match="is not an artifact"):
        command.main([str(checkpoint), "--out", out])
    assert (tmp_path / "there" / "thesis.txt").read_text() == "years of work"


def test_an_artifact_does_not_replace_its_source(artifact: Path) -> None:
    with pytest.raises(SystemExit, match="cannot replace"):
        command.main([str(artifact), "--out", str(artifact)])


def test_an_artifact_is_replaced_but_keeps_its_card(checkpoint: Path, tmp_path: Path) -> None:
    for version in ("1", "2"):
        command.build(str(checkpoint), tmp_path / "out", samples_of([]), version=version, keep_fp32=False)
        (tmp_path / "out" / "MODEL_CARD.md").write_text("by hand")
    assert open_artifact(str(tmp_path / "out")).version == "2"
    command.build(str(checkpoint), tmp_path / "out", samples_of([]), version="3", keep_fp32=False)
    assert (tmp_path / "out" / "MODEL_CARD.md").read_text() == "by hand"
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


def test_the_gate_notices_scores_that_depend_on_the_batch(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert invariance(artifact, "int8", SENTENCES[:60]).passes

    def run_with_neighbours(self: OnnxBackend, batch: Batch) -> FloatArray:
        logits = run(self, batch)
        return logits + 0.01 * len(batch) * np.arange(logits.shape[1], dtype=np.float32)

    run = OnnxBackend.run
    monkeypatch.setattr(OnnxBackend, "run", run_with_neighbours)
    assert not invariance(artifact, "int8", SENTENCES[:60]).passes


class TestParity:
    def sample(self, *labels: str) -> Sample:
        return Sample("dev", [""] * len(labels), labels)

    def logits(self, *best: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
        return np.eye(3, dtype=np.float32)[list(best)]

    def test_accuracy_is_over_the_classes_of_the_sample(self) -> None:
        fp32 = np.array([[1, 5, 0], [0, 5, 1]], dtype=np.float32)  # the middle class does not occur
        parity = compare(self.sample("a", "c"), ("a", "b", "c"), fp32, fp32)
        assert parity == Parity(2, 0.0, 100.0, 100.0)

    def test_a_loss_over_half_a_point_is_rejected(self) -> None:
        Parity(200, 0.0, 90.5, 90.0).check("dev", Limits())
        with pytest.raises(ParityError, match=r"dev: int8 loses 1\.00 points of accuracy, more than 0\.5"):
            Parity(200, 0.0, 91.0, 90.0).check("dev", Limits())
        Parity(200, 0.0, 91.0, 90.0).check("dev", Limits(lost_points=1))
        Parity(2000, 0.0, 73.25, 73.05).check("dev", Limits(lost_points=0.2))  # 0.2 plus a rounding error

    def test_other_labels_for_over_2_percent_are_rejected(self) -> None:
        texts = self.sample(*"aaa")
        parity = compare(texts, ("a", "b", "c"), self.logits(0, 0, 0), self.logits(0, 0, 1))
        assert parity.disagreement == 33.33
        with pytest.raises(ParityError, match=r"another label to 33\.33 %"):
            Parity(3, 33.33).check("dev", Limits())
        Parity(3, 33.33).check("dev", Limits(other_labels=40))

    def test_a_label_that_the_model_lacks_is_rejected(self) -> None:
        with pytest.raises(ValueError, match="no label mixed"):
            spell(self.sample("mixed"), ("a", "b", "c"))


def test_down_projections_are_found_in_the_order_of_the_layers(artifact: Path) -> None:
    names = down_projections(artifact / "model.onnx")
    assert ["lin2" in name for name in names] == [True, True]
    assert "layer.0" in names[0]
    assert "layer.1" in names[1]
