"""From a pretrained encoder to a classifier."""

import json
import unicodedata
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer as FastTokenizer
from tokenizers.models import BPE
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
)

from app.tokenizer import Tokenizer
from tests.tiny import ROWS, tiny_encoder
from training.convert import convert
from training.emoji import EMOJI
from training.examples import LABELS


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def converted(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("converted")
    convert(encoder, out, ROWS, vocabulary=4000)
    return out


def test_word_pieces_are_chosen_by_text(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="decided by text: --data"):
        convert(encoder, tmp_path / "out", [], vocabulary=4000)
    assert not (tmp_path / "out").exists()


def test_other_tokens_than_word_pieces_are_refused(encoder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((encoder / name).read_bytes())
    FastTokenizer(BPE()).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match="expected a tokenizer of word pieces, not BPE"):
        convert(tmp_path, tmp_path / "out", ROWS)


def test_the_hidden_states_are_those_of_the_encoder(encoder: Path, converted: Path) -> None:
    bert = BertModel.from_pretrained(encoder, add_pooling_layer=False).eval()
    distilbert = AutoModelForSequenceClassification.from_pretrained(converted).distilbert.eval()
    theirs, ours = (Tokenizer.load(directory, 512) for directory in (encoder, converted))
    for row in ROWS[:3]:
        with torch.no_grad():
            expected = bert(torch.tensor([theirs.encode(row.text).ids])).last_hidden_state
            found = distilbert(torch.tensor([ours.encode(row.text).ids])).last_hidden_state
        assert torch.allclose(expected, found, atol=1e-5)


def test_the_vocabulary_is_trimmed_and_still_spells_everything(converted: Path) -> None:
    config = json.loads((converted / "config.json").read_text())
    assert len(EMOJI) < config["vocab_size"] < 4000 + len(EMOJI)
    assert config["id2label"] == {str(index): label for index, label in enumerate(LABELS)}
    tokenizer = Tokenizer.load(converted, 512)
    unknown = tokenizer.encode("\U00012000").ids[1]  # cuneiform
    assert max(tokenizer.encode("The film is lovely. Zyzzyva!").ids) < config["vocab_size"]
    assert unknown not in tokenizer.encode("Zyzzyva").ids
    assert len(tokenizer.encode("lovely")) == 3


def test_an_emoji_is_a_word_of_its_own_even_where_no_space_is(converted: Path) -> None:
    tokens = FastTokenizer.from_file(str(converted / "tokenizer.json")).encode("the\U0001f60d\U0001f60dfilm").tokens
    assert tokens == ["[CLS]", "the", "\U0001f60d", "\U0001f60d", "film", "[SEP]"]


def test_an_emoji_begins_as_the_average_of_the_words_of_its_name(encoder: Path, converted: Path) -> None:
    before = BertModel.from_pretrained(encoder, add_pooling_layer=False).get_input_embeddings().weight
    after = AutoModelForSequenceClassification.from_pretrained(converted).get_input_embeddings().weight
    name = Tokenizer.load(encoder, 512).encode(unicodedata.name("\U0001f525").lower()).ids[1:-1]  # fire
    place = Tokenizer.load(converted, 512).encode("\U0001f525").ids[1]
    assert torch.allclose(after[place], before[name].mean(dim=0))


def test_transformers_reads_the_same_tokens_from_it(converted: Path) -> None:
    theirs = AutoTokenizer.from_pretrained(converted)
    assert theirs.pad_token == "[PAD]"
    assert (
        theirs("The film \U0001f525")["input_ids"] == Tokenizer.load(converted, 512).encode("The film \U0001f525").ids
    )


def test_an_encoder_that_is_no_bert_stays_as_it_is_and_learns_the_emoji(encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((encoder / "tokenizer.json").read_bytes())
    size = FastTokenizer.from_file(str(tmp_path / "tokenizer.json")).get_vocab_size()
    original = DistilBertModel(DistilBertConfig(vocab_size=size, dim=64, n_heads=4, n_layers=2, hidden_dim=128)).eval()
    original.save_pretrained(tmp_path)
    convert(tmp_path, tmp_path / "out", ROWS)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    assert model.config.vocab_size >= size
    ids = torch.tensor([Tokenizer.load(tmp_path / "out", 512).encode("The film is lovely.").ids])
    with torch.no_grad():
        assert torch.allclose(model.distilbert(ids).last_hidden_state, original(ids).last_hidden_state, atol=1e-6)


def test_a_vocabulary_that_could_not_spell_is_refused(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too few"):
        convert(encoder, tmp_path, ROWS, vocabulary=100)


def test_weights_that_are_no_berts_are_refused(encoder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((encoder / name).read_bytes())
    save_file({"something.else": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(KeyError):
        convert(tmp_path, tmp_path / "out", ROWS, vocabulary=4000)
