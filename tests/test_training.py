"""Training on a handful of rows: small enough to run, real enough to learn."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForSequenceClassification, BertConfig, BertModel

from app.artifact import open_artifact
from app.tokenizer import Tokenizer
from tests.process import Server
from training.convert import convert
from training.data import Row, batches, epoch
from training.evaluate import evaluate, measure, server_scorer, torch_scorer
from training.examples import LABELS, Example, read
from training.train import Recipe, train

WORDS = {
    "positive": ("great", "lovely", "superb"),
    "negative": ("awful", "dreadful", "poor"),
    "neutral": ("here", "red", "new"),
}
THINGS = ("film", "food", "room", "phone")
ROWS = [
    Example(f"The {thing} is {word}.", label, "set")
    for label, words in WORDS.items()
    for word in words
    for thing in THINGS
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT in the form of the pretrained encoder."""
    directory = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(1)
    embedded = open_artifact("sentiment-en").directory
    vocabulary = len(json.loads((embedded / "tokenizer.json").read_text())["model"]["vocab"])
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=64,
        num_attention_heads=4,
        num_hidden_layers=2,
        intermediate_size=128,
    )
    model = BertModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        model.embeddings.token_type_embeddings.weight.normal_(std=0.1)
    save_file(model.state_dict(), directory / "model.safetensors")
    config.save_pretrained(directory)
    (directory / "tokenizer.json").write_bytes((embedded / "tokenizer.json").read_bytes())
    return directory


@pytest.fixture(scope="module")
def converted(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("converted")
    convert(encoder, out, ROWS, vocabulary=4000)
    return out


class TestConvert:
    def test_the_hidden_states_are_those_of_the_encoder(self, encoder: Path, converted: Path) -> None:
        bert = BertModel.from_pretrained(encoder, add_pooling_layer=False).eval()
        distilbert = AutoModelForSequenceClassification.from_pretrained(converted).distilbert.eval()
        theirs, ours = (Tokenizer.load(directory, 512) for directory in (encoder, converted))
        for row in ROWS[:3]:
            with torch.no_grad():
                expected = bert(torch.tensor([theirs.encode(row.text).ids])).last_hidden_state
                found = distilbert(torch.tensor([ours.encode(row.text).ids])).last_hidden_state
            assert torch.allclose(expected, found, atol=1e-5)

    def test_the_vocabulary_is_trimmed_and_still_spells_everything(self, converted: Path) -> None:
        config = json.loads((converted / "config.json").read_text())
        assert config["id2label"] == {str(index): label for index, label in enumerate(LABELS)}
        tokenizer = Tokenizer.load(converted, 512)
        unknown = tokenizer.encode("\U0001f600").ids[1]
        assert max(tokenizer.encode("The film is lovely. Zyzzyva!").ids) < config["vocab_size"]
        assert unknown not in tokenizer.encode("Zyzzyva").ids
        assert len(tokenizer.encode("lovely")) == 3

    def test_a_vocabulary_that_could_not_spell_is_refused(self, encoder: Path, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="too few"):
            convert(encoder, tmp_path, ROWS, vocabulary=100)

    def test_what_is_no_bert_is_refused(self, encoder: Path, tmp_path: Path) -> None:
        for name in ("config.json", "tokenizer.json"):
            (tmp_path / name).write_bytes((encoder / name).read_bytes())
        save_file({"something.else": torch.zeros(1)}, tmp_path / "model.safetensors")
        with pytest.raises(KeyError):
            convert(tmp_path, tmp_path / "out", ROWS, vocabulary=4000)


class TestData:
    def test_files_are_read_normalised_and_named(self, tmp_path: Path) -> None:
        (tmp_path / "a.tsv").write_text('label\ttext\npositive\tSo "good"<br />and  http://x.y @me\n')
        (tmp_path / "b.tsv").write_text("label\ttext\nneutral\tplain\n")
        assert read(tmp_path) == [
            Example('So "good" and http @user', "positive", "a"),
            Example("plain", "neutral", "b"),
        ]

    def test_another_header_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a.tsv").write_text("text\tlabel\na\tb\n")
        with pytest.raises(ValueError, match="expected the columns label and text"):
            read(tmp_path)

    def test_an_epoch_takes_each_set_as_often_as_its_weight_says(self) -> None:
        row = Row([1, 2], 0)
        sets = {name: [row] * 100 for name in ("any", "dynasent_r1_dev", "goemotions_train", "sst_cased_train_3class")}
        assert len(epoch(sets, 32, random.Random(0))) == 100 + 300 + 30 + 0

    def test_long_texts_become_windows(self) -> None:
        (row,) = epoch({"any": [Row(range(1000), 2)]}, 32, random.Random(0))
        assert len(row.ids) == 30
        assert list(row.ids) == list(range(row.ids[0], row.ids[0] + 30))
        assert row.label == 2

    def test_batches_hold_every_row_once_and_hardly_pad(self) -> None:
        rng = random.Random(0)
        rows = [Row(range(rng.randint(1, 60)), 0) for _ in range(3000)]
        found = list(batches(list(rows), 32, rng))
        assert sorted(len(row.ids) for group in found for row in group) == sorted(len(row.ids) for row in rows)
        padded = sum(max(len(row.ids) for row in group) * len(group) for group in found)
        assert padded < 1.05 * sum(len(row.ids) for row in rows)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_tiny_training_learns_and_writes_what_it_did(converted: Path, tmp_path: Path) -> None:
    recipe = Recipe(epochs=60, batch_size=12, learning_rate=1e-3, label_smoothing=0.0)
    losses = train(converted, tmp_path, ROWS, ROWS, recipe)
    assert sum(losses[-5:]) / 5 < 0.25 * losses[0]
    record = json.loads((tmp_path / "training.json").read_text())
    assert record["recipe"]["epochs"] == 60
    assert record["rows"] == {"set": 36}
    assert record["steps"] == len(losses) == 180
    assert record["dev"]["set"]["accuracy"] > 0.9
    assert evaluate(torch_scorer(tmp_path), ROWS) == record["dev"]
    assert open_artifact(str(tmp_path)).labels == LABELS


class TestMeasure:
    def test_a_set_without_neutral_is_measured_on_its_two_classes(self) -> None:
        scores = np.array([[0.3, 0.5, 0.2], [0.1, 0.6, 0.3], [0.2, 0.5, 0.3]])
        assert measure(scores, [0, 2, 0]) == {"accuracy": 0.6667, "macro_recall": 0.75, "macro_f1": 0.6667}

    def test_three_classes(self) -> None:
        scores = np.eye(3)[[0, 1, 2, 2]]
        assert measure(scores, [0, 1, 2, 1]) == {"accuracy": 0.75, "macro_recall": 0.8333, "macro_f1": 0.7778}


def test_a_running_server_is_measured_through_its_api(server: Server) -> None:
    texts = {"I love it.": "positive", "I hate it.": "negative", "It is on the table.": "neutral"}
    rows = [Example(text, label, "dev") for text, label in texts.items()]
    assert evaluate(server_scorer(server.address, texts_a_request=2), rows)["dev"]["accuracy"] == 1
