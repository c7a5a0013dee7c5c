"""A models file is read as written; what is wrong with it is named with its line."""

from pathlib import Path

import pytest

from app.catalog import Catalog, ModelSpec, VersionSpec, read
from app.errors import ModelsFileError
from tests.support.catalog import one_model, version

DIGEST = "sha256:" + "0a" * 32
# The lines before the versions of a model.
HEAD = "models:\n  m:\n    versions:\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "models.yaml"


def read_text(file: Path, text: str) -> Catalog:
    file.write_text(text)
    return read(file)


def test_the_file_of_the_documentation_is_read(file: Path) -> None:
    text = f"""
# What we serve.
models:
  sentiment-en:
    versions:
      - {{path: models/sentiment-en, weight: 90}}
      - {{hub: owner/name@v1, weight: 9.5, digest: "{DIGEST}"}}
      - {{url: "s3://bucket/mine", weight: 0, shadow: false}}
      - path: models/experiment
        shadow: true
  12:
    versions: [{{path: other}}]
"""
    expected = (
        VersionSpec("models/sentiment-en", "path", 90, shadow=False),
        VersionSpec("owner/name@v1", "hub", 9.5, shadow=False, digest=DIGEST),
        VersionSpec("s3://bucket/mine", "url", 0, shadow=False),
        VersionSpec("models/experiment", "path", 0, shadow=True),
    )
    catalog = read_text(file, text)
    assert catalog.models == (ModelSpec("sentiment-en", expected), ModelSpec("12", (version("other", 100),)))
    assert catalog.default.name == "sentiment-en"


def test_a_version_that_has_all_callers_needs_no_weight(file: Path) -> None:
    catalog = read_text(file, HEAD + "      - {path: a}\n      - {path: b, shadow: true}\n")
    assert catalog == one_model(version("a", 100), version("b", shadow=True))


