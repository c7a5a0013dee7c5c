"""What the JSON files of a checkpoint state. What they leave out has the default of transformers."""

import sys
from pathlib import Path
from typing import Any

from ..errors import ArtifactError
from .files import ModelFiles

MAX_TOKENS = 512  # of models that state no limit
# Ours, in config.json: labels are served as they are written. `python -m training` writes it.
KEEP_LABEL_CASE = "keep_label_case"
_HEAD = "ForSequenceClassification"
_MOST_LABELS = 100_000
_LARGEST_ID = 2**31 - 1  # Some graphs read ids as int32.

# Defaults of transformers by model type, where they are not 0 and 512.
_PAD_IDS = {
    1: "bart biogpt camembert convbert data2vec-text ernie_m ibert layoutlmv3 led longformer luke mbart mega mpnet mra "
    "mvp nystromformer opt plbart qdqbert roberta roberta-prelayernorm xlm-roberta xlm-roberta-xl xmod yoso",
    2: "flaubert xlm",
    3: "fnet",
    5: "xlnet",
    50283: "modernbert modernbert-decoder",
}
_POSITIONS = {
    256: "ctrl",
    510: "nystromformer",
    514: "ernie_m xlm-roberta-xl",
    1024: "bart biogpt gpt2 mbart mvp plbart tapas",
    1026: "esm",
    1536: "roformer",
    2048: "falcon gpt_neo gpt_neox gptj llama opt perceiver phi",
    4096: "big_bird bigbird_pegasus reformer stablelm yoso",
    8192: "gemma gemma2 modernbert modernbert-decoder",
    16384: "canine",
}


def labels(config: dict[str, Any], directory: Path) -> tuple[str, ...]:
    """Return the labels in the order of the logits: in lower case, unless the config keeps the case."""
    if reason := _not_a_classifier(config):
        raise ArtifactError(f"{directory}: not a classifier with one label per text: {reason}")
    names = _names(config, directory)
    if len(names) < 2:
        raise ArtifactError(
            f"{directory}: not a classifier with one label per text: config.json has fewer than two labels, like a "
            "regression"
        )
    lower = tuple(name.lower() for name in names)
    if len(set(names)) != len(names):
        raise ArtifactError(f"{directory}: two labels in config.json are equal: {', '.join(names)}")
    if len(set(lower)) != len(lower):
        raise ArtifactError(f"{directory}: two labels in config.json differ in case only: {', '.join(lower)}")
    return tuple(names) if config.get(KEEP_LABEL_CASE) is True else lower


def _not_a_classifier(config: dict[str, Any]) -> str | None:
    problem, architectures = config.get("problem_type"), config.get("architectures")
    if problem == "multi_label_classification":
        return (
            f"its problem_type in config.json is {problem}, and models with several labels per text are not supported, "
            "because an answer has one label, and scores that sum to 1"
        )
    if problem not in (None, "single_label_classification"):
        return f"its problem_type in config.json is {problem}"
    if isinstance(architectures, list) and architectures and not any(_HEAD in str(name) for name in architectures):
        return f"its architecture in config.json is {', '.join(map(str, architectures))}, not …{_HEAD}"
    return None


def _names(config: dict[str, Any], directory: Path) -> list[str]:
    id2label, count = config.get("id2label"), config.get("num_labels")
    if id2label is None:
        count = 2 if count is None else count
        if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= _MOST_LABELS:
            raise ArtifactError(f"{directory / 'config.json'}: num_labels must be a whole number, not {count!r}")
        return [f"LABEL_{index}" for index in range(count)]
    wrong = ArtifactError(
        f"{directory / 'config.json'}: id2label must map 0, 1, 2 … to the names of the labels, without a gap"
    )
    if not isinstance(id2label, dict):
        raise wrong
    try:
        by_index = {int(key): name for key, name in id2label.items()}
    except ValueError:
        raise wrong from None
    if sorted(by_index) != list(range(len(id2label))):
        raise wrong
    names = [by_index[index] for index in range(len(by_index))]
    if any(isinstance(name, bool) or not isinstance(name, str | int | float) for name in names):
        raise wrong
    names = [str(name) for name in names]
    if not all(any(char.isprintable() and char != " " for char in name) for name in names):
        raise ArtifactError(f"{directory / 'config.json'}: a label in id2label has no visible character")
    return names


def pad_id(config: dict[str, Any], directory: Path) -> int:
    """Return the id of the padding token; 0 if the model has none."""
    default = _by_type(_PAD_IDS, config, 0)
    stated = config.get("pad_token_id", default)
    if stated is None:
        return 0
    if isinstance(stated, bool) or not isinstance(stated, int) or stated > _LARGEST_ID:
        raise ArtifactError(f"{directory / 'config.json'}: pad_token_id must be the id of a token, not {stated!r}")
    return stated if stated >= 0 else default  # some configs have -1 for "none"


def max_tokens(config: dict[str, Any], files: ModelFiles) -> int:
    """Return how many tokens the model reads, as far as its JSON files tell.

    Some models read fewer tokens than they have positions, and not all of them can be recognised here:
    see `Runner.find_limit`.
    """
    default = _by_type(_POSITIONS, config, MAX_TOKENS)
    positions = _count(config.get("max_position_embeddings")) or _count(config.get("n_positions")) or default
    # Models in the tradition of fairseq count positions from after the padding id, and have that many more of them than
    # a power of two: 514 for 512 tokens.
    offset = pad_id(config, files.directory) + 1
    if 1 < offset < positions and (positions - offset).bit_count() == 1:
        positions -= offset
    tokenizer = files.optional_json("tokenizer_config.json")
    limit = _count(tokenizer.get("model_max_length", tokenizer.get("max_len")))  # the second is the older name
    return min(positions, limit or positions)  # transformers writes 10**30 for "no limit"


def temperature(config: dict[str, Any], directory: Path) -> float:
    """Return the `calibration_temperature`, which is ours: transformers has none."""
    stated = config.get("calibration_temperature", 1.0)
    is_number = isinstance(stated, int | float) and not isinstance(stated, bool)
    if not is_number or not 0 < stated <= sys.float_info.max:  # Python's JSON parser accepts NaN and Infinity
        raise ArtifactError(
            f"{directory / 'config.json'}: calibration_temperature must be a finite number above 0, not {stated!r}"
        )
    return float(stated)


def _count(value: Any) -> int:
    """Return a number of tokens, or 0 if it is none."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and 1 <= value < float("inf") else 0


def _by_type(defaults: dict[int, str], config: dict[str, Any], default: int) -> int:
    model_type = config.get("model_type")
    return next((value for value, types in defaults.items() if model_type in types.split()), default)
