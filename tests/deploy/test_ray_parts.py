"""The parts of `deploy/ray` that need no Ray: names of files, metrics, and what the configuration says."""

import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from app.errors import TableOptionError
from app.tables import Columns, Window, open_reader
from deploy.ray.files import StoredSource, expand, outputs
from deploy.ray.metrics import Exporter
from tests.support.process import ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.csv", "b.csv", "c.jsonl", "2026/x.csv", "2027/x.csv", "2027/deep/y.csv"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("text\ngood\n")
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.csv", ["a.csv", "b.csv"]),
        ("[bc].*", ["b.csv", "c.jsonl"]),
        ("202?/*.csv", ["2026/x.csv", "2027/x.csv"]),
        ("*/*/*.csv", ["2027/deep/y.csv"]),
        ("a.csv", ["a.csv"]),
    ],
)
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_glob_names_files_as_a_shell_does(folder: Path, scheme: str, pattern: str, expected: list[str]) -> None:
    root = f"{scheme}{folder}"
    assert expand(f"{root}/{pattern}") == [f"{root}/{name}" for name in expected]


def test_a_relative_glob_starts_in_the_working_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert expand("*.csv") == ["./a.csv", "./b.csv"]
    assert outputs("*.csv", expand("*.csv"), "out", "csv") == {"./a.csv": "out/a.csv", "./b.csv": "out/b.csv"}


def test_a_glob_without_files_is_an_error(folder: Path) -> None:
    with pytest.raises(TableOptionError, match="no file has such a name"):
        expand(f"{folder}/*.parquet")
    with pytest.raises(TableOptionError, match="missing"):
        expand(f"{folder}/missing/*.csv")


def test_each_input_has_its_own_output_below_the_folder() -> None:
    inputs = ["s3://b/in/2026/x.csv.gz", "s3://b/in/2027/x.csv.gz"]
    places = outputs("s3://b/in/*/*.gz", inputs, "s3://b/out/", "parquet")
    assert [*places.values()] == ["s3://b/out/2026/x.parquet", "s3://b/out/2027/x.parquet"]
    assert outputs("in/x.csv", ["in/x.csv"], "out", "csv") == {"in/x.csv": "out/x.csv"}


def test_two_inputs_with_one_output_are_refused() -> None:
    with pytest.raises(TableOptionError, match=r"two of its files would be written to out/a\.csv"):
        outputs("in/*", ["in/a.csv", "in/a.tsv"], "out", "csv")


def test_a_stored_file_is_read_as_a_local_one(folder: Path) -> None:
    with open_reader(StoredSource(f"file://{folder}/a.csv", "csv"), Columns()) as reader:
        assert [rows.texts for rows in reader.windows(Window())] == [["good"]]


class _Recorded:
    """A metric of Ray that keeps what it gets."""

    def __init__(self, name: str, documentation: str, tag_keys: tuple[str, ...]) -> None:
        self.name, self.documentation, self.tag_keys = name, documentation, tag_keys
        self.values: dict[tuple[str, ...], float] = {}

    def inc(self, value: float, tags: dict[str, str]) -> None:
        key = tuple(tags[name] for name in self.tag_keys)
        self.values[key] = self.values.get(key, 0) + value

    def set(self, value: float, tags: dict[str, str]) -> None:
        self.values[tuple(tags[name] for name in self.tag_keys)] = value


def test_metrics_reach_ray_with_their_labels_and_buckets() -> None:
    registry = CollectorRegistry()
    requests = Counter("requests", "Requests.", ["status"], registry=registry)
    depth = Gauge("depth", "Depth.", registry=registry)
    seconds = Histogram("seconds", "Seconds.", buckets=(1, 2), registry=registry)
    metrics: dict[str, _Recorded] = {}

    def make(name: str, documentation: str, *, tag_keys: tuple[str, ...]) -> _Recorded:
        return metrics.setdefault(name, _Recorded(name, documentation, tag_keys))

    exporter = Exporter(registry, counter=make, gauge=make)
    for _ in range(2):
        requests.labels("200").inc(3)
        depth.set(7)
        seconds.observe(1.5)
        exporter.export()
    exporter.export()  # nothing has changed
    assert metrics["requests_total"].values == {("200",): 6}
    assert metrics["depth"].values == {(): 7}
    assert metrics["seconds_bucket"].values == {("2.0",): 2, ("+Inf",): 2}
    assert metrics["seconds_sum"].values == {(): 3.0}


def test_the_environment_of_ray_has_the_versions_of_the_service() -> None:
    text = (ROOT / "deploy" / "ray" / "requirements.txt").read_text()
    pins = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", text, flags=re.MULTILINE))
    assert pins["ray"] == "2.60.0"
    assert text.count("--hash=sha256:") > len(pins)
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.txt").read_text(), flags=re.MULTILINE):
        assert pins[name] == version


def test_the_configuration_of_a_cluster_names_what_exists() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "ray" / "config.yaml").read_text())
    (application,) = config["applications"]
    source = (ROOT / "deploy" / "ray" / "application.py").read_text()
    assert application["import_path"] == "deploy.ray.application:application"
    assert "def application(options: Options)" in source
    assert all(f"    {name}: " in source for name in application["args"])
