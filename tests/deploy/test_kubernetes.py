"""The manifests in deploy/kubernetes are valid and match the service, where mistakes would only show in a cluster."""

import copy
import fnmatch
import re
from typing import Any

import kubernetes_validate
import pytest
import yaml
from prometheus_client import CollectorRegistry

from app import __version__
from app.config import Settings, load_settings
from app.main import create_app
from app.metrics import Metrics
from app.server.draining import _LAST_BYTES_S
from tests.support.gate import Gate
from tests.support.manifests import FOLDER, SHAPES, Manifests, env_file, files, load
from tests.support.process import EVERY_SIGNAL_COUNTS, ROOT, serve

KUBERNETES = "1.37"
NGINX = ROOT / "nginx" / "http.conf"
CUSTOM = {"ServiceMonitor"}  # of the Prometheus operator, so Kubernetes has no schema for it


@pytest.fixture(params=SHAPES)
def manifests(request: pytest.FixtureRequest) -> Manifests:
    return load(request.param)


@pytest.fixture
def settings(manifests: Manifests, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings that the process in the container reads."""
    for name, value in manifests.settings.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def selects(selector: dict[str, Any], labelled: dict[str, Any]) -> bool:
    assert selector.keys() == {"matchLabels"}, "only matchLabels is used here"
    return bool(selector["matchLabels"]) and selector["matchLabels"].items() <= labelled["metadata"]["labels"].items()


def series() -> set[str]:
    """The names of the gauges and counters that the service exposes."""
    Metrics(registry := CollectorRegistry())
    return {sample.name for family in registry.collect() for sample in family.samples}


def location(name: str) -> dict[str, str]:
    """The directives of a location of nginx/api.conf."""
    start = f"location ~ {name}" if name[0] == "/" else f"location {name} "
    block = (NGINX.parent / "api.conf").read_text().partition(start)[2]
    return dict(re.findall(r"^ +(\w+) +(.+?)s?;", block.partition("\n}")[0], re.MULTILINE))


def annotations(ingress: dict[str, Any]) -> dict[str, str]:
    """The annotations of an Ingress, by the names that nginx has for them, without the one that all have."""
    named = {
        name.rpartition("/")[2].replace("-", "_"): str(value)
        for name, value in ingress["metadata"]["annotations"].items()
    }
    del named["proxy_connect_timeout"]
    return {("client_max_body_size" if name == "proxy_body_size" else name): value for name, value in named.items()}


class TestSchema:
    def test_every_object_is_valid(self, manifests: Manifests) -> None:
        for document in manifests:
            if document["kind"] not in CUSTOM:
                kubernetes_validate.validate(document, KUBERNETES, strict=True)

    def test_the_schema_is_the_newest_one(self) -> None:
        assert kubernetes_validate.latest_version().startswith(f"{KUBERNETES}.")

    def test_a_misspelt_field_is_detected(self) -> None:
        wrong = copy.deepcopy(load("files").one("Deployment"))
        wrong["spec"]["template"]["spec"]["terminationGracePeriod"] = 40
        with pytest.raises(kubernetes_validate.ValidationError, match="terminationGracePeriod"):
            kubernetes_validate.validate(wrong, KUBERNETES, strict=True)

    @pytest.mark.parametrize("shape", SHAPES[1:])
    def test_all_objects_are_in_one_namespace(self, shape: str) -> None:
        used = {document["metadata"].get("namespace") for document in load(shape) if document["kind"] != "Namespace"}
        assert used == {load(shape).one("Namespace")["metadata"]["name"]}

    def test_every_file_is_used(self) -> None:
        used = {FOLDER / "components" / "prometheus" / "adapter-values.yaml"}
        for kustomization in FOLDER.rglob("kustomization.yaml"):
            content = yaml.safe_load(kustomization.read_text())
            names = [*content.get("resources", []), *(patch["path"] for patch in content.get("patches", []))]
            for generator in content.get("configMapGenerator", []):
                names += [*generator.get("envs", []), *generator.get("files", [])]
            used |= {kustomization, *(kustomization.parent / name for name in names)}
        assert {file for file in FOLDER.rglob("*") if file.is_file()} <= used


class TestSettings:
    def test_the_service_accepts_them(self, manifests: Manifests, settings: Settings) -> None:
        assert settings.profile == "prod"
        assert settings.host not in ("127.0.0.1", "::1", "localhost")
        for name in manifests.settings:
            assert name.removeprefix("SENTIMENT_").lower() in Settings.model_fields

    def test_the_pod_gets_them_and_the_optional_secret(self, manifests: Manifests) -> None:
        config, secret = manifests.container["envFrom"]
        assert config["configMapRef"]["name"] == manifests.all("ConfigMap")[0]["metadata"]["name"]
        assert secret["secretRef"]["optional"] is True
        for generated in manifests.all("Secret"):
            assert secret["secretRef"]["name"] == generated["metadata"]["name"]

    def test_kubernetes_adds_no_service_variables(self, manifests: Manifests) -> None:
        """For a Service of this name, it would set SENTIMENT_PORT=tcp://…."""
        assert manifests.one("Service")
        assert manifests.template["spec"]["enableServiceLinks"] is False

    def test_no_secret_is_in_the_repository(self) -> None:
        assert not [file for file in files() if yaml.safe_load(file.read_text())["kind"] == "Secret"]
        for file in FOLDER.rglob("*.env"):
            assert not re.search("TOKEN|KEY|SECRET|PASSWORD", " ".join(env_file(file)).replace("TOKENS", "")), file

    def test_the_documented_secret_reaches_the_pod(self) -> None:
        mine = load("overlays/mine")
        [secret] = mine.all("Secret")
        assert secret["metadata"]["name"].startswith("sentiment-secrets-")
        assert secret["data"].keys() == {"HF_TOKEN"}

    def test_the_documented_keys_reach_the_pod_as_an_updatable_file(self) -> None:
        mine = load("overlays/mine")
        [variable] = mine.container["env"]
        assert variable["name"] == "SENTIMENT_API_KEYS_FILE"
        folder, _, name = variable["value"].rpartition("/")
        [mount] = [mount for mount in mine.container["volumeMounts"] if mount["mountPath"] == folder]
        assert "subPath" not in mount
        [volume] = [volume for volume in mine.template["spec"]["volumes"] if volume["name"] == mount["name"]]
        command = f"create secret generic {volume['secret']['secretName']} --from-file={name}"
        document = " ".join((ROOT / "docs" / "deployment.md").read_text().split())
        assert command in document
        assert command in (FOLDER / "components" / "keys" / "kustomization.yaml").read_text()
        assert "sentiment-keys" not in str([*load("base"), *load("overlays/cpu")])


class TestLife:
    def test_every_probe_uses_a_route_of_the_service(self, manifests: Manifests) -> None:
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            action = manifests.container[probe]["httpGet"]
            assert action["port"] in manifests.ports
            assert action["path"] == ("/livez" if probe == "livenessProbe" else "/readyz")

    def test_the_probes_answer_correctly_in_each_state(self, gate: Gate) -> None:
        """Alive all the time; started once the model is ready; ready until SIGTERM."""
        container = load("files").container
        paths = [container[probe]["httpGet"]["path"] for probe in ("livenessProbe", "startupProbe", "readinessProbe")]
        prelude = gate.before_loading + EVERY_SIGNAL_COUNTS
        with serve(backend="mock", drain_delay_ms="600000", wait="listening", prelude=prelude) as server:

            def answers() -> list[int]:
                return [server.get(path).status_code for path in paths]

            assert answers() == [200, 503, 503]
            gate.open()
            server.wait_for("ready")
            assert answers() == [200, 200, 200]
            server.terminate()
            server.wait_for("draining")
            assert answers() == [200, 503, 503]

    def test_the_start_may_take_a_minute(self, manifests: Manifests) -> None:
        probe = manifests.container["startupProbe"]
        budget_s = probe["periodSeconds"] * probe["failureThreshold"]
        assert budget_s >= 60
        assert manifests.one("Deployment")["spec"]["progressDeadlineSeconds"] > budget_s

    def test_the_grace_period_covers_the_whole_shutdown(self, manifests: Manifests, settings: Settings) -> None:
        before_s = manifests.container["lifecycle"]["preStop"]["sleep"]["seconds"]
        drain_s = (settings.drain_delay_ms + settings.drain_timeout_ms) / 1000
        assert before_s >= 5
        assert manifests.template["spec"]["terminationGracePeriodSeconds"] >= before_s + drain_s + _LAST_BYTES_S + 5

    def test_the_drain_lasts_longer_than_any_request(self, settings: Settings) -> None:
        assert settings.drain_timeout_ms > settings.request_timeout_ms

    def test_a_rollout_adds_a_replica_before_it_removes_one(self, manifests: Manifests) -> None:
        strategy = manifests.one("Deployment")["spec"]["strategy"]["rollingUpdate"]
        assert strategy["maxUnavailable"] == 0
        assert strategy["maxSurge"] >= 1


class TestWiring:
    def test_selectors_select_the_pods(self, manifests: Manifests) -> None:
        pod = manifests.template
        spreads = pod["spec"]["topologySpreadConstraints"]
        assert {spread["topologyKey"] for spread in spreads} == {
            "topology.kubernetes.io/zone",
            "kubernetes.io/hostname",
        }
        selectors = [spread["labelSelector"] for spread in spreads]
        selectors += [manifests.one(kind)["spec"]["selector"] for kind in ("Deployment", "PodDisruptionBudget")]
        selectors += [policy["spec"]["podSelector"] for policy in manifests.all("NetworkPolicy")]
        selectors += [{"matchLabels": manifests.one("Service")["spec"]["selector"]}]
        assert len(selectors) >= 6
        assert [selector for selector in selectors if not selects(selector, pod)] == []

    def test_ports_agree_from_the_ingress_to_the_socket(self, manifests: Manifests, settings: Settings) -> None:
        service = manifests.one("Service")
        ports = {port["name"]: port for port in service["spec"]["ports"]}
        assert manifests.ports == {"http": settings.port}
        assert ports["http"]["targetPort"] in manifests.ports
        for rule in [rule for ingress in manifests.all("Ingress") for rule in ingress["spec"]["rules"]]:
            for path in rule["http"]["paths"]:
                assert path["backend"]["service"]["name"] == service["metadata"]["name"]
                assert path["backend"]["service"]["port"]["name"] in ports
        for policy in manifests.all("NetworkPolicy"):
            for rule in policy["spec"]["ingress"]:
                assert [port["port"] for port in rule["ports"]] == ["http"]
                assert rule["from"], "an empty list would allow everyone"

    def test_prometheus_finds_the_metrics(self, manifests: Manifests) -> None:
        for monitor in manifests.all("ServiceMonitor"):
            service = manifests.one("Service")
            [endpoint] = monitor["spec"]["endpoints"]
            assert selects(monitor["spec"]["selector"], service)
            assert monitor["spec"]["jobLabel"] in service["metadata"]["labels"]
            assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
            assert endpoint["path"] in create_app(Settings(backend="mock")).fastapi.openapi()["paths"]

    def test_shipped_overlays_have_a_monitor_and_the_base_needs_no_operator(self) -> None:
        assert [len(load(shape).all("ServiceMonitor")) for shape in ("base", "overlays/cpu", "overlays/gpu")] == [
            0,
            1,
            1,
        ]

    def test_the_service_opens_no_connections(self, manifests: Manifests) -> None:
        policy = manifests.one("NetworkPolicy")["spec"]
        assert "Egress" in policy["policyTypes"]
        ports = [port["port"] for rule in policy["egress"] for port in rule["ports"]]
        assert ports == ([53, 53, 443] if manifests.settings.get("SENTIMENT_MODEL") else [])

    def test_the_image_is_this_version(self, manifests: Manifests) -> None:
        tag = manifests.container["image"].rpartition(":")[2]
        assert tag == __version__ + ("-gpu" if "nvidia.com/gpu" in manifests.container["resources"]["limits"] else "")


class TestIngress:
    def test_limits_match_the_service(self, manifests: Manifests, settings: Settings) -> None:
        annotations = {
            name.rpartition("/")[2]: value
            for name, value in manifests.one("Ingress")["metadata"]["annotations"].items()
        }
        assert annotations["proxy-body-size"] == f"{settings.max_body_bytes // 2**20}m"
        assert settings.max_body_bytes % 2**20 == 0
        timeout_s = settings.request_timeout_ms / 1000
        assert float(annotations["proxy-next-upstream-timeout"]) < timeout_s < float(annotations["proxy-read-timeout"])

    def test_it_uses_the_same_proxy_settings_as_nginx(self, manifests: Manifests) -> None:
        directives = dict(re.findall(r"^(proxy_\w+) +(.+?);", NGINX.read_text(), re.MULTILINE))
        for name, value in manifests.one("Ingress")["metadata"]["annotations"].items():
            directive = name.rpartition("/")[2].replace("-", "_")
            if directive != "proxy_body_size":
                assert directives[directive].removesuffix("s") == value

    def test_streams_have_an_ingress_with_the_settings_of_nginx(self, manifests: Manifests, settings: Settings) -> None:
        stream = manifests.one("Ingress", "sentiment-stream")
        directives = location("/predict/stream")
        assert annotations(stream).items() <= directives.items()
        for name in ("proxy_read_timeout", "proxy_send_timeout", "client_body_timeout", "send_timeout"):
            assert float(directives[name]) > settings.stream_idle_s
        main = manifests.one("Ingress")["spec"]
        assert (stream["spec"]["tls"], stream["spec"]["rules"][0]["host"]) == (main["tls"], main["rules"][0]["host"])
        [path] = stream["spec"]["rules"][0]["http"]["paths"]
        assert (path["path"], path["pathType"]) == ("/predict/stream", "Exact")

    def test_jobs_have_an_ingress_with_the_settings_of_nginx(self, manifests: Manifests, settings: Settings) -> None:
        jobs = manifests.one("Ingress", "sentiment-jobs")
        mine, upload = annotations(jobs), location("/jobs/(inference|training)")
        assert mine.pop("proxy_read_timeout") + "s" in re.findall(r"proxy_read_timeout +(\w+);", NGINX.read_text())
        assert mine.pop("proxy_next_upstream") == location("@delete")["proxy_next_upstream"] == "off"
        assert mine.items() <= upload.items()
        assert mine["client_max_body_size"] == "1g"
        assert settings.job_max_upload_bytes == 2**30
        main = manifests.one("Ingress")["spec"]
        assert (jobs["spec"]["tls"], jobs["spec"]["rules"][0]["host"]) == (main["tls"], main["rules"][0]["host"])

    def test_every_route_except_the_metrics_is_public(self, manifests: Manifests) -> None:
        rules = [ingress["spec"]["rules"][0] for ingress in manifests.all("Ingress")]
        patterns = [
            pattern
            for path in [path for rule in rules for path in rule["http"]["paths"]]
            for pattern in ([path["path"]] + [path["path"] + "/*"] * (path["pathType"] == "Prefix"))
        ]
        app = create_app(Settings(backend="mock")).fastapi
        paths = {*app.openapi()["paths"], *(route.path for route in app.routes if hasattr(route, "path"))}
        assert {"/predict", "/predict/batch", "/docs", "/metrics"} <= paths
        closed = {path for path in paths if not any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)}
        assert closed == {"/metrics"}


