"""From a pretrained encoder to a classifier."""

import json
import shutil
import unicodedata
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer as FastTokenizer
from tokenizers.models import BPE
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
)

from app.inference.tokenizer import Tokenizer
from tests.support.tiny import ROWS, tiny_encoder
from training.checkpoints.convert import convert_encoder
from training.checkpoints.emoji import EMOJI
from training.data import LABELS
from training.errors import InputError


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def converted(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("converted")
    convert_encoder(encoder, out, ROWS, vocabulary=4000)
    return out


def test_a_smaller_vocabulary_needs_text(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--vocabulary needs --data"):
        convert_encoder(encoder, tmp_path / "out", [], vocabulary=4000)
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_without_word_pieces_is_rejected(encoder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((encoder / name).read_bytes())
    FastTokenizer(BPE()).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match="expected a WordPiece tokenizer, not BPE"):
        convert_encoder(tmp_path, tmp_path / "out", ROWS)


def test_the_hidden_states_equal_those_of_the_encoder(encoder: Path, converted: Path) -> None:
    bert = BertModel.from_pretrained(encoder, add_pooling_layer=False).eval()
    distilbert = AutoModelForSequenceClassification.from_pretrained(converted).distilbert.eval()
    theirs, ours = (Tokenizer.load(directory, 512) for directory in (encoder, converted))
    for row in ROWS[:3]:
        with torch.no_grad():
            expected = bert(torch.tensor([theirs.encode(row.text).ids])).last_hidden_state
            result = distilbert(torch.tensor([ours.encode(row.text).ids])).last_hidden_state
        assert torch.allclose(expected, result, atol=1e-5)


def test_a_smaller_vocabulary_can_still_spell_every_word(converted: Path) -> None:
    config = json.loads((converted / "config.json").read_text())
    assert len(EMOJI) < config["vocab_size"] < 4000 + len(EMOJI)
    assert config["id2label"] == {str(index): label for index, label in enumerate(LABELS)}
    tokenizer = Tokenizer.load(converted, 512)
    unknown = tokenizer.encode("\U00012000").ids[1]  # cuneiform
    assert max(tokenizer.encode("The film is lovely. Zyzzyva!").ids) < config["vocab_size"]
    assert unknown not in tokenizer.encode("Zyzzyva").ids
    assert len(tokenizer.encode("lovely")) == 3


def test_an_emoji_is_a_token_even_without_spaces(converted: Path) -> None:
    tokens = FastTokenizer.from_file(str(converted / "tokenizer.json")).encode("the\U0001f60d\U0001f60dfilm").tokens
    assert tokens == ["[CLS]", "the", "\U0001f60d", "\U0001f60d", "film", "[SEP]"]


def test_an_emoji_starts_as_the_mean_of_its_name(encoder: Path, converted: Path) -> None:
    before = BertModel.from_pretrained(encoder, add_pooling_layer=False).get_input_embeddings().weight
    after = AutoModelForSequenceClassification.from_pretrained(converted).get_input_embeddings().weight
    name = Tokenizer.load(encoder, 512).encode(unicodedata.name("\U0001f525").lower()).ids[1:-1]  # fire
    place = Tokenizer.load(converted, 512).encode("\U0001f525").ids[1]
    assert torch.allclose(after[place], before[name].mean(dim=0))


def test_transformers_produces_the_same_tokens(converted: Path) -> None:
    theirs = AutoTokenizer.from_pretrained(converted)
    assert theirs.pad_token == "[PAD]"
    assert theirs("The film \U0001f525")["input_ids"] == list(
        Tokenizer.load(converted, 512).encode("The film \U0001f525").ids
    )


def test_another_encoder_keeps_its_weights_and_gets_emoji(encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((encoder / "tokenizer.json").read_bytes())
    size = FastTokenizer.from_file(str(tmp_path / "tokenizer.json")).get_vocab_size()
    original = DistilBertModel(DistilBertConfig(vocab_size=size, dim=64, n_heads=4, n_layers=2, hidden_dim=128)).eval()
    original.save_pretrained(tmp_path)
    convert_encoder(tmp_path, tmp_path / "out", ROWS)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    assert model.config.vocab_size >= size
    ids = torch.tensor([Tokenizer.load(tmp_path / "out", 512).encode("The film is lovely.").ids])
    with torch.no_grad():
        assert torch.allclose(model.distilbert(ids).last_hidden_state, original(ids).last_hidden_state, atol=1e-6)


def test_a_vocabulary_that_is_too_small_is_rejected(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too few"):
        convert_encoder(encoder, tmp_path, ROWS, vocabulary=100)


def altered(encoder: Path, directory: Path, **settings: object) -> Path:
    shutil.copytree(encoder, directory)
    config = json.loads((directory / "config.json").read_text()) | settings
    (directory / "config.json").write_text(json.dumps(config))
    return directory


@pytest.mark.parametrize(
    ("weights", "settings", "complaint"),
    [
        ({"something.else": torch.zeros(1)}, {}, "embeddings.position_embeddings.weight is missing"),
        ({}, {"num_hidden_layers": 3}, "encoder.layer.2.attention.self.query.weight is missing"),
        ({}, {"hidden_size": 32}, "size mismatch"),
        ({}, {"num_attention_heads": 5}, "5 must divide"),
        ({}, {"hidden_act": "sine"}, "DistilBERT does not support hidden_act sine"),
        ({}, {"position_embedding_type": "relative_key"}, "not support position_embedding_type relative_key"),
    ],
)
def test_an_incompatible_encoder_is_rejected(
    encoder: Path, tmp_path: Path, weights: dict[str, torch.Tensor], settings: dict[str, object], complaint: str
) -> None:
    stranger = altered(encoder, tmp_path / "stranger", **settings)
    if weights:
        save_file(weights, stranger / "model.safetensors")
    with pytest.raises(InputError, match=complaint):
        convert_encoder(stranger, tmp_path / "out", ROWS, vocabulary=4000)
    assert not (tmp_path / "out").exists()


def test_a_missing_setting_is_reported(encoder: Path, tmp_path: Path) -> None:
    config = json.loads((encoder / "config.json").read_text())
    del config["intermediate_size"]
    stranger = altered(encoder, tmp_path / "stranger")
    (stranger / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="intermediate_size is missing"):
        convert_encoder(stranger, tmp_path / "out", ROWS)


def test_a_bert_with_a_head_and_old_names_is_supported(encoder: Path, converted: Path, tmp_path: Path) -> None:
    def old(name: str) -> str:
        return "bert." + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")

    weights = {old(name): weight for name, weight in load_file(encoder / "model.safetensors").items()}
    weights["cls.predictions.bias"] = torch.zeros(1)
    other = altered(encoder, tmp_path / "other")
    save_file(weights, other / "model.safetensors")
    convert_encoder(other, tmp_path / "out", ROWS, vocabulary=4000)
    result, expected = (load_file(each / "model.safetensors") for each in (tmp_path / "out", converted))
    assert all(result[name].equal(expected[name]) for name in expected)


def test_activation_and_dropout_come_from_the_encoder(encoder: Path, tmp_path: Path) -> None:
    settings = {"hidden_act": "relu", "hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.3}
    convert_encoder(altered(encoder, tmp_path / "other", **settings), tmp_path / "out", ROWS)
    config = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").config
    assert (config.activation, config.dropout, config.attention_dropout) == ("relu", 0.2, 0.3)


def test_the_head_depends_on_the_seed(encoder: Path, converted: Path, tmp_path: Path) -> None:
    for name, seed in (("again", 0), ("other", 1)):
        convert_encoder(encoder, tmp_path / name, ROWS, vocabulary=4000, seed=seed)
    one, again, other = (
        load_file(each / "model.safetensors") for each in (converted, tmp_path / "again", tmp_path / "other")
    )
    assert all(one[name].equal(again[name]) for name in one)
    assert not one["classifier.weight"].equal(other["classifier.weight"])
