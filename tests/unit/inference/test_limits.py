"""How many tokens a model reads: from its files or, where they do not tell, from its first runs."""

from pathlib import Path
from typing import Any

import pytest

from app.errors import BackendError
from app.inference.artifact import open_artifact
from app.inference.backends.torch import TorchBackend
from app.inference.model import load_model
from app.inference.padding import pad
from app.inference.runner import Runner
from app.types import Batch, Encoding, FloatArray
from tests.support.checkpoints import FAIRSEQ, checkpoint, edit, save_tokenizer
from tests.support.graphs import graph

LONG = "good film " * 300

# (model type, options, positions, tokens that it reads)
MODELS: list[tuple[str, dict[str, Any], int, int]] = [
    ("bert", {"pad_token_id": 0}, 40, 40),
    ("distilbert", {"pad_token_id": 0, "dim": 16, "n_heads": 2, "n_layers": 1, "hidden_dim": 16}, 40, 40),
    ("bert", {"pad_token_id": 1}, 40, 40),
    ("roberta", {}, 66, 64),
    ("roberta", {}, 40, 38),
    ("roberta", {"pad_token_id": 0}, 40, 39),
    ("data2vec-text", {}, 66, 64),
    ("data2vec-text", {}, 40, 38),
    ("roberta-prelayernorm", {}, 40, 38),
    ("xmod", {"default_language": "en_XX"}, 40, 38),
    ("ibert", {}, 40, 38),
    ("xlm-roberta-xl", {}, 40, 38),
    ("camembert", {}, 40, 38),
    ("esm", {"pad_token_id": 1, "mask_token_id": 4, "position_embedding_type": "absolute"}, 40, 38),
    ("luke", {"entity_vocab_size": 10, "entity_emb_size": 8}, 40, 38),
    ("mpnet", {}, 40, 38),
    ("longformer", {"attention_window": [8, 8]}, 40, 38),
    ("deberta-v2", {"pad_token_id": 0}, 40, 40),
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(("model_type", "options", "positions", "tokens"), MODELS)
def test_the_longest_text_that_is_allowed_is_the_longest_that_is_read(
    tmp_path: Path, model_type: str, options: dict[str, Any], positions: int, tokens: int
) -> None:
    checkpoint(tmp_path, model_type, max_position_embeddings=positions, num_labels=3, **options)
    model = load_model(str(tmp_path), backend="torch", device="cpu", slots=1)
    assert model.info.max_tokens == model.artifact.max_tokens == model.tokenizer.max_tokens == tokens
    assert [result.truncated for result in model.predict(["good film", LONG])] == [False, True]
    assert not model.predict([LONG], long_text="window")[0].truncated


def test_torch_refuses_a_longer_text_before_it_reaches_a_gpu(tmp_path: Path) -> None:
    """On a GPU, an index out of a table's range is an error after which nothing runs."""
    backend = TorchBackend(open_artifact(str(checkpoint(tmp_path, "roberta", max_position_embeddings=40))))
    assert backend.run(pad([Encoding([5] * 38, truncated=False)], 1)).shape == (1, 2)
    with pytest.raises(BackendError, match="positions for 38 tokens"):
        backend.run(pad([Encoding([5] * 39, truncated=False)], 1))


@pytest.mark.parametrize(
    ("model_type", "options"),
    [
        ("gpt2", {"n_positions": 40, "pad_token_id": 1}),
        ("opt", {"max_position_embeddings": 40, "ffn_dim": 32, "word_embed_proj_dim": 16}),
        (
            "bart",
            {"max_position_embeddings": 40, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1}
            | {
                "encoder_attention_heads": 2,
                "decoder_attention_heads": 2,
                "encoder_ffn_dim": 32,
                "decoder_ffn_dim": 32,
            },
        ),
    ],
)
def test_torch_knows_the_tables_of_decoders(tmp_path: Path, model_type: str, options: dict[str, Any]) -> None:
    backend = TorchBackend(open_artifact(str(checkpoint(tmp_path, model_type, **options))))
    assert backend.run(pad([Encoding([5] * 39 + [2], truncated=False)], 1)).shape[0] == 1
    with pytest.raises(BackendError, match="positions for 40 tokens"):
        backend.run(pad([Encoding([5] * 40 + [2], truncated=False)], 1))


def graph_directory(directory: Path, config: dict[str, Any], **options: Any) -> str:
    save_tokenizer(directory, FAIRSEQ)
    (directory / "config.json").write_text("{}")
    edit(directory / "config.json", **config)
    graph(directory / "model.onnx", **options)
    return str(directory)


@pytest.mark.parametrize(
    ("config", "options", "tokens"),
    [
        ({"max_position_embeddings": 40, "pad_token_id": 1}, {"positions": 40}, 40),
        ({"max_position_embeddings": 40, "pad_token_id": 1}, {"positions": 40, "first_position": 2}, 38),
        ({"max_position_embeddings": 514, "pad_token_id": 1}, {"positions": 514, "first_position": 2}, 512),
        ({"max_position_embeddings": 1024, "pad_token_id": 1}, {"positions": 100}, 100),  # the config is wrong
        ({}, {"positions": 100}, 100),
        ({}, {"positions": 5}, 5),
        ({"max_position_embeddings": 40}, {"positions": 100}, 40),
    ],
)
def test_the_limit_of_a_graph_is_found_by_running_it(
    tmp_path: Path, config: dict[str, Any], options: dict[str, Any], tokens: int
) -> None:
    model = load_model(graph_directory(tmp_path, config, **options), backend="onnx", device="cpu", slots=1)
    assert model.info.max_tokens == model.tokenizer.max_tokens == tokens
    assert [result.truncated for result in model.predict(["good", LONG])] == [False, True]


def test_a_limit_that_the_files_overstate_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = graph_directory(tmp_path, {"max_position_embeddings": 60}, positions=50)
    load_model(model, backend="onnx", device="cpu", slots=1)
    (record,) = [each for each in caplog.records if each.levelname == "WARNING"]
    assert record.message == "token limit lowered"
    fields = record.fields  # type: ignore[attr-defined]
    assert (fields["stated"], fields["reads"]) == (60, 50)
    assert fields["why"].startswith("the model failed on a longer text (")


class Reads:
    """A backend that reads `limit` tokens."""

    name, device, precision, slots, skips_padding = "reads", "cpu", "fp32", 1, False

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.lengths: list[int] = []

    def run(self, batch: Batch) -> FloatArray:
        self.lengths.append(batch.input_ids.shape[1])
        if self.lengths[-1] > self.limit:
            raise IndexError
        return (batch.input_ids[:, :2] * 0).astype("float32")


@pytest.mark.parametrize("limit", [4, 5, 100, 509, 510, 511, 512, 9999])
def test_any_limit_is_found(limit: int) -> None:
    backend = Reads(limit)
    runner = Runner(backend, ("a", "b"), pad_id=1)
    found = 510 if limit == 511 else min(limit, 512)
    assert runner.find_limit(512, [2, 7, 8, 3]) == (found, "IndexError" if limit < 512 else "")
    assert len(backend.lengths) <= 12


def test_only_one_long_text_runs_if_the_limit_is_right() -> None:
    backend = Reads(512)
    Runner(backend, ("a", "b"), pad_id=1).find_limit(512, [2, 7, 8, 3])
    assert backend.lengths == [4, 512]


@pytest.mark.parametrize("stated", [2048, 8192, 131_072])
def test_the_search_runs_no_text_that_takes_gigabytes(stated: int) -> None:
    backend = Reads(10**6)
    assert Runner(backend, ("a", "b"), pad_id=1).find_limit(stated, [2, 7, 8, 3]) == (stated, "")
    assert max(backend.lengths) == 2048


def test_a_lack_of_memory_can_be_told_from_a_text_that_is_too_long() -> None:
    class Small(Reads):
        def run(self, batch: Batch) -> FloatArray:
            if batch.input_ids.shape[1] > 300:
                raise MemoryError
            return super().run(batch)

    assert Runner(Small(512), ("a", "b"), pad_id=1).find_limit(512, [2, 7, 8, 3]) == (300, "MemoryError")


def test_a_model_that_reads_nothing_is_an_error() -> None:
    with pytest.raises(BackendError, match="first run"):
        Runner(Reads(0), ("a", "b"), pad_id=1).find_limit(512)


def test_texts_of_the_warm_up_begin_and_end_like_others() -> None:
    batches: list[list[int]] = []

    class Keeps(Reads):
        def run(self, batch: Batch) -> FloatArray:
            batches.extend(batch.input_ids.tolist())
            return super().run(batch)

    Runner(Keeps(512), ("a", "b"), pad_id=1).warm_up(max_tokens=512, max_batch_size=2, text=[2, 7, 8, 3])
    assert {(row[0], row[-1]) for row in batches} == {(2, 3)}
    assert 1 not in {token for row in batches for token in row}
