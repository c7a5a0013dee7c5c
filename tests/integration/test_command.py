"""The command `rt-sentiment` as a process: signals, pipes, sockets and files."""

import json
import os
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
