"""What the exporter checks before it quantises: the kind of model, its graph, its limit and its tokenizer."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import normalizers
from transformers import BertTokenizer

from app.inference.artifact import open_artifact
from app.inference.model import load_model
from onnx_export import __main__ as command
from onnx_export.export import prepare, save_half
from onnx_export.tokens import compare_tokens
from tests.support.checkpoints import BERT, WORDS, checkpoint, edit
from tests.support.families import WARNINGS
from training.errors import InputError

pytestmark = WARNINGS


def vocabulary(directory: Path, *added: str, **options: Any) -> Path:
    """A checkpoint that has vocab.txt instead of tokenizer.json."""
    pieces = [*BERT, *WORDS, "café", "cafe", "漢", "字", "Good", "##s"]
    size = len(pieces) + len(added)
    checkpoint(directory, "bert", pad_token_id=0, max_position_embeddings=40, vocab_size=size)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (directory / name).unlink()
    (directory / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    tokenizer = BertTokenizer(str(directory / "vocab.txt"), **options)
    tokenizer.add_tokens(list(added))
    tokenizer.save_pretrained(directory)
    return directory


def test_an_artifact_has_the_labels_as_they_are_written(tmp_path: Path) -> None:
    names = {"id2label": {0: "Refund", 1: "Late delivery"}, "keep_label_case": True}
    checkpoint(tmp_path / "model", "bert", pad_token_id=0, max_position_embeddings=40, **names)
    prepare(str(tmp_path / "model"), tmp_path / "work")
    for folder in (tmp_path / "work", tmp_path / "work" / "half"):
        assert open_artifact(str(folder)).labels == ("Refund", "Late delivery")


def test_an_artifact_states_how_many_tokens_it_reads(tmp_path: Path) -> None:
    checkpoint(tmp_path / "model", "data2vec-text", max_position_embeddings=40)
    prepare(str(tmp_path / "model"), tmp_path / "work")
    for folder in (tmp_path / "work", tmp_path / "work" / "half"):
        assert open_artifact(str(folder)).max_tokens == 38
    assert json.loads((tmp_path / "work" / "half" / "tokenizer_config.json").read_text())["model_max_length"] == 38


@pytest.mark.parametrize(
    ("model_type", "options", "reason"),
    [
        ("longformer", {"attention_window": [8, 8]}, "it needs the input global_attention_mask"),
        ("luke", {"entity_vocab_size": 10, "entity_emb_size": 8}, "Trying to export a luke model"),
        ("xmod", {"default_language": "en_XX"}, "Trying to export a xmod model"),
    ],
)
def test_a_model_that_cannot_be_exported_is_refused_in_a_sentence(
    tmp_path: Path, model_type: str, options: dict[str, Any], reason: str
) -> None:
    model = str(checkpoint(tmp_path / "mine", model_type, max_position_embeddings=40, **options))
    with pytest.raises(SystemExit) as error:
        command.main([model, "--out", str(tmp_path / "out")])
    message = str(error.value.code)
    assert message.startswith(
        f"nothing was written: {model}: a model of the type {model_type} cannot be exported to ONNX"
    )
    assert reason in message
    assert message.endswith(
        f"You can serve it with PyTorch: SENTIMENT_BACKEND=torch SENTIMENT_MODEL={model} make serve"
    )
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]
    assert load_model(model, backend="torch", device="cpu", slots=1).predict(["good film"])


@pytest.mark.parametrize("step", ["save_half", "export"])
@pytest.mark.parametrize(
    ("error", "message"), [(OSError(28, "No space left"), "[Errno 28] No space left"), (MemoryError(), "MemoryError")]
)
def test_a_full_disk_or_memory_is_no_fault_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: Exception, message: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    model = checkpoint(tmp_path / "mine", "bert", pad_token_id=0, max_position_embeddings=40)
    monkeypatch.setattr(f"onnx_export.export.{step}", fail)
    with pytest.raises(SystemExit) as raised:
        command.main([str(model), "--out", str(tmp_path / "out")])
    assert raised.value.code == f"nothing was written: {message}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architectures": ["BertForMaskedLM"]}, "not a classifier .* BertForMaskedLM"),
        ({"problem_type": "multi_label_classification"}, "not a classifier .* multi_label_classification"),
        ({"num_labels": 1}, "not a classifier .* fewer than two labels"),
        ({"id2label": {"0": "a", "7": "b"}}, "id2label must map 0, 1, 2"),
    ],
)
def test_errors_name_the_folder_of_the_user(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    model = checkpoint(tmp_path / "mine", "bert", pad_token_id=0, max_position_embeddings=40)
    edit(model / "config.json", **change)
    with pytest.raises(SystemExit, match=f"nothing was written: {model}.*{message}"):
        command.main([str(model), "--out", str(tmp_path / "out")])


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_the_error_for_a_broken_file_names_the_folder_of_the_user(tmp_path: Path, name: str) -> None:
    model = checkpoint(tmp_path / "mine", "bert", pad_token_id=0, max_position_embeddings=40)
    (model / name).write_text("broken")
    with pytest.raises(SystemExit, match=f"nothing was written: {model}: transformers cannot load it: "):
        command.main([str(model), "--out", str(tmp_path / "out")])


def test_an_error_in_the_temporary_folder_names_that_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = checkpoint(tmp_path / "mine", "bert", pad_token_id=0, max_position_embeddings=40)

    def fail(folder: Path, *_: object) -> None:
        raise InputError(f"{folder / 'half'}: of no use")

    monkeypatch.setattr(command, "quantize_within_limits", fail)
    with pytest.raises(InputError, match=f"^{model}: of no use$"):
        command.build(str(model), tmp_path / "out", [], version="1", keep_fp32=False)


class TestTokenizers:
    @pytest.mark.parametrize(
        ("added", "options"),
        [
            ([], {"strip_accents": False}),
            ([], {"do_lower_case": False}),
            ([], {"tokenize_chinese_chars": False}),
            (["<ent>", "newtok"], {}),
        ],
    )
    def test_vocab_txt_becomes_a_tokenizer_with_the_same_ids(
        self, tmp_path: Path, added: list[str], options: dict[str, Any]
    ) -> None:
        model = vocabulary(tmp_path / "mine", *added, **options)
        prepare(str(model), tmp_path / "work")
        served = load_model(str(model), backend="torch", device="cpu", slots=1)
        exported = load_model(str(tmp_path / "work"), backend="onnx", device="cpu", slots=1)
        for text in ("Good café 漢字", "a <ent> good newtok", "GOODS CAFÉ " * 30):
            assert served.tokenizer.encode(text) == exported.tokenizer.encode(text)

    @pytest.mark.parametrize(
        ("normalizer", "kind"),
        [
            (normalizers.BertNormalizer(lowercase=False), "upper and lower case"),
            (normalizers.BertNormalizer(lowercase=True, strip_accents=False), "accents"),
            (normalizers.BertNormalizer(lowercase=True, handle_chinese_chars=False), "Chinese, Japanese and Korean"),
            (normalizers.Sequence([normalizers.BertNormalizer(), normalizers.Replace("\u2764", "good")]), "emoji"),
            (normalizers.Sequence([normalizers.BertNormalizer(), normalizers.Replace("!", ".")]), "punctuation"),
            (normalizers.Sequence([normalizers.BertNormalizer(), normalizers.Replace("字", "漢")]), "words of its voc"),
        ],
    )
    def test_the_error_names_the_kind_of_text_that_differs(
        self, tmp_path: Path, normalizer: normalizers.Normalizer, kind: str
    ) -> None:
        """Each of these texts has a piece of its own, so that the difference shows."""
        pieces = ["absolutely", "café", "cafe", "很", "很好吃", "\u2764", "!", ".", "so"]
        model = vocabulary(tmp_path / "mine")
        with (model / "vocab.txt").open("a", encoding="utf-8") as file:
            file.write("\n" + "\n".join(pieces))
        save_half(str(model), tmp_path / "half")
        (tmp_path / "half" / "tokenizer_config.json").write_text("{}")
        compare_tokens(str(model), tmp_path / "half", 40)
        other = FastTokenizer.from_file(str(tmp_path / "half" / "tokenizer.json"))
        other.normalizer = normalizer
        other.save(str(tmp_path / "half" / "tokenizer.json"))
        with pytest.raises(InputError, match=f"differs from that of transformers for {kind}"):
            compare_tokens(str(model), tmp_path / "half", 40)

    def test_the_error_names_added_tokens_and_long_texts(self, tmp_path: Path) -> None:
        model = vocabulary(tmp_path / "mine", "<ent>")
        save_half(str(model), tmp_path / "half")
        edit(model / "tokenizer_config.json", truncation_side="left")
        with pytest.raises(InputError, match="for a text that is too long: "):
            compare_tokens(str(model), tmp_path / "half", 40)
        edit(tmp_path / "half" / "tokenizer.json", added_tokens=[])
        with pytest.raises(InputError, match="for added tokens: "):
            compare_tokens(str(model), tmp_path / "half", 40)

    def test_a_tokenizer_without_a_fast_form_is_refused(self, tmp_path: Path) -> None:
        model = vocabulary(tmp_path / "mine")
        edit(model / "tokenizer_config.json", tokenizer_class="EsmTokenizer", unk_token="[UNK]", cls_token="[CLS]")
        with pytest.raises(SystemExit, match=f"nothing was written: {model}: "):
            command.main([str(model), "--out", str(tmp_path / "out")])
        assert not (tmp_path / "out").exists()