def test_a_byte_order_mark_is_ignored(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + (HEAD + "      - {path: a}\n").encode())
    assert read(file) == one_model(version("a", 100))


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("", 0, "the file is empty; it must begin with `models:`"),
        ("# only this\n", 0, "the file is empty"),
        ("[]", 1, "the file: expected fields with models"),
        ("{}", 1, "the file has no models"),
        ("model: {}\n", 1, "the file: unknown field 'model'; expected models"),
        ("models:\n", 1, "models: expected fields with the versions of each model"),
        ("models: {}\n", 1, "there must be at least one model"),
        ("models:\n  m: {}\n", 2, "m: `versions` must be a list"),
        ("models:\n  m:\n    versions: a\n", 3, "m: `versions` must be a list"),
        ("models:\n  m:\n    versions: []\n", 2, "m: a model needs at least one version"),
        ("models:\n  m:\n    version: []\n", 3, "m: unknown field 'version'; expected versions"),
        ("models:\n  ? [a]\n  : b\n", 2, "models: a name must be text"),
        ("models:\n  m/n:\n    versions: [{path: a}]\n", 2, "'m/n' is not a valid name for a model"),
        ("models: {m: {versions: [{path: a}]}}\nmodels: {}\n", 2, "the file: 'models' is there twice, first in line 1"),
        (HEAD + "      - {path: a}\n  m:\n    versions: []\n", 5, "models: 'm' is there twice, first in line 2"),
        (HEAD + "      - {path: a, path: b}\n", 4, "version 1 of m: 'path' is there twice, first in line 4"),
        (HEAD + "      - {path: a, hub: b/c@d}\n", 4, "version 1 of m must have one of path, hub and url"),
        (HEAD + "      - {weight: 100}\n", 4, "version 1 of m must have one of path, hub and url"),
        (HEAD + "      - a\n", 4, "version 1 of m: expected fields with path, hub, url, weight, shadow, digest"),
        (HEAD + "      - {path: a}\n      - {path: b}\n", 4, "version 1 of m needs a weight, because several versions"),
        (HEAD + "      - {path: a, weight: 9}\n      - {path: b}\n", 5, "version 2 of m needs a weight"),
        (HEAD + "      - {path: a, wieght: 9}\n", 4, "version 1 of m: unknown field 'wieght'; expected path, hub, "),
        (HEAD + "      - {path: a, weight: many}\n", 4, "version 1 of m: weight must be a number such as 10"),
        (HEAD + "      - {path: a, weight: true}\n", 4, "weight must be a number"),
        (HEAD + "      - {path: a, weight: [1]}\n", 4, "weight must be a number"),
        (HEAD + "      - {path: a, weight: !!int many}\n", 4, "weight must be a number"),
        (HEAD + f"      - {{path: a, weight: {'9' * 400}}}\n", 4, "a: a weight is 0 or a number from .*, not inf"),
        (HEAD + f"      - {{path: a, weight: {'9' * 5000}}}\n", 4, "weight must be a number"),
        (HEAD + "      - {path: a, weight: 101}\n", 4, "a: a weight is 0 or a number from 0.01 to 100, not 101"),
        (HEAD + "      - {path: a, weight: .nan}\n", 4, "a: a weight is 0 or a number from 0.01 to 100, not nan"),
        (HEAD + "      - {path: a, weight: 0}\n", 2, "m: at least one version must have a weight above 0"),
        (HEAD + "      - path: a\n        shadow: 1\n", 5, "version 1 of m: shadow must be true or false"),
        (HEAD + "      - path: a\n        shadow: true\n        weight: 5\n", 6, "is a shadow, which gets no callers"),
        (HEAD + "      - {path: 2026.12}\n", 4, "version 1 of m: path must be text; put it in quotes"),
        (HEAD + "      - {path: [a]}\n", 4, "version 1 of m: path must be text"),
        (HEAD + "      - {path: !!python/name:os.system a}\n", 4, "path must be text"),
        (HEAD + "      - {path: a, digest: 12}\n", 4, "version 1 of m: digest must be text"),
        (HEAD + "      - {path: a, digest: 12ab}\n", 4, "a: a digest is `sha256:` and 64 hexadecimal digits"),
        (HEAD + "      - {hub: owner/name}\n", 4, "owner/name: a hub model is owner/name@revision"),
        (HEAD + "      - &v {path: a}\n      - *v\n", 5, r"aliases \(\*name\) are not supported"),
        ("models: {\n", 2, "not valid YAML: "),
        ("a: b: c\n", 1, "not valid YAML: mapping values are not allowed here"),
        ("models: {}\n---\nmodels: {}\n", 2, "not valid YAML: but found another document"),
        ("models: \x07\n", 0, "not valid YAML: it has a character that YAML does not allow"),
        ('models: "\\UFFFFFFFF"\n', 0, "not valid YAML"),
        ("[" * 5000, 1, "it has more values, or values within values, than a models file can have"),
        (HEAD + "      - {path: [a" + "\n,a" * 10_000 + "]}\n", 9994, "it has more values"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(file: Path, text: str, line: int, why: str) -> None:
    with pytest.raises(ModelsFileError, match=why) as caught:
        read_text(file, text)
    assert caught.value.line == line
    place = f"{file}, line {line}: " if line else f"{file}: "
    assert str(caught.value).startswith(place)


def test_a_file_that_cannot_be_a_models_file_is_refused(tmp_path: Path, file: Path) -> None:
    with pytest.raises(ModelsFileError, match=f"^{file}: No such file or directory$"):
        read(file)
    with pytest.raises(ModelsFileError, match=f"^{tmp_path}: not a regular file$"):
        read(tmp_path)
    file.write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(ModelsFileError, match="it is larger than 1 MiB"):
        read(file)
    file.write_bytes(b"a\nb: \xff\n")
    with pytest.raises(ModelsFileError, match=f"^{file}, line 2: not valid UTF-8$"):
        read(file)
