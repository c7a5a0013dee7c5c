"""`rt-sentiment models add` and the other commands that change the models file."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from app.catalog import Shares, audit_file, read, read_log
from app.cli.models import apply
from tests.support.catalog import write_artifact
from tests.support.command import run
from tests.support.process import ROOT


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models file that does not exist yet, in the working directory, with three artifacts beside it."""
    for name, version in (("old", "1"), ("new", "2"), ("newer", "3")):
        write_artifact(tmp_path / "models" / name, name=version)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SENTIMENT_MODELS_FILE", "models.yaml")
    return tmp_path / "models.yaml"


@pytest.fixture
def pair(file: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A models file with two versions, of which the second has no callers."""
    assert run("models", "add", "m", "models/old") == 0
    assert run("models", "add", "m", "models/new") == 0
    capsys.readouterr()
    return file


def shares(file: Path) -> Shares:
    return read(file).find("m").shares


class Terminal:
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal())


def answer(monkeypatch: pytest.MonkeyPatch, reply: Any) -> None:
    monkeypatch.setattr(click, "confirm", lambda _: reply() if callable(reply) else reply)


def test_the_first_add_creates_the_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "add", "m", "models/old") == 0
    assert file.read_text() == "models:\n  m:\n    versions:\n      - {path: models/old, weight: 100}\n"
    shown = "m becomes a model, and models/old its version for all callers\n  models/old        - -> 100\n"
    assert capsys.readouterr().out == shown


def test_add_states_all_that_it_was_given(file: Path) -> None:
    checksum = write_artifact(file.parent / "pinned")
    assert run("models", "add", "m", "models/old") == 0
    assert run("models", "add", "m", "models/new", "--weight", "12.5") == 0
    assert run("models", "add", "m", "models/newer", "--shadow") == 0
    assert run("models", "add", "m", "pinned", "--digest", checksum) == 0
    assert shares(file) == {"models/old": 87.5, "models/new": 12.5, "models/newer": "shadow", "pinned": 0}
    assert read(file).find("m").find("pinned").digest == checksum


def test_what_is_not_on_this_machine_is_left_to_the_servers(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "add", "m", "owner/name@v1") == 0
    assert "its artifact is not on this machine; each server checks it when it loads it" in capsys.readouterr().out
    assert run("models", "add", "m", "s3://bucket/m", "--weight", "5") == 0
    assert [each.kind for each in read(file).find("m").versions] == ["hub", "url"]


def test_the_name_of_an_embedded_model_works(file: Path) -> None:
    assert run("models", "add", "m", "sentiment-en") == 0
    assert shares(file) == {"sentiment-en": 100}
    assert str(read_log(audit_file(file))[0].checksum).startswith("sha256:")


def test_a_path_is_written_so_that_servers_find_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = file.parent / "elsewhere"
    write_artifact(elsewhere / "own")
    monkeypatch.chdir(elsewhere)
    at = ("--file", file)
    assert run("models", "add", "m", "../models/old", *at) == 0
    assert run("models", "add", "m", "own", *at) == 0
    assert run("models", "add", "m", file.parent / "models" / "new" / "", *at) == 0
    assert run("models", "add", "n", "own", "--file", elsewhere / "sub.yaml") == 0
    (elsewhere / "sub").mkdir()
    assert run("models", "add", "n", "own", "--file", elsewhere / "sub" / "models.yaml") == 0
    assert list(shares(file)) == ["models/old", "elsewhere/own", "models/new"]
    assert read(elsewhere / "sub.yaml").default.versions[0].source == "own"
    assert read(elsewhere / "sub" / "models.yaml").default.versions[0].source == str(elsewhere / "own")


@pytest.mark.parametrize(
    ("source", "flags", "why"),
    [
        ("nowhere", [], "no such model: nowhere is neither a directory, an embedded model"),
        ("owner/name", [], "owner/name; a model of the Hugging Face hub is owner/name@revision"),
        ("/nowhere/a", [], "/nowhere/a: no such folder: /nowhere/a; a model of"),
        ("empty", [], "no config.json; is this a model directory?"),
        ("graphless", [], "graphless has no weights that can be served"),
        ("models/old", ["--digest", "sha256:" + "0" * 64], "models/old: the sha256 of its manifest is sha256:"),
        ("models/old", ["--digest", "12"], "a digest is `sha256:` and 64"),
        ("models/old", ["--weight", "10"], "m is a new model: its first version gets all callers"),
        ("models/old", ["--shadow"], "m is a new model"),
    ],
)
def test_a_version_that_cannot_be_served_is_not_added(
    file: Path, source: str, flags: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (file.parent / "empty").mkdir()
    write_artifact(file.parent / "graphless")
    (file.parent / "graphless" / "model.onnx").unlink()
    assert run("models", "add", "m", source, *flags) == 1
    assert why in capsys.readouterr().err
    assert not file.exists()
    assert not audit_file(file).exists()


def test_a_canary_or_shadow_with_other_labels_is_refused(pair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_artifact(pair.parent / "stars", labels=("one", "two", "three"))
    for flags in (["--weight", "10"], ["--shadow"]):
        assert run("models", "add", "m", "stars", *flags) == 1
        assert "stars has the labels one, two, three, but models/old has negative, positive" in capsys.readouterr().err
    assert run("models", "add", "m", "stars") == 0
    for command in (["canary", "m", "stars", "--weight", "10"], ["shadow", "m", "stars"]):
        assert run("models", *command) == 1
        assert "serve it as a model with another name" in capsys.readouterr().err
    assert run("models", "promote", "m", "stars") == 0
    assert shares(pair) == {"models/old": 0, "models/new": 0, "stars": 100}


def test_labels_in_another_order_are_the_same_labels(pair: Path) -> None:
    write_artifact(pair.parent / "other", labels=("positive", "negative"))
    assert run("models", "add", "m", "other", "--weight", "10") == 0


def test_a_version_that_is_broken_here_does_not_hinder_others(pair: Path) -> None:
    (pair.parent / "models" / "old" / "config.json").unlink()
    assert run("models", "canary", "m", "2", "--weight", "50") == 0
    assert shares(pair) == {"models/old": 50, "models/new": 50}


def test_from_canary_to_promotion_and_back(pair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "canary", "m", "--weight", "10") == 0
    assert capsys.readouterr().out == (
        "models/new of m gets 10 % of the callers\n"
        "  models/old      100 -> 90\n"
        "  models/new        0 -> 10\n"
    )  # fmt: skip
    assert run("models", "promote", "m") == 0
    assert shares(pair) == {"models/old": 0, "models/new": 100}
    assert run("models", "rollback", "m") == 0
    assert shares(pair) == {"models/old": 90, "models/new": 10}
    assert run("models", "rollback", "m") == 0
    assert shares(pair) == {"models/old": 100, "models/new": 0}
    capsys.readouterr()
    assert run("models", "rollback", "m") == 1
    assert "m: the audit log has no change to go back from; use promote or canary" in capsys.readouterr().err


def test_a_rollback_works_although_the_artifact_cannot_be_read(pair: Path) -> None:
    assert run("models", "promote", "m") == 0
    (pair.parent / "models" / "old" / "config.json").unlink()
    assert run("models", "rollback", "m") == 0
    assert shares(pair) == {"models/old": 100, "models/new": 0}
    assert read_log(audit_file(pair))[-1].checksum is None


def test_a_rollback_to_equal_parts_is_about_no_single_version(pair: Path) -> None:
    assert run("models", "canary", "m", "new", "--weight", "50") == 0
    assert run("models", "promote", "m", "new") == 0
    assert run("models", "rollback", "m") == 0
    assert shares(pair) == {"models/old": 50, "models/new": 50}
    assert read_log(audit_file(pair))[-1].version == ""


def test_the_canary_is_meant_if_no_version_is_named(pair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "add", "m", "models/newer") == 0
    assert run("models", "promote", "m") == 2
    assert "m: name the version; it has models/old, models/new, models/newer" in capsys.readouterr().err
    assert run("models", "canary", "m", "newer", "--weight", "1") == 0
    assert run("models", "promote", "m") == 0
    assert shares(pair)["models/newer"] == 100


def test_the_manifest_may_name_the_version(pair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "promote", "m", "2") == 0
    assert shares(pair)["models/new"] == 100
    write_artifact(pair.parent / "again", name="2")
    assert run("models", "add", "m", "again") == 0
    assert run("models", "promote", "m", "2") == 1
    assert "m: 2 may be one of models/new, again; write the whole source" in capsys.readouterr().err


def test_versions_become_shadows_and_leave(pair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "shadow", "m") == 0
    assert shares(pair) == {"models/old": 100, "models/new": "shadow"}
    assert run("models", "remove", "m", "new") == 0
    assert shares(pair) == {"models/old": 100}
    assert capsys.readouterr().out.endswith("  models/old      100 -> 100\n  models/new   shadow -> -\n")
    assert run("models", "remove", "m") == 1
    assert "m is the last model" in capsys.readouterr().err
    assert run("models", "add", "n", "models/new") == 0
    assert run("models", "remove", "m") == 0
    assert [model.name for model in read(pair).models] == ["n"]
    assert (pair.parent / "models" / "new").is_dir()


def test_each_change_leaves_a_line_in_the_log(pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RT_SENTIMENT_ACTOR", "deploy bot")
    assert run("models", "canary", "m", "--weight", "10") == 0
    assert run("models", "promote", "m", "--as", " anna ") == 0
    assert run("models", "remove", "m", "old") == 0
    first, _, canary, promote, remove = read_log(audit_file(pair))
    assert first.who.endswith(f"@{socket.gethostname()}")
    assert (first.command, first.before, first.after) == ("add", {}, {"models/old": 100})
    assert (canary.who, canary.command, canary.version) == ("deploy bot", "canary", "models/new")
    assert (promote.who, promote.before) == ("anna", {"models/old": 90, "models/new": 10})
    assert promote.checksum == write_artifact(pair.parent / "copy", name="2")
    assert (remove.command, remove.version, remove.after) == ("remove", "models/old", {"models/new": 100})
    assert remove.checksum == first.checksum


@pytest.mark.parametrize("actor", ["", " ", "a\nb", "a" * 201])
def test_a_name_that_no_line_can_have_is_refused(pair: Path, actor: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "promote", "m", "--as", actor) == 2
    assert "--as: expected a name of up to 200 characters in one line" in capsys.readouterr().err


def test_a_user_without_a_name_has_a_number(pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 10001")

    monkeypatch.setattr(apply.getpass, "getuser", nameless)
    assert run("models", "promote", "m") == 0
    assert read_log(audit_file(pair))[-1].who == f"uid-{os.getuid()}@{socket.gethostname()}"


def test_a_change_to_what_is_so_already_changes_nothing(pair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, log = pair.stat().st_ino, audit_file(pair).read_text()
    assert run("models", "promote", "m", "old") == 0
    assert capsys.readouterr().out == "models/old of m gets all callers: that is so already\n"
    assert (pair.stat().st_ino, audit_file(pair).read_text()) == (before, log)


def test_people_are_told_which_comments_are_lost(pair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair.write_text(f"# Ours.\n{pair.read_text()}# Ask first.\n")
    assert run("models", "promote", "m") == 0
    assert "comments that are not at the beginning of the file are lost" in capsys.readouterr().out
    assert pair.read_text().startswith("# Ours.\nmodels:\n")
    assert run("models", "rollback", "m") == 0
    assert "comments" not in capsys.readouterr().out


@pytest.mark.parametrize("source", ["~nobody-of-this-name/a", "a" * 300])
def test_a_source_that_no_folder_can_have_is_refused(
    file: Path, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("models", "add", "m", source) == 2
    assert capsys.readouterr().err == f"rt-sentiment: {source}: no such folder\n"


def test_a_dry_run_changes_nothing(pair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = pair.read_bytes(), audit_file(pair).read_bytes()
    assert run("models", "promote", "m", "--dry-run") == 0
    assert capsys.readouterr().out.endswith("  models/new        0 -> 100\ndry run: nothing was changed\n")
    assert (pair.read_bytes(), audit_file(pair).read_bytes()) == before
    assert run("models", "add", "x", "models/old", "--dry-run", "--file", "none.yaml") == 0
    assert not Path("none.yaml").exists()


@pytest.mark.usefixtures("terminal")
def test_people_are_asked_first(
    pair: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(monkeypatch, reply=False)
    assert run("models", "promote", "m") == 1
    shown = capsys.readouterr()
    assert "models/new of m gets all callers" in shown.out
    assert shown.err == "rt-sentiment: nothing was changed\n"
    assert shares(pair) == {"models/old": 100, "models/new": 0}
    answer(monkeypatch, reply=True)
    assert run("models", "promote", "m") == 0
    assert capsys.readouterr().out.count("gets all callers") == 1
    assert shares(pair) == {"models/old": 0, "models/new": 100}


@pytest.mark.usefixtures("terminal")
def test_nobody_is_asked_if_it_was_said_or_is_so_already(pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, reply=lambda: pytest.fail("asked"))
    assert run("models", "promote", "m", "--yes") == 0
    assert run("models", "promote", "m", "new") == 0
    assert shares(pair) == {"models/old": 0, "models/new": 100}


@pytest.mark.usefixtures("terminal")
def test_what_people_agreed_to_is_what_happens(
    pair: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def meanwhile() -> bool:
        return run("models", "canary", "m", "new", "--weight", "10", "--yes") == 0

    answer(monkeypatch, meanwhile)
    assert run("models", "add", "m", "models/newer") == 1
    assert "models.yaml was changed in the meantime; run the command again" in capsys.readouterr().err
    assert shares(pair) == {"models/old": 90, "models/new": 10}


def test_no_change_is_made_that_cannot_be_logged(
    pair: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, real = pair.read_bytes(), os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:5]))
    assert run("models", "promote", "m") == 1
    assert "the audit log cannot be written, so nothing is changed: No space left" in capsys.readouterr().err
    assert pair.read_bytes() == before
    assert run("models", "add", "m", "models/old", "--file", "other.yaml") == 1
    assert not Path("other.yaml").exists()


def test_a_log_that_cannot_be_opened_stops_a_change_before_it_begins(pair: Path) -> None:
    before = pair.stat().st_ino
    audit_file(pair).unlink()
    audit_file(pair).mkdir()
    assert run("models", "promote", "m") == 1
    assert pair.stat().st_ino == before


def test_a_file_that_is_missing_or_not_named_is_explained(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("models", "promote", "m") == 2
    assert "models.yaml does not exist; `rt-sentiment models add` creates it" in capsys.readouterr().err
    monkeypatch.delenv("SENTIMENT_MODELS_FILE")
    assert run("models", "promote", "m") == 2
    assert "name the models file with --file or SENTIMENT_MODELS_FILE" in capsys.readouterr().err


def test_a_file_that_is_not_valid_is_not_replaced(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("models:\n  m: {}\n")
    assert run("models", "add", "m", "models/old") == 1
    assert "models.yaml, line 2: m: `versions` must be a list" in capsys.readouterr().err
    assert file.read_text() == "models:\n  m: {}\n"


def test_no_change_is_lost_if_eight_commands_run_at_once(file: Path) -> None:
    command = [sys.executable, "-m", "app", "models", "add"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen(
            [*command, f"model-{number}", "owner/name@v1"], cwd=file.parent, env=environment, stdin=subprocess.DEVNULL
        )
        for number in range(8)
    ]
    assert [process.wait() for process in running] == [0] * 8
    names = [f"model-{number}" for number in range(8)]
    assert sorted(model.name for model in read(file).models) == names
    log = [json.loads(line) for line in audit_file(file).read_text().splitlines()]
    assert sorted(line["model"] for line in log) == names
