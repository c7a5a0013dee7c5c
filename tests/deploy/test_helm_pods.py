"""The pods of the Helm chart get what the values say, and what runs in them works."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from redis import AuthenticationError, Redis

from app.catalog import read
from app.config import Settings, load_settings
from app.server.draining import _LAST_BYTES_S
from deploy import chart
from nginx.process import free_port
from tests.deploy.test_kubernetes import selects, series
from tests.support.helm import ALL, GATEWAY, INGRESS, SHAPES, environment, pods, render, shape
from tests.support.monitoring import JOBS, Query, documented
from tests.support.process import ROOT, Server, serve
from tests.support.redis import SERVER, accepts_connections
from tests.support.waiting import until

PATH = {"PATH": f"{SERVER.parent}:{os.defpath}"}


class TestSettings:
    @pytest.mark.parametrize("name", [name for name in SHAPES if name != "overlays/entry"])
    def test_the_service_accepts_them(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        variables = environment(render(*SHAPES[name]))
        for variable, value in variables.items():
            monkeypatch.setenv(variable, value)
        settings = load_settings()
        assert (settings.profile, settings.port) == ("prod", 8000)
        if name == "overlays/gpu":
            assert (settings.max_batch_size, settings.max_batch_tokens) == (128, 16384)

    def test_settings_are_those_of_the_service_or_belong_to_a_value(self) -> None:
        assert Settings.model_fields.keys() >= chart.MANAGED
        assert len(chart.setting_names()) == len(Settings.model_fields) - len(chart.MANAGED)

    def test_large_and_fractional_numbers_keep_their_digits(self) -> None:
        values = "settings.SENTIMENT_MEMORY_LIMIT_BYTES=8589934592,settings.SENTIMENT_GOLDEN_AGREEMENT=0.95"
        for flag in ("--set", "--set-json"):
            variables = environment(render(f"{flag}={values}"))
            assert variables["SENTIMENT_MEMORY_LIMIT_BYTES"] == "8589934592"
            assert variables["SENTIMENT_GOLDEN_AGREEMENT"] == "0.95"

    def test_a_token_needs_the_keys_of_its_provider(self) -> None:
        values = "settings.SENTIMENT_JWT_JWKS=https://login.example.com/jwks.json,settings.SENTIMENT_JWT_ISSUER=i"
        egress = render(f"--set={values}").one("NetworkPolicy")["spec"]["egress"]
        assert [port["port"] for rule in egress for port in rule["ports"]] == [53, 53, 443]

    def test_the_models_file_reaches_the_pod_as_it_is(self, tmp_path: Path) -> None:
        file = tmp_path / "models.yaml"
        file.write_text(
            "# a canary\nmodels:\n  second:\n    versions: [{path: a, weight: 90}, {path: b, weight: 10}]\n"
            "  first:\n    versions: [{path: c}]\n"
        )
        manifests = render("--set=models.enabled=true", f"--set-file=models.file={file}")
        assert manifests.one("ConfigMap", "sentiment-models")["data"] == {"models.yaml": file.read_text()}
        assert [model.name for model in read(file).models] == ["second", "first"]
        assert manifests.template == render("--set=models.enabled=true").template, "a change would restart the replicas"
        assert environment(manifests)["SENTIMENT_MODELS_FILE"].endswith("/models.yaml")

    def test_the_time_to_shut_down_follows_the_settings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SENTIMENT_PROFILE", "prod")
        drain_s = (load_settings().drain_delay_ms + load_settings().drain_timeout_ms) / 1000
        assert render().template["spec"]["terminationGracePeriodSeconds"] == 5 + drain_s + _LAST_BYTES_S + 8
        values = "preStopSeconds=15,settings.SENTIMENT_DRAIN_TIMEOUT_MS=60500,settings.SENTIMENT_DRAIN_DELAY_MS=1000"
        pod = render(f"--set={values}").template["spec"]
        assert pod["terminationGracePeriodSeconds"] == 15 + 62 + _LAST_BYTES_S + 8
        assert pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] == 15

    def test_the_limits_of_ingress_and_gateway_follow_the_settings(self) -> None:
        values = "settings.SENTIMENT_REQUEST_TIMEOUT_MS=29500,settings.SENTIMENT_MAX_BODY_BYTES=8000000"
        more = "settings.SENTIMENT_JOB_MAX_UPLOAD_BYTES=5000000000"
        manifests = render(*INGRESS, *GATEWAY, f"--set={values},{more}")
        main, jobs = (
            {
                key.partition("/")[2]: value
                for key, value in manifests.one("Ingress", name)["metadata"]["annotations"].items()
            }
            for name in ("sentiment", "sentiment-jobs")
        )
        assert (main["proxy-body-size"], jobs["proxy-body-size"]) == ("8m", "4769m")
        assert (main["proxy-next-upstream-timeout"], main["proxy-read-timeout"]) == ("28", "35")
        assert manifests.one("HTTPRoute")["spec"]["rules"][0]["timeouts"]["request"] == "35s"
        fields = Settings.model_fields
        defaults = [fields[name].default for name in ("request_timeout_ms", "max_body_bytes", "job_max_upload_bytes")]
        assert defaults == [10_000, 4 * 2**20, 2**30], "the chart has these, too"

    def test_with_a_certificate_probes_and_prometheus_use_https(self) -> None:
        manifests = render("cpu", *INGRESS, "--set=settings.SENTIMENT_TLS_CERT_FILE=/tls/tls.crt")
        probes = [manifests.container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
        assert [probe["scheme"] for probe in probes] == ["HTTPS"] * 3
        assert manifests.one("ServiceMonitor")["spec"]["endpoints"][0]["scheme"] == "https"
        assert all("HTTPS" in str(ingress["metadata"]["annotations"]) for ingress in manifests.all("Ingress"))
        assert pods(manifests)["sentiment-test"]["spec"]["containers"][0]["args"][-1] == "https://sentiment:80"


class TestWiring:
    def test_every_pod_meets_the_restricted_standard(self) -> None:
        templates = pods(shape("all"))
        assert templates.keys() == {"sentiment", "sentiment-worker", "sentiment-redis", "sentiment-test"}
        for template in templates.values():
            pod = template["spec"]
            [container] = pod["containers"]
            assert pod["securityContext"]["runAsNonRoot"] is True
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert pod["automountServiceAccountToken"] is False
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["requests"] == container["resources"]["limits"]
            mounts = {mount["name"] for mount in container.get("volumeMounts", [])}
            claims = {"data"} if container["name"] == "redis" else set()
            assert mounts == {volume["name"] for volume in pod.get("volumes", [])} | claims

    def test_each_selector_selects_the_pods_of_one_part(self) -> None:
        manifests = shape("all")
        expected = {"sentiment": "sentiment", "sentiment-redis": "sentiment-redis"}
        for service in manifests.all("Service"):
            selector = {"matchLabels": service["spec"]["selector"]}
            chosen = [name for name, template in pods(manifests).items() if selects(selector, template)]
            assert chosen == [expected[service["metadata"]["name"]]]

    def test_two_releases_in_a_namespace_share_nothing(self) -> None:
        blue, green = (render(*ALL, release=f"sentiment-{colour}") for colour in ("blue", "green"))
        assert not {(each["kind"], each["metadata"]["name"]) for each in blue} & {
            (each["kind"], each["metadata"]["name"]) for each in green
        }
        [template] = [pods(green)["sentiment-green"]]
        for kind in ("Deployment", "PodDisruptionBudget"):
            assert not selects(blue.one(kind, "sentiment-blue")["spec"]["selector"], template)
        assert not selects({"matchLabels": blue.one("Service", "sentiment-blue")["spec"]["selector"]}, template)

    def test_the_gateway_has_the_routes_of_the_ingress(self) -> None:
        ingresses = [rule for each in shape("base").all("Ingress") for rule in each["spec"]["rules"]]
        theirs = {(path["path"], path["pathType"]) for rule in ingresses for path in rule["http"]["paths"]}
        route = shape("gateway").one("HTTPRoute")["spec"]
        paths = [match["path"] for rule in route["rules"] for match in rule["matches"]]
        assert {(path["value"], path["type"].removeprefix("Path")) for path in paths} == theirs
        [backend] = {str(rule["backendRefs"]) for rule in route["rules"]}
        [port] = shape("gateway").one("Service")["spec"]["ports"]
        assert backend == str([{"name": "sentiment", "port": port["port"]}])
        assert [rule["timeouts"]["request"] for rule in route["rules"]] == ["15s", "0s"]

    def test_the_rules_are_those_of_prometheus(self) -> None:
        rules = render("cpu", "--set=prometheus.rules=true,prometheus.runbook=https://you.example/runbook")
        groups = rules.one("PrometheusRule")["spec"]["groups"]
        texts = [(ROOT / "deploy" / "prometheus" / name).read_text() for name in ("rules.yml", "alerts.yml")]
        expected = [text.replace("docs/runbook.md", "https://you.example/runbook") for text in texts]
        assert groups == [group for text in expected for group in yaml.safe_load(text)["groups"]]
        monitor = rules.one("ServiceMonitor")["spec"]
        assert rules.one("Service")["metadata"]["labels"][monitor["jobLabel"]] == "sentiment", "job=... in the rules"

    def test_keda_reads_metrics_that_exist(self) -> None:
        service, worker = (
            shape("keda").one("ScaledObject", name)["spec"] for name in ("sentiment", "sentiment-worker")
        )
        [trigger] = [each["metadata"] for each in service["triggers"] if each["type"] == "prometheus"]
        [name] = re.findall(r"\((sentiment_\w+)\{", trigger["query"])
        assert name in series()
        assert trigger["threshold"] == "32"
        query = worker["triggers"][0]["metadata"]["query"]
        assert Query("", re.sub(r"\{.*?\}", "", query)).metrics() <= documented(JOBS).keys()
        assert worker["minReplicaCount"] >= 1
        assert not shape("keda").all("HorizontalPodAutoscaler")

    def test_its_redis_is_that_of_compose(self) -> None:
        compose = yaml.safe_load((ROOT / "deploy" / "jobs.yml").read_text())["services"]["redis"]
        pod = pods(shape("redis"))["sentiment-redis"]["spec"]
        [container] = pod["containers"]
        theirs = compose["entrypoint"][-1].replace("$$", "$").replace("/run/secrets/", "/etc/redis/").replace("_", "-")
        assert container["command"][-1] == theirs
        assert container["image"] == compose["image"]
        assert compose["user"] == f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"

    def test_service_and_workers_find_that_redis(self) -> None:
        manifests = shape("redis")
        for name in ("sentiment", "sentiment-worker"):
            pod = manifests.one("Deployment", name)["spec"]["template"]["spec"]
            variables = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
            service = manifests.one("Service", "sentiment-redis")
            assert variables["SENTIMENT_REDIS_URL"] == f"redis://{service['metadata']['name']}:6379/0"
            folder, _, file = variables["SENTIMENT_REDIS_PASSWORD_FILE"].rpartition("/")
            [mount] = [each for each in pod["containers"][0]["volumeMounts"] if each["mountPath"] == folder]
            [volume] = [each for each in pod["volumes"] if each["name"] == mount["name"]]
            assert [item["path"] for item in volume["secret"]["items"]] == [file]

    def test_an_object_store_needs_no_volume(self) -> None:
        manifests = render("jobs", "--set=settings.SENTIMENT_JOB_STORE=s3://bucket/jobs")
        assert not manifests.all("PersistentVolumeClaim")
        assert not any("volumes" in template["spec"] for template in pods(manifests).values())


class TestLive:
    """What runs in the pods, run here."""

    def smoke(self, address: str) -> "subprocess.CompletedProcess[str]":
        [container] = pods(render())["sentiment-test"]["spec"]["containers"]
        assert container["command"] == ["python", "-ISc"]
        script, url = container["args"]
        assert url == "http://sentiment:80"
        return subprocess.run([sys.executable, "-ISc", script, address], capture_output=True, text=True, check=False)

    def test_the_test_of_a_release_sends_predictions(self, server: Server) -> None:
        done = self.smoke(server.address)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "ready\n'I love it.' is positive\n'I want my money back.' is negative\n"

    def test_the_test_of_a_release_with_keys_says_what_it_left_out(self, tmp_path: Path) -> None:
        (tmp_path / "keys.yaml").write_text(f"shop: sha256:{'0' * 64}\n")
        with serve(backend="mock", api_keys_file=str(tmp_path / "keys.yaml")) as server:
            done = self.smoke(server.address)
        assert (done.returncode, done.stderr) == (0, "")
        assert "need an API key" in done.stdout

    def test_redis_asks_for_the_password_of_the_secret(self, tmp_path: Path) -> None:
        [container] = pods(shape("redis"))["sentiment-redis"]["spec"]["containers"]
        (tmp_path / "redis-password").write_text("of-the-test\n")
        port = free_port()

        def here(script: str) -> list[str]:
            script = re.sub(r"(?<= )/(etc/redis|tmp)(?=/)|(?<=--dir )/data", str(tmp_path), script)
            return ["sh", "-c", script.replace("redis-cli", f"redis-cli -p {port}")]

        with subprocess.Popen(
            here(container["command"][-1] + f" --port {port} --bind 127.0.0.1"), env=PATH, stdout=subprocess.DEVNULL
        ) as process:
            try:
                until(lambda: accepts_connections(port))
                probe = here(container["readinessProbe"]["exec"]["command"][-1])
                assert subprocess.run(probe, env=PATH, check=False).returncode == 0
                with Redis(port=port) as stranger, pytest.raises(AuthenticationError):
                    stranger.ping()
                with Redis(port=port, password="of-the-test") as client:
                    assert "yes" in str(client.config_get("appendonly"))
                assert "of-the-test" not in Path(f"/proc/{process.pid}/cmdline").read_text()
            finally:
                process.kill()
