"""`evaluate`, `bench`, `config`, `doctor`, `keys` and `completion`."""

import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme

from app.cli import checks
from app.cli.commands import COMMANDS, load
from app.cli.console import progress
from app.cli.metrics import measure
from app.config import Settings
from tests.support.answers import answering
from tests.support.command import run


def output(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


LABELLED = "text,label\ngood,positive\nbad,0.0\nmeh,Neutral\n,negative\ngood,negative\n"


def test_evaluate_compares_labels_with_predictions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.csv").write_text(LABELLED)
    assert run("evaluate", tmp_path / "in.csv", "--backend", "mock", "--json") == 0
    report = output(capsys)
    assert (report["rows"], report["errors"], report["accuracy"]) == (4, 1, 0.75)
    assert report["confusion"] == [[1, 0, 1], [0, 1, 0], [0, 0, 1]]
    assert report["classes"]["negative"]["recall"] == 0.5
    assert report["macro_f1"] == pytest.approx((2 / 3 + 1 + 2 / 3) / 3)
    assert run("evaluate", tmp_path / "in.csv", "--backend", "mock", "--min-accuracy", "0.8") == 1
    shown = capsys.readouterr().out
    assert "accuracy           0.7500" in shown
    assert "macro F1" in shown


@pytest.mark.parametrize(
    ("content", "flags", "status", "message"),
    [
        ("text,kind\ngood,positive\n", [], 2, "no column label; use --label-column"),
        ("text,label\ngood,joy\n", [], 2, "row 1: its label is none of negative, neutral, positive"),
        ("text,label\n", [], 1, "it has no rows"),
        ("text,label\n ,positive\n", [], 1, "no text that the model can read"),
    ],
)
def test_evaluate_explains_what_it_cannot_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, flags: list[str], status: int, message: str
) -> None:
    (tmp_path / "in.csv").write_text(content)
    assert run("evaluate", tmp_path / "in.csv", "--backend", "mock", *flags) == status
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["in.jsonl", "in.tsv"])
def test_evaluate_reads_the_label_of_other_formats(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    content = {"in.jsonl": '{"label": 2, "body": "good"}\n', "in.tsv": "body\tlabel\ngood\tpositive\n"}
    (tmp_path / name).write_text(content[name])
    assert run("evaluate", tmp_path / name, "-c", "body", "--backend", "mock", "--json") == 0
    assert output(capsys)["accuracy"] == 1


def test_the_calibration_error_is_the_gap_of_confidence_and_accuracy() -> None:
    report = measure([0, 0, 1, 1], [0, 1, 1, 1], [0.9, 0.9, 0.9, 0.9], ["a", "b"])
    assert report.calibration_error == pytest.approx(0.15)
    assert report.interval[0] < 0.75 < report.interval[1]
    assert measure([0], [0], [1.0], ["a", "b"]).macro_f1 == 1


def test_bench_measures_the_model_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("bench", "--backend", "mock", "--seconds", "0.1", "--connections", "1,2", "--json") == 0
    report = output(capsys)
    assert [(each["what"], each["connections"]) for each in report["figures"]] == [
        ("single texts", 1),
        ("single texts", 2),
        ("lists of 256", 1),
    ]
    assert all(each["requests"] > 0 and each["p50_ms"] <= each["p99_ms"] for each in report["figures"])
    assert "in this process" in report["measured"]


def test_bench_measures_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    with answering((200, {})) as (url, bodies):
        assert run("bench", "--url", url, "--seconds", "0.1", "--connections", "2") == 0
    shown = capsys.readouterr().out
    assert f"{url} over HTTP" in shown
    assert "connections" in shown
    texts = [body["text"] for body in bodies if "text" in body]
    assert len(set(texts)) == len(texts) > 2


def test_bench_does_not_hide_refusals(capsys: pytest.CaptureFixture[str]) -> None:
    with answering((200, {}), (429, {})) as (url, _):
        assert run("bench", "--url", url, "--seconds", "0.1", "--connections", "1", "--json") == 1
    assert output(capsys)["figures"][0]["failed"] > 0


def test_bench_refuses_wrong_connections(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in ("0", "many", "1,1000"):
        assert run("bench", "--connections", wrong) == 2
    assert "expected numbers from 1 to 256" in capsys.readouterr().err


def test_config_says_where_each_value_comes_from(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTIMENT_PROFILE", "prod")
    monkeypatch.setenv("SENTIMENT_DRAIN_DELAY_MS", "7")
    monkeypatch.setenv("SENTIMENT_RATE_LIMIT_STORAGE", "redis://user:secret@host:6379/1")
    monkeypatch.setenv("SENTIMENT_CACHE_REDIS_URL", "unix:///redis.sock?db=1&password=secret")
    assert run("config", "--port", "9000", "--json") == 0
    rows = {row["setting"]: row for row in output(capsys)}
    assert rows.keys() == Settings.model_fields.keys()
    assert (rows["port"]["value"], rows["port"]["source"]) == (9000, "flag --port")
    assert (rows["drain_delay_ms"]["value"], rows["drain_delay_ms"]["source"]) == (
        7,
        "environment SENTIMENT_DRAIN_DELAY_MS",
    )
    assert (rows["host"]["value"], rows["host"]["source"]) == ("0.0.0.0", "profile prod")
    assert rows["workers"]["source"] == "default"
    monkeypatch.setenv("PORT", "5000")
    assert run("config", "--json") == 0
    (port,) = [row for row in output(capsys) if row["setting"] == "port"]
    assert (port["value"], port["source"]) == (5000, "environment PORT")
    assert rows["rate_limit_storage"]["value"] == "redis://***@host:6379/1"
    assert rows["cache_redis_url"]["value"] == "unix:///redis.sock?db=1&password=***"
    assert run("config", "--changed") == 0
    shown = capsys.readouterr().out
    assert "secret" not in shown
    assert "drain_timeout_ms" in shown
    assert "max_batch_texts" not in shown


def test_config_names_an_invalid_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("config", "--port", "none") == 2
    assert "SENTIMENT_PORT" in capsys.readouterr().err


def levels(capsys: pytest.CaptureFixture[str]) -> dict[str, tuple[str, str]]:
    return {row["name"]: (row["level"], row["detail"] + row["fix"]) for row in output(capsys)}


def test_doctor_finds_no_problem_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("doctor", "--port", "0", "--json") == 0
    found = levels(capsys)
    assert "problem" not in {level for level, _ in found.values()}
    assert "checksums match" in found["model"][1]
    assert "auto means onnx on cpu" in found["backend"][1]
    assert {"python", "cores", "memory", "processor", "onnxruntime", "prediction", "port"} <= found.keys()


def test_doctor_says_what_is_wrong_and_how_to_fix_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "keys.yaml"
    keys.write_text("web: wrong\n")
    closed = socket.create_server(("127.0.0.1", 0))
    redis = f"redis://127.0.0.1:{closed.getsockname()[1]}"
    closed.close()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        flags = {
            "model": "nowhere",
            "port": str(taken.getsockname()[1]),
            "api-keys-file": str(keys),
            "tls-cert-file": str(keys),
            "tls-key-file": str(keys),
            "rate-limit": "9/minute",
            "rate-limit-storage": redis,
        }
        assert run("doctor", *(word for name, value in flags.items() for word in (f"--{name}", value))) == 1
    shown = capsys.readouterr().out
    for name in ("model", "port", "keys", "tls", "redis"):
        assert f"problem {name}: " in shown, name
    assert "no such model: nowhere" in shown
    assert "choose another SENTIMENT_PORT" in shown


def test_doctor_warns_of_an_open_service_and_loose_permissions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("doctor", "--backend", "mock", "--host", "0.0.0.0", "--port", "0", "--json") == 0
    assert levels(capsys)["access"][0] == "warning"
    keys = tmp_path / "keys.yaml"
    keys.touch(0o600)
    flags = ("doctor", "--backend", "mock", "--port", "0", "--api-keys-file", keys, "--json")
    assert run(*flags) == 0
    assert levels(capsys)["keys"][0] == "warning"
    assert run("keys", "add", keys, "web") == 0
    capsys.readouterr()
    assert run(*flags) == 0
    assert levels(capsys)["keys"] == ("ok", f"{keys}: 1 keys")
    keys.chmod(0o666)
    assert run(*flags) == 1
    assert "chmod o-w" in levels(capsys)["keys"][1]


def test_checks_survive_a_broken_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_settings: Settings) -> Any:
        raise RuntimeError("no")

    monkeypatch.setitem(checks.CHECKS, "cores", broken)
    monkeypatch.setattr(checks, "_MEMINFO", tmp_path / "none")
    monkeypatch.setattr(checks, "_MEMORY_LIMITS", ())
    monkeypatch.setattr(checks, "overflows_in_int8", lambda: True)
    monkeypatch.setattr(checks, "has_torch", lambda: False)
    monkeypatch.setattr(checks, "has_gpu", lambda: True)
    monkeypatch.setattr(checks.importlib.util, "find_spec", lambda _name: None)
    settings = Settings(backend="mock", port=0, rate_limit="9/minute", rate_limit_storage="redis://localhost")
    found = {finding.name: finding for finding in checks.run_checks(settings)}
    assert found["cores"].level == "problem"
    assert {found[name].level for name in ("memory", "processor", "torch")} == {"warning"}
    assert {found[name].level for name in ("onnxruntime", "redis")} == {"problem"}


def test_checks_know_limits_certificates_and_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text(str(200 * 2**20))
    monkeypatch.setattr(checks, "_MEMORY_LIMITS", (limit,))
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _which: (1024, 4096))
    certificate = trustme.CA().issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "pem"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        settings = Settings(
            backend="mock",
            port=0,
            tls_cert_file=tmp_path / "pem",
            tls_key_file=tmp_path / "pem",
            rate_limit="9/minute",
            rate_limit_storage=f"redis://127.0.0.1:{listening.getsockname()[1]}",
        )
        found = {finding.name: finding for finding in checks.run_checks(settings)}
    assert found["memory"].detail == "200 MiB (cgroup limit)"
    assert found["memory"].level == found["descriptors"].level == "warning"
    assert found["tls"].level == found["redis"].level == "ok"


def test_keys_lists_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "keys.yaml"
    assert run("keys", "add", file, "web") == run("key", file, "app") == 0
    capsys.readouterr()
    assert run("keys", "list", file, "--json") == 0
    usual = {"expires": None, "expired": False, "scopes": ["predict"]}
    assert output(capsys) == [{"name": "web", **usual}, {"name": "app", **usual}]
    assert run("keys", "add", file, "batch", "--expires", "2999-01-31", "--scope", "jobs", "--scope", "predict") == 0
    capsys.readouterr()
    assert run("keys", "list", file) == 0
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["web", "never", "predict"] in shown
    assert ["batch", "2999-01-31T00:00:00Z", "predict,", "jobs"] in shown
    assert run("keys", "remove", file, "web") == 0
    assert run("keys", "remove", file, "web") == 1
    assert "has no key for web" in capsys.readouterr().err
    assert run("keys", "list", file, "--json") == 0
    assert [key["name"] for key in output(capsys)] == ["app", "batch"]
    assert run("keys", "list", tmp_path / "none") == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(
    shell: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("click.shell_completion.BashComplete._check_version", lambda _self: None, raising=False)
    assert run("completion", shell) == 0
    assert f"_RT_SENTIMENT_COMPLETE={shell}_complete" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"), [("rt-sentiment do", "doctor"), ("rt-sentiment score --res", "--resume")]
)
def test_commands_and_flags_are_completed(
    words: str, expected: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_RT_SENTIMENT_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    assert run() == 0
    assert capsys.readouterr().out == f"plain,{expected}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(name, "--help") == 0
    assert f"Usage: rt-sentiment {name}" in capsys.readouterr().out
    assert load(name).help


def test_progress_is_lines_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cli.console._REPORT_EVERY_S", 0)
    with progress(100, 10, "rows") as advance:
        advance(20)
    with progress(None, 0, "rows") as advance:
        advance(5)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("20 rows of 100, about ")
    assert "left" not in lines[1]


def test_progress_is_a_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress(100, 10, "rows") as advance:
        advance(20)
    assert "20/100" in capsys.readouterr().err


def test_help_shows_one_shell_per_line_and_whole_summaries(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("completion", "--help") == 0
    text = capsys.readouterr().out
    assert "\b" not in text
    assert "\n  zsh:   eval" in text
    assert run("keys", "--help") == 0
    assert "..." not in capsys.readouterr().out.partition("Commands:")[2]
