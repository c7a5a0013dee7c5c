"""The Dockerfile, the compose file and the files that they use fit together.

`deploy/image.sh` builds and runs the image, on machines that can do so.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from app.config import Settings
from app.server import draining as server
from tests.support.process import ROOT, Server, serve
from tests.support.waiting import HANG_S, until

BIN = Path(sys.executable).parent
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
COMPOSE_FILES = (ROOT / "docker-compose.yml", ROOT / "deploy" / "tls.yml", ROOT / "deploy" / "jobs.yml")


def run(*command: str | Path, **options: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, check=False, capture_output=True, text=True, **options)


def compose(*arguments: str) -> dict[str, Any]:
    """Return the parsed compose file; this needs no running engine."""
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    done = run(BIN / "docker-compose", *arguments, "config", "--format", "json", cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    config: dict[str, Any] = json.loads(done.stdout)
    return config


@pytest.fixture(scope="module")
def everything() -> dict[str, Any]:
    files = [word for file in COMPOSE_FILES for word in ("-f", str(file))]
    return compose(*files, "--profile", "*")


def seconds(duration: str) -> float:
    """`1m30s` in seconds."""
    return sum(float(number) * {"m": 60, "s": 1}[unit] for number, unit in re.findall(r"([\d.]+)([ms])", duration))


def test_replicas_follow_a_models_file_and_write_only_to_the_cache() -> None:
    files = [word for name in ("docker-compose.yml", "deploy/models.yml") for word in ("-f", str(ROOT / name))]
    service = compose(*files, "--profile", "prod")["services"]["sentiment"]
    mounts = {mount["target"]: mount for mount in service["volumes"]}
    settings = service["environment"]
    models, cache = str(Path(settings["SENTIMENT_MODELS_FILE"]).parent), settings["SENTIMENT_MODELS_CACHE"]
    assert mounts[models]["source"] == str(ROOT / "deploy" / "models")
    assert [target for target, mount in mounts.items() if not mount.get("read_only")] == [cache]
    assert settings["SENTIMENT_TRUSTED_PROXIES"]  # of docker-compose.yml


def healthcheck() -> list[str]:
    match = re.search(r"^HEALTHCHECK .*? CMD\s+(\[.*\])$", DOCKERFILE, flags=re.MULTILINE)
    assert match
    return [sys.executable, *json.loads(match[1])[1:]]


def health(**environment: str) -> int:
    return run(*healthcheck(), env=environment).returncode


def test_hadolint_accepts_the_dockerfile() -> None:
    done = run(BIN / "hadolint", ROOT / "Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


def test_shellcheck_accepts_the_scripts() -> None:
    scripts = [*ROOT.glob("deploy/**/*.sh"), *ROOT.glob("nginx/*.sh"), ROOT / ".ci" / "run"]
    done = run(BIN / "shellcheck", *scripts)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_build_context_has_exactly_what_the_dockerfile_copies() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, flags=re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    sources = {source for source in sources if not any(source.startswith(f"{folder}/") for folder in sources)}
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule[0] == "!"} == sources
    assert all((ROOT / source).exists() for source in sources)


def test_the_images_and_compose_set_only_settings_that_exist(everything: dict[str, Any]) -> None:
    """The service refuses unknown settings at its start."""
    named = set(re.findall(r"SENTIMENT_(\w+)=", "\n".join(re.findall(r"^ENV .*", DOCKERFILE, flags=re.MULTILINE))))
    for service in everything["services"].values():
        named |= {key.removeprefix("SENTIMENT_") for key in service.get("environment", ()) if "SENTIMENT_" in key}
    assert "PROFILE" in named
    assert {name.lower() for name in named} <= Settings.model_fields.keys()


def test_the_images_health_check_follows_the_service(mock_server: Server) -> None:
    port = mock_server.address.rpartition(":")[2]
    assert health(SENTIMENT_PORT=port) == 0
    assert health(SENTIMENT_PORT=port, http_proxy="http://127.0.0.1:9") == 0
    with serve(backend="mock", drain_delay_ms="600000") as draining:
        port = draining.address.rpartition(":")[2]
        assert health(SENTIMENT_PORT=port) == 0
        draining.terminate()
        draining.wait_for("draining")
        assert health(SENTIMENT_PORT=port) != 0
        draining.process.kill()
        draining.wait()
    assert health(SENTIMENT_PORT=port) != 0


def test_the_images_health_check_uses_tls_if_the_service_does(tmp_path: Path) -> None:
    pem = tmp_path / "both.pem"
    trustme.CA().issue_cert("sentiment.example").private_key_and_cert_chain_pem.write_to_path(pem)
    with serve(backend="mock", tls_cert_file=str(pem), tls_key_file=str(pem)) as server:
        port = server.address.rpartition(":")[2]
        assert health(SENTIMENT_PORT=port, SENTIMENT_TLS_CERT_FILE=str(pem)) == 0
        assert health(SENTIMENT_PORT=port) != 0


def test_without_buildah_the_image_test_exits_with_status_77(tmp_path: Path) -> None:
    for tool in ("bash", "dirname", "id", "mktemp", "rm"):
        path = shutil.which(tool)
        assert path
        (tmp_path / tool).symlink_to(path)
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    done = run(tmp_path / "bash", ROOT / "deploy" / "image.sh", env=environment)
    assert done.returncode == 77
    assert "skipped: " in done.stderr


@pytest.mark.parametrize(
    ("profile", "services"),
    [
        ((), {"nginx", "sentiment"}),
        (("--profile", "monitoring"), {"nginx", "sentiment", "prometheus", "grafana"}),
        (("--profile", "dev"), {"dev"}),
    ],
)
def test_compose_starts_the_services_of_each_profile(profile: tuple[str, ...], services: set[str]) -> None:
    assert compose(*profile)["services"].keys() == services


def test_every_file_that_compose_mounts_exists(everything: dict[str, Any]) -> None:
    """Docker would create an empty folder for a missing file."""
    sources = [
        Path(volume["source"])
        for service in everything["services"].values()
        for volume in service.get("volumes", ())
        if volume["type"] == "bind"
    ]
    assert sources
    assert [source for source in sources if not source.exists()] == []


def test_compose_mounts_the_whole_configuration_of_nginx(everything: dict[str, Any]) -> None:
    nginx = everything["services"]["nginx"]
    mounted = {volume["target"]: Path(volume["source"]) for volume in nginx["volumes"]}
    files = {f"/etc/nginx/{file.name}": file for file in (ROOT / "nginx").glob("*.conf")}
    assert mounted == files | {"/etc/nginx/plain.conf": ROOT / "nginx" / "tls.conf"}  # with deploy/tls.yml
    plain = compose()["services"]["nginx"]
    assert {volume["target"]: Path(volume["source"]) for volume in plain["volumes"]} == files
    certificates = {f"/etc/nginx/{file}" for file in re.findall(r"tls/\S+(?=;)", (ROOT / "nginx/tls.conf").read_text())}
    assert {secret["target"] for secret in nginx["secrets"]} == certificates


def test_dashboards_are_mounted_where_grafana_looks_for_them(everything: dict[str, Any]) -> None:
    mounts = {volume["target"] for volume in everything["services"]["grafana"]["volumes"]}
    providers = [*(ROOT / "deploy/grafana/provisioning/dashboards").glob("*.y*ml")]
    assert providers
    for file in providers:
        for provider in yaml.safe_load(file.read_text())["providers"]:
            assert provider["options"]["path"] in mounts


def test_the_worker_and_the_service_share_redis_and_the_store(everything: dict[str, Any]) -> None:
    worker, service = (everything["services"][name] for name in ("worker", "sentiment"))
    for name in ("REDIS_URL", "REDIS_PASSWORD_FILE", "JOB_STORE"):
        assert worker["environment"][f"SENTIMENT_{name}"] == service["environment"][f"SENTIMENT_{name}"]
    assert worker["image"] == service["image"]
    assert worker["command"] == ["worker"]
    [store] = worker["volumes"]
    assert store in service["volumes"]
    assert worker["environment"]["SENTIMENT_JOB_STORE"].startswith(store["target"])
    password = everything["services"]["redis"]["secrets"][0]["source"]
    assert {secret["source"] for each in (worker, service) for secret in each["secrets"]} == {password}


def test_the_stop_grace_period_covers_the_drain(everything: dict[str, Any]) -> None:
    prod = Settings(profile="prod")
    drain_s = (prod.drain_delay_ms + prod.drain_timeout_ms) / 1000 + server._LAST_BYTES_S
    assert seconds(everything["services"]["sentiment"]["stop_grace_period"]) > drain_s
    assert seconds(everything["services"]["nginx"]["stop_grace_period"]) > prod.request_timeout_ms / 1000


def test_ports_are_published_on_the_loopback_address_by_default(everything: dict[str, Any]) -> None:
    published = [port for service in everything["services"].values() for port in service.get("ports", ())]
    assert {port["published"] for port in published} == {"8000", "8443", "9090", "3000"}
    assert {port["host_ip"] for port in published} == {"127.0.0.1"}
    assert run("grep", "-c", "^PUBLISH=127.0.0.1 ", ROOT / ".env").stdout == "1\n"


def test_compose_documents_the_lines_that_enable_keys_and_rate_limits(everything: dict[str, Any]) -> None:
    lines = re.findall(r"^#   SENTIMENT_(\w+)=(.*)", (ROOT / "docker-compose.yml").read_text(), flags=re.MULTILINE)
    settings = Settings(**{name.lower(): value for name, value in lines})  # type: ignore[arg-type]
    assert settings.rate_limit
    assert settings.api_keys_file
    (mount,) = [each for each in everything["services"]["sentiment"]["volumes"] if each["type"] == "bind"]
    # The folder: a file that is mounted alone stays the old one when it is replaced.
    assert (Path(mount["source"]), mount["target"]) == (ROOT / "deploy" / "keys", str(settings.api_keys_file.parent))
    assert mount["read_only"]
    if (ROOT / ".git").exists():
        assert run("git", "check-ignore", "--quiet", "deploy/keys/keys.yaml", cwd=ROOT).returncode == 0


def test_images_and_actions_are_pinned_by_digest_or_commit(everything: dict[str, Any]) -> None:
    images = [service["image"] for service in everything["services"].values() if "build" not in service]
    images += re.findall(r"^ARG BASE=(.+)", DOCKERFILE, flags=re.MULTILINE)
    assert len(images) == 5
    assert [image for image in images if not re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", image)] == []
    workflows = "".join(file.read_text() for file in (ROOT / ".github" / "workflows").iterdir())
    actions = re.findall(r"uses: (.+)", workflows)
    assert actions
    assert [action for action in actions if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", action)] == []
    managers = json.loads((ROOT / ".github" / "renovate.json").read_text())["enabledManagers"]
    assert set(managers) == {"dockerfile", "docker-compose", "github-actions"}


def test_a_release_is_scanned_before_it_is_pushed_and_signed() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())["jobs"]
    names = [step.get("uses", step.get("run", "")).partition("@")[0] for step in jobs["image"]["steps"]]
    build, scan, sign = "docker/build-push-action", "anchore/scan-action", "actions/attest-build-provenance"
    assert [name for name in names if name in {build, scan, sign}] == [build, scan, build, sign]
    (pushed,) = [step["with"] for step in jobs["image"]["steps"] if step.get("with", {}).get("push")]
    assert (pushed["provenance"], pushed["sbom"]) == ("mode=max", True)
    assert any(step.get("uses", "").startswith(sign) for step in jobs["packages"]["steps"])
    for job in jobs.values():  # no more than each needs
        assert job["permissions"].keys() <= {"contents", "packages", "id-token", "attestations"}


def test_replicas_do_not_claim_a_name_or_a_port_of_the_host(everything: dict[str, Any]) -> None:
    assert not {"container_name", "ports"} & everything["services"]["sentiment"].keys()


def test_services_are_read_only_unprivileged_and_limited(everything: dict[str, Any]) -> None:
    for name, service in everything["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        if service["profiles"] != ["dev"]:
            assert service["deploy"]["resources"]["limits"].keys() >= {"cpus", "memory"}, name


def test_git_ignores_the_secrets(everything: dict[str, Any]) -> None:
    for secret in everything["secrets"].values():
        file = Path(secret["file"])
        assert file.parent == ROOT / "deploy" / "secrets"
        if (ROOT / ".git").exists():
            assert run("git", "check-ignore", "--quiet", file, cwd=ROOT).returncode == 0, file


def test_the_dev_service_restarts_when_its_code_changes(everything: dict[str, Any], tmp_path: Path) -> None:
    shutil.copytree(ROOT / "app", tmp_path / "app", ignore=shutil.ignore_patterns("__pycache__"))
    service = everything["services"]["dev"]
    environment = {"PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(tmp_path), "SENTIMENT_PORT": "0"}
    log = tmp_path / "log"
    with log.open("wb") as stream:
        watcher = subprocess.Popen(
            service["entrypoint"], cwd=tmp_path, env=service["environment"] | environment, stdout=stream, stderr=stream
        )
    try:
        until(lambda: log.read_text().count("ready address") == 1, on_timeout=log.read_text)

        def changes() -> bool:
            with (tmp_path / "app" / "config.py").open("a") as file:
                file.write("\n")
            return "stopped" in log.read_text()

        # watchfiles begins to watch some time after it has started the server.
        until(changes, interval_s=1, on_timeout=log.read_text)
        until(lambda: log.read_text().count("ready address") >= 2, on_timeout=log.read_text)
    finally:
        watcher.terminate()
        watcher.wait(HANG_S)
