"""What the Makefile does with the variables of its command line."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.process import ROOT, clean_environment

TARGETS = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
STAMPS = [part for kind in ("serve", "dev", "perf") for part in ("--old-file", f".venv/{kind}.stamp")]
ECHO = """\
#!/bin/sh
echo "${0##*/} $*"
env | grep ^SENTIMENT_ | sort
exit 0
"""


@pytest.fixture
def make(tmp_path: Path) -> "Make":
    return Make(tmp_path)


class Make:
    """Runs make with programs that print their arguments and the settings in their environment."""

    def __init__(self, programs: Path) -> None:
        self._bin = f"BIN={programs}"
        for name in ("rt-sentiment", "watchfiles", "python", "coverage", "ruff", "mypy", "bandit"):
            (programs / name).write_text(ECHO)
            (programs / name).chmod(0o755)

    def __call__(self, *arguments: str, status: int = 0, **settings: str) -> str:
        environment = {
            name: value
            for name, value in clean_environment(**settings).items()
            if not name.startswith(("MAKE", "ARGS"))
        }
        command = ["make", "--no-print-directory", *STAMPS, self._bin, *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        assert done.returncode == status, done.stdout
        return done.stdout


@pytest.mark.parametrize("target", ["serve", "dev", "replicas"])
def test_settings_may_be_variables_of_make(target: str, make: Make) -> None:
    shown = make(target, "PORT=9000", "MODEL=a path/$$it's", "LOG_LEVEL=debug", "ARGS=--slots 1", port="1", host="::")
    for line in ("PORT=9000", "MODEL=a path/$it's", "LOG_LEVEL=debug", "HOST=::"):
        assert f"\nSENTIMENT_{line}\n" in shown
    assert "--slots 1" in shown.splitlines()[0]
    assert not re.search("SENTIMENT_(ARGS|BIN|N)=", shown)


def test_a_variable_that_is_no_setting_is_refused_by_the_service(make: Make) -> None:
    assert "\nSENTIMENT_PROT=80\n" in make("serve", "PROT=80")  # which refuses unknown settings
    assert "\nSENTIMENT_N=2\n" in make("serve", "N=2")


def test_the_environment_of_other_programs_is_no_setting(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "1")
    assert "SENTIMENT_PORT" not in make("serve")


@pytest.mark.parametrize(
    ("given", "backend", "profile"),
    [
        ([], "mock", "dev"),
        (["BACKEND=onnx"], "onnx", "dev"),
        (["MODEL=a"], "auto", "dev"),
        (["MODEL=a", "BACKEND=torch"], "torch", "dev"),
        (["PROFILE=prod"], "mock", "prod"),
    ],
)
def test_make_dev_serves_the_mock_unless_told_otherwise(
    given: list[str], backend: str, profile: str, make: Make
) -> None:
    shown = make("dev", *given)
    assert f"\nSENTIMENT_BACKEND={backend}\n" in shown
    assert f"\nSENTIMENT_PROFILE={profile}\n" in shown


def test_files_of_make_export_and_evaluate_are_in_quotes(make: Make) -> None:
    """Otherwise the shell takes `&`, and make succeeds without an export."""
    source = "f.csv?text=review&label=stars"
    assert f"--out b --dev {source} it's.tsv\n" in make("export", "MODEL=a", "OUT=b", f"DEV={source} it's.tsv")
    assert "--dev docs/api.md docs/architecture.md docs/artifacts.md\n" in make(
        "export", "MODEL=a", "OUT=b", "DEV=docs/a*.md"
    )
    assert f"--data {source}\n" in make("evaluate", f"DEV={source}")


def test_make_replicas_starts_n(make: Make) -> None:
    assert "--replicas 2" in make("replicas")
    assert "--replicas 3" in make("replicas", "N=3")


def test_make_ray_takes_settings_and_flags(make: Make) -> None:
    shown = make("--dry-run", "--old-file", ".venv-ray/ray.stamp", "ray", "PORT=9000", "ARGS=--max-replicas 4")
    assert shown.endswith("exec .venv-ray/bin/python -m deploy.ray.serve --max-replicas 4\n")


def test_coverage_has_a_limit_for_the_whole_suite_only(make: Make) -> None:
    assert "coverage report\n" in make("test").replace(" \n", "\n")
    assert "coverage report --fail-under=0\n" in make("test", "ARGS=tests/unit/test_cpu.py")


@pytest.mark.parametrize(
    "target", [name for name in TARGETS if name not in ("serve", "dev", "replicas", "jobs", "ray")]
)
def test_a_variable_that_a_target_does_not_use_is_refused(target: str, make: Make) -> None:
    assert f"make {target} does not use PROT; it takes " in make("--dry-run", target, "PROT=80", status=2)


@pytest.mark.parametrize(
    ("target", "variable"),
    [
        ("lint", "ARGS"),
        ("test", "N"),
        ("export", "PORT"),
        ("perf-gate", "HOST"),
        ("bench", "MODEL"),
        ("clean", "MODEL"),
    ],
)
def test_a_variable_of_another_target_is_refused(target: str, variable: str, make: Make) -> None:
    assert f"make {target} does not use {variable}; it takes " in make("--dry-run", target, f"{variable}=1", status=2)


def test_two_targets_take_the_variables_of_both(make: Make) -> None:
    shown = make("lint", "test", "ARGS=tests/unit")
    assert "mypy" in shown
    assert "tests/unit" in shown


@pytest.mark.parametrize(
    ("target", "given"),
    [
        ("export", ["MODEL=some/model", "OUT=models/x", "DEV=a.tsv", "ARGS=--flag"]),
        ("evaluate", ["MODEL=some/model", "DEV=a.tsv b.tsv", "ARGS=--flag"]),
        ("test", ["ARGS=--flag", "TESTERS=7"]),
        ("check", ["ARGS=--flag", "TESTERS=7"]),
        *(
            (name, ["ARGS=--flag"])
            for name in ("bench", "bench-nginx", "perf", "perf-gate", "overload", "chaos", "fuzz")
        ),
    ],
)
def test_each_variable_that_a_target_takes_reaches_its_program(target: str, given: list[str], make: Make) -> None:
    shown = make(target, *given)
    for variable in given:
        assert variable.partition("=")[2] in shown


@pytest.mark.parametrize("given", [[], ["MODEL=a"], ["OUT=b"]])
def test_make_export_says_what_is_missing_before_it_installs(given: list[str], tmp_path: Path) -> None:
    environment = {name: value for name, value in clean_environment().items() if not name.startswith("MAKE")}
    command = ["make", "export", f"BIN={tmp_path}", *given]  # without stamps: it would install into an empty folder
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "usage: make export MODEL=" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(("variables", "status"), [((), 0), (("ADVISORIES=",), 0), (("ADVISORIES=required",), 2)])
def test_an_audit_without_advisories_says_so_or_fails(
    variables: tuple[str, ...], status: int, make: Make, tmp_path: Path
) -> None:
    offline = 'case "$1" in -c) exit 1;; esac\n'
    (tmp_path / "python").write_text(ECHO.replace("exit 0\n", f"{offline}exit 0\n"))
    shown = make("audit", *variables, status=status)
    assert "NOT CHECKED for known vulnerabilities" in shown
    assert "pip-audit" not in shown


def test_ci_requires_the_advisories() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert "- run: bash .ci/run\n        env: {ADVISORIES: required}\n" in workflow


def planned(stamp: str) -> list[str]:
    """Return the commands of Python that would make a new environment."""
    command = ["make", "--dry-run", "--always-make", f".venv/{stamp}.stamp"]
    environment = {name: value for name, value in clean_environment().items() if not name.startswith("MAKE")}
    shown = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    return [line.strip() for line in shown.splitlines() if "python" in line]


def test_a_new_environment_gets_a_pinned_pip_and_no_setuptools() -> None:
    venv, uninstall, pip, *_ = planned("serve")
    assert venv.endswith("-m venv .venv")
    assert uninstall.endswith("uninstall --quiet --yes setuptools")
    assert pip.endswith("--no-deps --require-hashes --requirement requirements/pip.txt")


@pytest.mark.parametrize(("stamp", "files"), [("serve", 2), ("perf", 3), ("dev", 6)])
def test_every_package_is_installed_by_its_hash(stamp: str, files: int) -> None:
    installs = [line for line in planned(stamp) if "pip install" in line and not line.endswith("--editable .")]
    assert len(installs) == files
    assert all("--no-deps --require-hashes --requirement requirements" in line for line in installs)