class TestAutoscaler:
    def test_it_scales_the_deployment_within_its_budget(self, manifests: Manifests) -> None:
        scaler, deployment = manifests.one("HorizontalPodAutoscaler")["spec"], manifests.one("Deployment")
        target = scaler["scaleTargetRef"]
        assert (target["kind"], target["name"]) == (deployment["kind"], deployment["metadata"]["name"])
        assert "replicas" not in deployment["spec"], "each apply would reset the number"
        assert (
            scaler["maxReplicas"]
            > scaler["minReplicas"]
            > manifests.one("PodDisruptionBudget")["spec"]["maxUnavailable"]
        )

    def test_its_metrics_exist(self, manifests: Manifests) -> None:
        for metric in manifests.one("HorizontalPodAutoscaler")["spec"]["metrics"]:
            if metric["type"] == "Resource":
                assert metric["resource"]["name"] in manifests.container["resources"]["requests"]
            else:
                assert metric["pods"]["metric"]["name"] in series()

    def test_overlays_scale_on_the_queue_metric_of_the_adapter(self) -> None:
        values = FOLDER / "components" / "prometheus" / "adapter-values.yaml"
        [rule] = yaml.safe_load(values.read_text())["rules"]["custom"]
        name = rule["name"]["as"]
        assert rule["seriesQuery"].startswith(f"{name}{{")
        for shape in ("overlays/cpu", "overlays/gpu"):
            metrics = load(shape).one("HorizontalPodAutoscaler")["spec"]["metrics"]
            assert [metric["pods"]["metric"]["name"] for metric in metrics if metric["type"] == "Pods"] == [name]

    def test_requests_equal_limits(self, manifests: Manifests) -> None:
        """The service runs one batch per core of the limit: with less than one core, it would be throttled."""
        resources = manifests.container["resources"]
        assert resources["requests"] == resources["limits"]
        assert int(resources["limits"]["cpu"]) >= 1
