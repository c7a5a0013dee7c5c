"""The command `rt-sentiment` as a process: signals, pipes, sockets and files."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli import main
from tests.support.process import ROOT, clean_environment


@pytest.mark.parametrize(("ending", "status"), [("closed output", 1), ("Ctrl-C", 130)])
def test_predict_exits_without_a_traceback(ending: str, status: int) -> None:
    command = [sys.executable, "-m", "app", "predict", "--backend", "mock"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:  # type: ignore[call-overload]
        process.stdin.write("good\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["label"] == "positive"
        if ending == "Ctrl-C":
            process.send_signal(signal.SIGINT)
        else:
            process.stdout.close()
            process.stdin.write("bad\n")
            process.stdin.close()
        assert process.stderr.read() == ""
    assert process.returncode == status


BLANK, INVALID = 422, 400
PREDICT = [sys.executable, "-m", "app", "predict", "--backend", "mock"]


def labels(output: bytes) -> list[str | int]:
    """The label of each line, or the status of its error."""
    results = [json.loads(line) for line in output.decode().splitlines()]
    return [result["label"] if "label" in result else result["error"]["status"] for result in results]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (b"", []),
        (b"good", ["positive"]),
        (b"good\n", ["positive"]),
        (b"good\nbad", ["positive", "negative"]),
        (b"\n", [BLANK]),
        (b"\n\n\n", [BLANK] * 3),
        (b"good\n\nbad\n", ["positive", BLANK, "negative"]),
        (b"good\r\n\r\nbad\r\n", ["positive", BLANK, "negative"]),
        (b"good\rbad bad\n", ["negative"]),  # a carriage return alone ends no line
        ("good\u2028bad\u2029bad\nbad\u0085bad\n".encode(), ["negative", "negative"]),
        (b"bad\x0bbad\x0cgood\x1c\x1d\x1e\n", ["negative"]),
        (b"\x00\ngood\x00\n", [BLANK, "positive"]),
        (b" \t \n\xe2\x80\x8b\n", [BLANK] * 2),
        (b"\xff\xfe good\n\xc3\nbad\n", [INVALID, INVALID, "negative"]),  # not UTF-8
        (b"\xef\xbb\xbfgood\n", ["positive"]),
        (b"[fail]\ngood\n[nan]\n", [500, "positive", 500]),
    ],
)
def test_each_line_of_standard_input_gets_one_line(given: bytes, shown: list[str | int]) -> None:
    done = subprocess.run(PREDICT, cwd=ROOT, input=given, capture_output=True, check=False)
    assert labels(done.stdout) == shown
    assert done.returncode == int(any(isinstance(each, int) for each in shown))
    assert len(done.stderr.splitlines()) == sum(isinstance(each, int) for each in shown)


def test_each_argument_gets_one_line() -> None:
    texts = [b"good", b"", b" ", b"bad\nbad", b"\xff good", b"\xff", "bad\u2028".encode()]
    done = subprocess.run([*PREDICT, "--", *texts], cwd=ROOT, capture_output=True, check=False)
    assert labels(done.stdout) == ["positive", BLANK, BLANK, "negative", INVALID, INVALID, "negative"]
    assert done.returncode == 1


def test_a_closed_standard_input_has_no_lines() -> None:
    command = f"exec {shlex.join(PREDICT)} <&-"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_python_m_app_is_the_same_command() -> None:
    command = [sys.executable, "-m", "app", "predict", "good"]
    done = subprocess.run(
        command, cwd=ROOT, env=clean_environment(backend="mock"), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["label"] == "positive"


def test_an_address_in_use_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as ended:
            main(["serve", "--backend", "mock", "--port", str(port)])
    assert ended.value.code == 1
    assert f"SENTIMENT_PORT: cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


def test_a_run_writes_nothing_to_the_home_directory(tmp_path: Path) -> None:
    # Without CI=true, which would also keep ONNX Runtime from storing an id of the machine.
    variables = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-m", "app", "predict", "good"]
    subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, check=True)
    assert list(tmp_path.rglob("*")) == []
