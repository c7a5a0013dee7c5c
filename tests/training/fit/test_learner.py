"""One training step: loss, learning rate and parameter groups."""

import math
import re

import numpy as np
import pytest
import torch
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from app.inference.artifact import open_artifact
from app.inference.tokenizer import Tokenizer
from training.checkpoints.device import Device
from training.fit.learner import Learner, cross_entropy, linear_schedule, parameter_groups
from training.fit.mixture import Row
from training.fit.recipe import Recipe


def model(attention: str = "eager") -> DistilBertForSequenceClassification:
    torch.manual_seed(0)
    config = DistilBertConfig(vocab_size=30_000, dim=16, n_heads=2, n_layers=3, hidden_dim=32, num_labels=3)
    config._attn_implementation = attention
    return DistilBertForSequenceClassification(config)


class TestLoss:
    LOGITS = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.0, 3.0]])

    def test_it_is_the_mean_cross_entropy(self) -> None:
        targets = torch.tensor([[1.0, 0.0, 0.0], [0.2, 0.3, 0.5]])
        expected = torch.nn.functional.cross_entropy(self.LOGITS, targets)
        assert cross_entropy(self.LOGITS, targets, torch.ones(2, 3, dtype=torch.bool)).item() == pytest.approx(
            expected.item()
        )

    def test_labels_that_are_not_open_have_no_loss_and_no_gradient(self) -> None:
        logits = self.LOGITS.clone().requires_grad_()
        is_open = torch.tensor([[True, False, True], [True, True, True]])
        loss = cross_entropy(logits, torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), is_open)
        loss.backward()
        first, second = math.log(1 + math.exp(-2)), math.log(1 + 2 * math.exp(-3))
        assert loss.item() == pytest.approx((first + second) / 2)
        assert logits.grad is not None
        assert logits.grad[0, 1] == 0
        assert logits.grad[1, 1] > 0


class TestSchedule:
    def test_it_rises_and_falls_linearly(self) -> None:
        rates = [linear_schedule(step, 100, 0.1) for step in range(101)]
        assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
        assert rates[10:] == pytest.approx([(100 - step) / 90 for step in range(10, 101)])

    @pytest.mark.parametrize(("steps", "warmup"), [(1, 0.06), (3, 0.0), (10, 1.0)])
    def test_it_stays_between_0_and_1_for_few_steps(self, steps: int, warmup: float) -> None:
        rates = [linear_schedule(step, steps, warmup) for step in range(steps)]
        assert all(0 < rate <= 1 for rate in rates)
        assert max(rates) == 1


class TestParameters:
    def test_every_parameter_is_in_one_group(self) -> None:
        network = model()
        grouped = [id(parameter) for group in parameter_groups(network, Recipe()) for parameter in group["params"]]
        assert sorted(grouped) == sorted(id(parameter) for parameter in network.parameters())

    def test_lower_layers_learn_slower_and_only_matrices_decay(self) -> None:
        network = model()
        recipe = Recipe(learning_rate=1.0, layer_decay=0.5, weight_decay=0.1)
        by_id = {
            id(parameter): (group["lr"], group["weight_decay"])
            for group in parameter_groups(network, recipe)
            for parameter in group["params"]
        }
        settings = {name: by_id[id(parameter)] for name, parameter in network.named_parameters()}
        assert settings["classifier.weight"] == settings["pre_classifier.weight"] == (1.0, 0.1)
        assert settings["classifier.bias"] == (1.0, 0.0)
        assert settings["distilbert.transformer.layer.2.ffn.lin1.weight"] == (0.5, 0.1)
        assert settings["distilbert.transformer.layer.0.sa_layer_norm.weight"] == (0.125, 0.0)
        assert settings["distilbert.embeddings.word_embeddings.weight"] == (0.0625, 0.1)


