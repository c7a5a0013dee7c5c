"""Two models have the same fingerprint only if they give the same scores."""

import dataclasses
from pathlib import Path

import pytest
from tokenizers import Tokenizer as FastTokenizer

from app.inference import Model, Tokenizer, fingerprint_of, load_model
from app.inference.backends.mock import mock_tokenizer


def test_it_stays_the_same_for_the_same_model(embedded: Model) -> None:
    assert fingerprint_of(embedded) == fingerprint_of(
        load_model("sentiment-en", backend="onnx", slots=1, abstain_below=0.5)
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("checksum", "sha256:other"),
        ("manifest", None),
        ("precision", "fp32"),
        ("backend", "torch"),
        ("device", "cuda"),
        ("temperature", 2.0),
        ("max_tokens", 100),
        ("labels", ("a", "b", "c")),
    ],
)
def test_it_depends_on_what_the_model_is(embedded: Model, field: str, value: object) -> None:
    other = dataclasses.replace(embedded, info=dataclasses.replace(embedded.info, **{field: value}))
    assert fingerprint_of(other) not in (None, fingerprint_of(embedded))


def test_it_depends_on_the_tokenizer() -> None:
    model = load_model(backend="mock")
    tokenizer: FastTokenizer = mock_tokenizer()
    tokenizer.add_tokens(["wonderful-ish"])
    others = [Tokenizer(mock_tokenizer(), 100), Tokenizer(tokenizer, 512)]
    digests = {fingerprint_of(dataclasses.replace(model, tokenizer=each)) for each in (model.tokenizer, *others)}
    assert len(digests) == 3


def test_it_depends_on_libraries_and_hardware(embedded: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = {fingerprint_of(embedded)}
    monkeypatch.setattr("app.inference.fingerprint.version", lambda _name: "0.1")
    digests.add(fingerprint_of(embedded))
    monkeypatch.setattr("app.inference.fingerprint._CPUINFO", tmp_path / "cpuinfo")
    digests.add(fingerprint_of(embedded))
    for flags in ("avx2 fma", "avx2 fma avx512_vnni", "fma avx2 aes"):  # the first and the last have the same kernels
        (tmp_path / "cpuinfo").write_text(f"vendor_id\t: One\nflags\t\t: {flags}\n")
        digests.add(fingerprint_of(embedded))
    assert len(digests) == 5
    (tmp_path / "cpuinfo").write_text("vendor_id\t: Two\nflags\t\t: avx2 fma\n")
    digests.add(fingerprint_of(embedded))
    assert len(digests) == 6


def test_models_whose_weights_are_not_known_have_none(embedded: Model) -> None:
    for changes in ({"backend": "own"}, {"checksum": None}):
        unknown = dataclasses.replace(embedded, info=dataclasses.replace(embedded.info, **changes))
        assert fingerprint_of(unknown) is None
    assert fingerprint_of(load_model(backend="mock"))
