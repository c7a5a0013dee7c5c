"""Fine-tune a classifier. Reads top to bottom."""

import json
import math
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tqdm import tqdm
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from app.runner import pad
from app.tokenizer import Tokenizer
from app.types import Encoding
from training.data import Row, batches, epoch, tokenise
from training.evaluate import evaluate, torch_scorer
from training.examples import Example


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides the result. The defaults are those of the embedded model."""

    epochs: int = 2
    batch_size: int = 32
    max_tokens: int = 96
    learning_rate: float = 7e-5
    weight_decay: float = 0.01
    warmup: float = 0.06  # share of all steps
    label_smoothing: float = 0.05
    seed: int = 7


def train(checkpoint: Path, out: Path, examples: list[Example], dev: list[Example], recipe: Recipe) -> list[float]:
    """Fine-tune the model at `checkpoint` on `examples` and write it to `out`; return the loss of every step.

    Uses CUDA where there is one, and bf16 autocast everywhere.
    """
    torch.manual_seed(recipe.seed)
    rng = random.Random(recipe.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # On CPUs eager attention in bf16 is 1.3 to 1.8 times as fast as the fused kernel at these lengths.
    attention = "sdpa" if device.type == "cuda" else "eager"
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint, attn_implementation=attention)
    model.to(device)
    unlimited = Tokenizer.load(checkpoint, max_tokens=10**6)
    sets = tokenise(examples, unlimited)

    epochs = [list(batches(epoch(sets, recipe.max_tokens, rng), recipe.batch_size, rng)) for _ in range(recipe.epochs)]
    steps = sum(map(len, epochs))
    optimizer = torch.optim.AdamW(model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _slope(step, steps, recipe.warmup))
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)

    losses: list[float] = []
    started = time.perf_counter()
    for number, groups in enumerate(epochs, 1):
        model.train()
        bar = tqdm(groups, desc=f"epoch {number}/{recipe.epochs}", mininterval=5)
        for rows in bar:
            inputs, labels = _tensors(rows, unlimited, device)
            with torch.autocast(device.type, dtype=torch.bfloat16):
                logits = model(**inputs).logits
            loss = loss_of(logits.float(), labels)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(loss.item())
            bar.set_postfix(loss=f"{sum(losses[-100:]) / len(losses[-100:]):.3f}", refresh=False)
        model.save_pretrained(out)
        AutoTokenizer.from_pretrained(checkpoint).save_pretrained(out)
        report = evaluate(torch_scorer(out), dev)
        for name, scores in report.items():
            print(f"  {name:20} {scores}")

    record = {
        "start": checkpoint.name,
        "rows": {source: len(rows) for source, rows in sets.items()},
        "recipe": asdict(recipe),
        "steps": steps,
        "seconds": round(time.perf_counter() - started),
        "dev": report,
    }
    (out / "training.json").write_text(json.dumps(record, indent=2) + "\n")
    return losses


def _slope(step: int, steps: int, warmup: float) -> float:
    rise = max(1, math.ceil(steps * warmup))
    return min((step + 1) / rise, max(0.0, (steps - step) / max(1, steps - rise)))


def _tensors(
    rows: list[Row], tokenizer: Tokenizer, device: torch.device
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    first, last = tokenizer.encode("").ids
    batch = pad([Encoding([first, *row.ids, last], truncated=False) for row in rows], pad_id=0)
    ids, mask = torch.from_numpy(batch.input_ids), torch.from_numpy(batch.attention_mask)
    labels = torch.tensor([row.label for row in rows], device=device)
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}, labels