class TestHead:
    """The head can learn alone at first, and faster; the embeddings of words can stay as they are."""

    @staticmethod
    def changes(recipe: Recipe, steps: int) -> list[set[str]]:
        """Return which parts change in each step."""
        network = model()
        tokenizer = Tokenizer.load(open_artifact("sentiment-en").directory, max_tokens=512)
        learner = Learner(network, tokenizer, recipe, steps=steps, device=Device())
        row = Row(np.arange(100, 120, dtype=np.int32), np.array([1, 0, 0], np.float32), np.ones(3, np.bool_))
        found = []
        for _ in range(steps):
            before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
            learner.learn([row])
            changed = [name for name, old in before.items() if not torch.equal(old, network.get_parameter(name))]
            found.append({re.sub(r"^distilbert\.", "", name).split(".")[0] for name in changed})
        return found

    def test_it_learns_alone_for_a_share_of_the_steps(self) -> None:
        head, everything = (
            {"pre_classifier", "classifier"},
            {"pre_classifier", "classifier", "transformer", "embeddings"},
        )
        assert self.changes(Recipe(head_first=0.5), steps=4) == [head, head, everything, everything]
        assert self.changes(Recipe(), steps=1) == [everything]

    def test_embeddings_can_stay_as_they_are(self) -> None:
        (changed,) = self.changes(Recipe(train_embeddings=False), steps=1)
        assert changed == {"pre_classifier", "classifier", "transformer"}

    def test_its_learning_rate_is_relative_to_that_of_the_highest_layer(self) -> None:
        groups = parameter_groups(model(), Recipe(learning_rate=1.0, layer_decay=0.5, head_rate=10))
        rates = {group["depth"]: group["lr"] for group in groups}
        assert rates == {4: 10.0, 3: 0.5, 2: 0.25, 1: 0.125, 0: 0.0625}


class TestDropout:
    @pytest.mark.parametrize("attention", ["eager", "sdpa"])
    def test_without_dropout_training_is_deterministic(self, attention: str) -> None:
        network = model(attention)
        tokenizer = Tokenizer.load(open_artifact("sentiment-en").directory, max_tokens=512)
        ids = torch.arange(100, 120).reshape(1, -1)
        for share, is_the_same in ((0.0, True), (0.5, False)):
            learner = Learner(network, tokenizer, Recipe(dropout=share), steps=1, device=Device())
            first, second = (learner.model(ids).logits for _ in range(2))
            assert torch.equal(first, second) == is_the_same


class TestStep:
    @pytest.fixture
    def learner(self) -> Learner:
        tokenizer = Tokenizer.load(open_artifact("sentiment-en").directory, max_tokens=512)
        return Learner(model(), tokenizer, Recipe(learning_rate=1e-2, warmup=0.0), steps=50, device=Device())

    def test_the_gradient_is_clipped(self, learner: Learner) -> None:
        with torch.no_grad():
            learner.model.classifier.weight.mul_(1000)
        norms = []

        def watch(optimizer: torch.optim.Optimizer, *_: object) -> None:
            gradients = [each.grad.norm() for group in optimizer.param_groups for each in group["params"]]
            norms.append(torch.stack(gradients).norm().item())

        learner._optimizer.register_step_pre_hook(watch)
        text, targets = np.arange(100, 120, dtype=np.int32), np.eye(3, dtype=np.float32)
        learner.learn([Row(text, target, np.ones(3, np.bool_)) for target in targets])
        assert norms == [pytest.approx(1.0, rel=0.01)]

    def test_the_loss_falls(self, learner: Learner) -> None:
        rows = [
            Row(np.full(5, 100 + label, np.int32), np.eye(3, dtype=np.float32)[label], np.ones(3, np.bool_))
            for label in range(3)
        ]
        losses = [learner.learn(rows) for _ in range(40)]
        assert losses[-1] < 0.5 * losses[0]
        assert learner.step == 40
        assert learner.learning_rate == pytest.approx(1e-2 * linear_schedule(40, 50, 0.0))


def test_class_weights_count_a_rare_label_more() -> None:
    logits, is_open = torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.ones(2, 2, dtype=torch.bool)
    targets = torch.eye(2, dtype=torch.float64)
    easy, hard = (cross_entropy(logits[:1], targets[[index]], is_open[:1]).item() for index in (0, 1))
    assert cross_entropy(logits, targets, is_open).item() == pytest.approx((easy + hard) / 2)
    weighted = cross_entropy(logits, targets, is_open, torch.tensor([1.0, 3.0])).item()
    assert weighted == pytest.approx((easy + 3 * hard) / 4)
