"""Heads after some layers, which learn together with the model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from app.inference.artifact import open_artifact
from app.inference.tokenizer import Tokenizer
from training.checkpoints.device import Device
from training.errors import InputError
from training.fit.early import EarlyHeads
from training.fit.learner import Learner
from training.fit.mixture import Row
from training.fit.recipe import Recipe, read_recipe


@pytest.fixture
def model() -> DistilBertForSequenceClassification:
    torch.manual_seed(0)
    config = DistilBertConfig(vocab_size=30_000, dim=16, n_heads=2, n_layers=3, hidden_dim=32, num_labels=3)
    config._attn_implementation = "eager"
    return DistilBertForSequenceClassification(config)


def learn(model: DistilBertForSequenceClassification, recipe: Recipe, steps: int) -> Learner:
    """Train for some steps on three texts, each with a label of its own."""
    tokenizer = Tokenizer.load(open_artifact("sentiment-en").directory, max_tokens=512)
    learner = Learner(model, tokenizer, recipe, steps=steps, device=Device())
    for _ in range(steps):
        learner.learn(ROWS)
    return learner


ROWS = [
    Row(np.full(5, 100 + label, np.int32), np.eye(3, dtype=np.float32)[label], np.ones(3, np.bool_))
    for label in range(3)
]


def answers(learner: Learner) -> list[list[int]]:
    """Return the labels that each head gives the three texts."""
    inputs, _, _ = learner._tensors(ROWS)
    learner.model.eval()
    with torch.no_grad():
        states = learner.model(**inputs, output_hidden_states=True).hidden_states
        logits = learner._early(states, inputs["attention_mask"], step=0)
    return [each.argmax(dim=1).tolist() for each in logits]


def test_each_head_learns_the_answers(model: DistilBertForSequenceClassification) -> None:
    recipe = Recipe(learning_rate=1e-3, warmup=0.0, dropout=0.0, early_layers=(1, 2))
    assert answers(learn(model, recipe, steps=100)) == [[0, 1, 2], [0, 1, 2]]


def test_layers_above_a_head_do_not_learn_from_it(model: DistilBertForSequenceClassification) -> None:
    recipe = Recipe(early_layers=(1,))
    heads = EarlyHeads(model, recipe.early_layers, steps=1)
    states = [torch.randn(2, 4, 16, requires_grad=True) for _ in range(4)]
    (logits,) = heads(states, torch.ones(2, 4), step=0)
    logits.sum().backward()
    assert [each.grad is not None for each in states] == [False, True, False, False]


def test_heads_learn_alone_at_first(model: DistilBertForSequenceClassification) -> None:
    heads = EarlyHeads(model, (1,), steps=100)
    states = [torch.randn(2, 4, 16, requires_grad=True) for _ in range(4)]
    (early,) = heads(states, torch.ones(2, 4), step=4)
    (late,) = heads(states, torch.ones(2, 4), step=5)
    assert torch.equal(early, late)
    early.sum().backward()
    assert states[1].grad is None
    late.sum().backward()
    assert states[1].grad is not None


def test_padding_does_not_count(model: DistilBertForSequenceClassification) -> None:
    heads = EarlyHeads(model, (2,), steps=1).eval()
    states = [torch.randn(1, 4, 16) for _ in range(4)]
    (alone,) = heads([each[:, :3] for each in states], torch.ones(1, 3), step=0)
    (padded,) = heads(states, torch.tensor([[1, 1, 1, 0]]), step=0)
    torch.testing.assert_close(alone, padded)


@pytest.mark.parametrize("layer", [0, 3])
def test_a_layer_that_the_model_does_not_have_is_refused(
    layer: int, model: DistilBertForSequenceClassification
) -> None:
    with pytest.raises(InputError, match="between 1 and 2"):
        learn(model, Recipe(early_layers=(layer,)), steps=1)


def test_a_resumed_training_goes_on_with_its_heads(model: DistilBertForSequenceClassification) -> None:
    recipe = Recipe(early_layers=(1, 2))
    first = learn(model, recipe, steps=3)
    second = learn(model, recipe, steps=0)
    second.load(first.state())
    for old, new in zip(first._early.parameters(), second._early.parameters(), strict=True):
        assert torch.equal(old, new)


def test_the_reported_rate_is_that_of_the_model(model: DistilBertForSequenceClassification) -> None:
    rates = [learn(model, Recipe(early_layers=layers), steps=1).learning_rate for layers in ((), (1,))]
    assert rates[0] == rates[1] < 1e-3


def test_without_early_layers_nothing_is_added(model: DistilBertForSequenceClassification) -> None:
    assert "early" not in learn(model, Recipe(), steps=1).state()


def test_a_recipe_names_the_layers(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text("early_layers = [2, 3]\nearly_weight = 0.5\n")
    assert read_recipe(file) == Recipe(early_layers=(2, 3), early_weight=0.5)
