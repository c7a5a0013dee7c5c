"""Writes what the Helm chart takes from other files: `make chart`.

The version, the alerts and recording rules, the names that `settings:` may have, and the table of values in its README,
from the comments in values.yaml.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from app import __version__
from app.config import PREFIX, Settings

DEPLOY = Path(__file__).parent
CHART = DEPLOY / "helm" / "rt-sentiment"
# The chart sets these itself: they belong to values that also mount a file, open a port or name a Secret.
MANAGED = {"api_keys_file", "models_cache", "models_cache_bytes", "models_file", "port", "redis_url", "worker_port"}
_TABLE = "<!-- values: written by `make chart` -->\n"


def render() -> dict[Path, str]:
    """Return the current content of each file that has a part from elsewhere."""
    values, readme = (CHART / "values.yaml").read_text(), (CHART / "README.md").read_text()
    schema = json.loads((CHART / "values.schema.json").read_text())
    schema["properties"]["settings"]["properties"] = {name: {"$ref": "#/$defs/scalar"} for name in setting_names()}
    version = re.sub(r'(?m)^((?:appV|v)ersion: "?)[^"\n]+', rf"\g<1>{__version__}", (CHART / "Chart.yaml").read_text())
    rows = (f"| `{name}` | `{default}` | {text} |\n" for name, default, text in rows_of(values))
    return {
        CHART / "Chart.yaml": version,
        CHART / "README.md": "".join(
            [readme.partition(_TABLE)[0], _TABLE, "\n| value | default | meaning |\n|---|---|---|\n", *rows]
        ),
        CHART / "values.schema.json": json.dumps(schema, indent=2) + "\n",
        **{CHART / "files" / name: (DEPLOY / "prometheus" / name).read_text() for name in ("alerts.yml", "rules.yml")},
    }


def setting_names() -> list[str]:
    """Return the names of the environment variables that `settings:` may have."""
    return sorted(f"{PREFIX}{name.upper()}" for name in Settings.model_fields.keys() - MANAGED)


def rows_of(values: str) -> Iterator[tuple[str, str, str]]:
    """Yield name, default and comment of each value; raise `ValueError` if one has no comment."""
    lines = values.splitlines()

    def walk(node: yaml.MappingNode, names: list[str]) -> Iterator[tuple[str, str, str]]:
        for key, value in node.value:
            path, line = [*names, key.value], key.start_mark.line
            comment = lines[line - 1].strip()
            if comment.startswith("# "):
                default = json.dumps(yaml.safe_load(yaml.serialize(value)))
                yield ".".join(path), default.replace("|", r"\|"), comment.removeprefix("# ").replace("|", r"\|")
            elif isinstance(value, yaml.MappingNode):
                yield from walk(value, path)
            else:
                raise ValueError(f"{'.'.join(path)} has no comment in {CHART / 'values.yaml'}")

    root = yaml.compose(values)
    assert isinstance(root, yaml.MappingNode)
    yield from walk(root, [])


if __name__ == "__main__":
    for file, text in render().items():
        file.write_text(text)
