"""The component for background jobs matches the service, the workers and the figures that they report."""

import re

import kubernetes_validate
import pytest
import yaml

from app.config import Settings, load_settings
from app.jobs import QUEUES
from tests.deploy.test_kubernetes import CUSTOM, KUBERNETES, selects
from tests.support.manifests import FOLDER, Manifests, env_file, load
from tests.support.monitoring import JOBS, Query, documented
from tests.support.process import ROOT

WORKER = "sentiment-worker"


@pytest.fixture
def manifests() -> Manifests:
    return load("overlays/jobs")


def settings_of(manifests: Manifests, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in manifests.settings.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def test_every_object_is_valid(manifests: Manifests) -> None:
    for document in manifests:
        if document["kind"] not in CUSTOM | {"PodMonitor"}:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
    assert {document["metadata"]["namespace"] for document in manifests if document["kind"] != "Namespace"} == {
        "sentiment"
    }


def test_without_the_component_there_are_no_jobs() -> None:
    for shape in ("base", "overlays/cpu", "overlays/gpu"):
        assert [deployment["metadata"]["name"] for deployment in load(shape).all("Deployment")] == ["sentiment"]
        assert "redis-url" not in str(load(shape))


def test_service_and_workers_share_settings_store_redis_and_image(
    manifests: Manifests, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(manifests, monkeypatch)
    pods = [manifests.one("Deployment", name)["spec"]["template"]["spec"] for name in ("sentiment", WORKER)]
    service, worker = [pod["containers"][0] for pod in pods]
    assert service["image"] == worker["image"]
    assert service["image"].startswith("rt-sentiment-jobs:")
    assert service["env"] == worker["env"]
    assert service["envFrom"] == worker["envFrom"]
    assert worker["envFrom"][0]["configMapRef"]["name"] == manifests.all("ConfigMap")[0]["metadata"]["name"]
    assert pods[0]["volumes"] == pods[1]["volumes"]
    [mount] = worker["volumeMounts"]
    assert mount in service["volumeMounts"]
    assert settings.job_store.startswith(mount["mountPath"] + "/")
    assert mount["mountPath"] in re.findall(r"install --directory .* (/\S+)", (ROOT / "Dockerfile").read_text())
    claim = manifests.one("PersistentVolumeClaim", pods[0]["volumes"][0]["persistentVolumeClaim"]["claimName"])
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert worker["args"] == ["worker"]


def test_the_documented_secret_has_the_url_of_redis(manifests: Manifests) -> None:
    [variable] = manifests.one("Deployment", WORKER)["spec"]["template"]["spec"]["containers"][0]["env"]
    assert variable["name"] == "SENTIMENT_REDIS_URL"
    secret = variable["valueFrom"]["secretKeyRef"]
    command = f"create secret generic {secret['name']} --from-literal={secret['key']}="
    assert command in " ".join((ROOT / "docs" / "jobs.md").read_text().split())
    assert command in (FOLDER / "components" / "jobs" / "kustomization.yaml").read_text()
    assert not manifests.all("Secret")
    assert not re.search("REDIS|PASSWORD", " ".join(env_file(FOLDER / "components" / "jobs" / "settings.env")))


def test_a_worker_has_the_rights_of_the_service_and_no_more(manifests: Manifests) -> None:
    service, worker = (manifests.one("Deployment", name)["spec"]["template"]["spec"] for name in ("sentiment", WORKER))
    assert worker["securityContext"] == service["securityContext"]
    assert worker["securityContext"]["fsGroup"] == worker["securityContext"]["runAsGroup"]
    assert worker["containers"][0]["securityContext"] == service["containers"][0]["securityContext"]
    for name in ("serviceAccountName", "automountServiceAccountToken", "enableServiceLinks"):
        assert worker[name] == service[name]
    resources = worker["containers"][0]["resources"]
    assert resources["requests"] == resources["limits"]


def test_a_worker_gets_none_of_the_requests(manifests: Manifests) -> None:
    template = manifests.one("Deployment", WORKER)["spec"]["template"]
    assert selects(manifests.one("Deployment", WORKER)["spec"]["selector"], template)
    for selector in (
        {"matchLabels": manifests.one("Service")["spec"]["selector"]},
        *(manifests.one(kind)["spec"]["selector"] for kind in ("Deployment", "PodDisruptionBudget")),
    ):
        assert not selects(selector, template)


def test_the_probes_ask_the_port_of_the_worker(manifests: Manifests, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(manifests, monkeypatch)
    pod = manifests.one("Deployment", WORKER)["spec"]["template"]["spec"]
    container = pod["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"monitor": settings.worker_port}
    for probe in ("startupProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/livez", "port": "monitor"}
    assert "readinessProbe" not in container
    compose = yaml.safe_load((ROOT / "deploy" / "jobs.yml").read_text())["services"]["worker"]
    assert f"{pod['terminationGracePeriodSeconds']}s" == compose["stop_grace_period"]


def test_only_redis_and_the_dns_can_be_reached(manifests: Manifests) -> None:
    policy = manifests.one("NetworkPolicy", "sentiment-redis")["spec"]
    [expression] = policy["podSelector"]["matchExpressions"]
    assert (expression["operator"], set(expression["values"])) == ("In", {"sentiment", WORKER})
    assert policy["policyTypes"] == ["Egress"]
    assert [port["port"] for rule in policy["egress"] for port in rule["ports"]] == [53, 53, 6379]
    assert all(rule["to"] for rule in policy["egress"])
    closed = manifests.one("NetworkPolicy", WORKER)["spec"]
    assert (closed["ingress"], closed["egress"]) == ([], [])
    assert selects(closed["podSelector"], manifests.one("Deployment", WORKER)["spec"]["template"])


def test_prometheus_finds_the_figures_of_the_workers(manifests: Manifests) -> None:
    template = manifests.one("Deployment", WORKER)["spec"]["template"]
    monitor = manifests.one("PodMonitor", WORKER)["spec"]
    assert selects(monitor["selector"], template)
    [endpoint] = monitor["podMetricsEndpoints"]
    policy = manifests.one("NetworkPolicy", "sentiment-worker-metrics")["spec"]
    assert selects(policy["podSelector"], template)
    assert policy["ingress"][0]["ports"][0]["port"] == endpoint["port"] == "monitor"
    prometheus = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    scraped = [job["job_name"] for job in prometheus["scrape_configs"]]
    assert template["metadata"]["labels"][monitor["jobLabel"]] in scraped


def test_workers_are_scaled_by_the_jobs_that_run_or_wait(manifests: Manifests) -> None:
    scaler = manifests.one("HorizontalPodAutoscaler", WORKER)["spec"]
    assert scaler["scaleTargetRef"]["name"] == WORKER
    assert "replicas" not in manifests.one("Deployment", WORKER)["spec"], "each apply would reset the number"
    assert scaler["minReplicas"] >= 1, "without a worker, nobody looks for jobs whose time has come"
    values = yaml.safe_load((FOLDER / "components" / "prometheus" / "adapter-values.yaml").read_text())
    [rule] = values["rules"]["external"]
    [metric] = scaler["metrics"]
    assert metric["external"]["metric"]["name"] == rule["name"]["as"]
    query = rule["metricsQuery"].replace("<<.Series>>", rule["seriesQuery"].partition("{")[0])
    assert set(re.findall(r'queue=~"(.*?)"', query)[0].split("|")) <= set(QUEUES)
    found = Query("", re.sub(r"<<.*?>>", "", query)).metrics()
    assert found == {"sentiment_jobs_queued", "sentiment_jobs_running"}
    assert found <= documented(JOBS).keys()
