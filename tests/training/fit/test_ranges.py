import pytest
import torch
from torch import nn

from training.fit.ranges import Ranges


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.transformer = nn.ModuleDict({"layer": nn.ModuleList([nn.ModuleDict({"linear": nn.Linear(2, 2)})])})
        self.classifier = nn.Linear(2, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.classifier(100 * self.transformer["layer"][0]["linear"](inputs))


def linear_of(model: Model) -> nn.Module:
    return model.get_submodule("transformer.layer.0.linear")


TEXTS = torch.tensor([[3.0, -5.0], [1.0, 2.0]])


def test_the_penalty_is_the_mean_squared_excess_of_the_inputs() -> None:
    model = Model()
    with Ranges(model, bound=2.0) as ranges:
        model(TEXTS)
        # (3 - 2)² + (5 - 2)² over two texts. The input of the classifier does not count.
        assert torch.as_tensor(ranges.penalty()).item() == pytest.approx(0.01 * (1 + 9) / 2)
        assert ranges.penalty() == 0.0
        with torch.no_grad():
            model(TEXTS)
        assert ranges.penalty() == 0.0


def test_the_penalty_only_affects_values_beyond_the_bound() -> None:
    model = Model()
    inputs = TEXTS.clone().requires_grad_()
    with Ranges(model, bound=2.0) as ranges:
        model(inputs)
        torch.as_tensor(ranges.penalty()).backward()
    assert inputs.grad is not None
    assert inputs.grad.sign().tolist() == [[1.0, -1.0], [0.0, 0.0]]


@pytest.mark.parametrize("bound", [0.0, 2.0])
def test_no_hooks_exist_without_a_bound_or_after_the_block(bound: float) -> None:
    model = Model()
    with Ranges(model, bound) as ranges:
        assert bool(linear_of(model)._forward_pre_hooks) == bool(bound)
    model(TEXTS)
    assert not linear_of(model)._forward_pre_hooks
    assert ranges.penalty() == 0.0
