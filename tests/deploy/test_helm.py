"""The Helm chart describes the same deployment as the manifests of kustomize, and refuses what is wrong."""

import re
import shutil
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from app import __version__
from deploy import chart
from deploy.chart import CHART
from tests.deploy.test_kubernetes import KUBERNETES
from tests.support import helm
from tests.support.documents import ALL_BLOCKS
from tests.support.helm import CUSTOM, EQUAL, INGRESS, REDIS, SHAPES, refusal, render, shape
from tests.support.manifests import FOLDER, Manifests, load
from tests.support.process import ROOT

# Labels and annotations that only one of the two has. The instance is what the colour is for kustomize.
_ADDED = {
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "helm.sh/chart",
    "helm.sh/resource-policy",
    "sentiment/colour",
}


def plain(value: Any) -> Any:
    """A value without the labels that only one side has."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {name: plain(each) for name, each in value.items() if name not in _ADDED}
    return {name: each for name, each in kept.items() if each != {} or value[name] == {}}


def comparable(manifests: Manifests) -> dict[tuple[str, str], Any]:
    """The objects by kind and name, with the environment that a container gets, wherever its values are from."""
    settings = {
        each["metadata"]["name"]: each["data"]
        for each in manifests.all("ConfigMap")
        if each["metadata"]["name"].startswith("sentiment-settings")
    }
    compared = {}
    for each in manifests:
        name = re.sub(r"^sentiment-(metrics)-blue$", r"sentiment-blue-\1", each["metadata"]["name"])
        # The namespace has to be there before `helm install`, and secrets are yours.
        if each["kind"] in ("Namespace", "Secret") or name in settings or helm.is_hook(each):
            continue
        compared[each["kind"], name] = document = plain(each)
        document["metadata"]["name"] = name
        if each["kind"] == "Deployment":
            pod = document["spec"]["template"]["spec"]
            pod["volumes"] = sorted(pod.get("volumes", []), key=lambda volume: volume["name"])
            [container] = pod["containers"]
            container["volumeMounts"] = sorted(container.get("volumeMounts", []), key=lambda mount: mount["name"])
            variables = {each["name"]: each for each in container.get("env", [])}
            for source in container["envFrom"]:
                for key, value in settings.get(source.get("configMapRef", {}).get("name"), {}).items():
                    variables.setdefault(key, {"name": key, "value": value})
            container["env"] = variables
            container["envFrom"] = [
                re.sub(r"^(sentiment-secrets)-\w{10}$", r"\1", source["secretRef"]["name"])
                for source in container["envFrom"]
                if "secretRef" in source
            ]
    return compared


class TestEquality:
    @pytest.mark.parametrize("name", EQUAL)
    def test_it_has_the_objects_of_kustomize(self, name: str) -> None:
        mine, theirs = comparable(shape(name)), comparable(load(name))
        assert mine.keys() == theirs.keys()
        for key in theirs:
            assert mine[key] == theirs[key], key

    def test_a_difference_is_detected(self) -> None:
        mine = render("cpu", *INGRESS, "--set=preStopSeconds=6")
        theirs = comparable(load("overlays/cpu"))
        different = {key for key, each in comparable(mine).items() if each != theirs[key]}
        assert different == {("Deployment", "sentiment")}

    def test_every_setup_of_kustomize_is_compared(self) -> None:
        # components/keys and components/hub are in the overlay of the documentation.
        parts = {"keys": "mine", "hub": "mine", "prometheus": "cpu", "jobs-autoscaler": "jobs", "blue-green": "blue"}
        for folder in (FOLDER / "components").iterdir():
            assert f"overlays/{parts.get(folder.name, folder.name)}" in EQUAL
        assert {f"overlays/{folder.name}" for folder in (FOLDER / "overlays").iterdir()} <= EQUAL.keys()


class TestSchema:
    @pytest.mark.parametrize("behind", [0, 1, 2])
    @pytest.mark.parametrize("name", ["overlays/jobs", "all"])
    def test_objects_are_valid_in_the_last_three_versions(self, name: str, behind: int) -> None:
        major, minor = KUBERNETES.split(".")
        for document in shape(name):
            if document["kind"] not in CUSTOM:
                kubernetes_validate.validate(document, f"{major}.{int(minor) - behind}", strict=True)

    @pytest.mark.parametrize("name", SHAPES)
    def test_helm_finds_nothing_to_improve(self, name: str) -> None:
        done = helm.run("lint", "--strict", str(CHART), *helm.flags(SHAPES[name]))
        assert (done.returncode, done.stderr) == (0, "")
        assert "[WARNING]" not in done.stdout

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            ("replicaCount=3", "'replicaCount' not allowed"),
            ("jobs.workers=3", "'workers' not allowed"),
            ("settings.SENTIMENT_LOGLEVEL=info", "'SENTIMENT_LOGLEVEL' not allowed"),
            ("settings.SENTIMENT_API_KEYS_FILE=/keys", "'SENTIMENT_API_KEYS_FILE' not allowed"),
            ("image.digest=latest", "/image/digest"),
            ("autoscaling.type=vpa", "/autoscaling/type"),
            ("autoscaling.minReplicas=none", "/autoscaling/minReplicas"),
            ("resources.limits.memory=512MB", "/resources/limits/memory"),
            ("resources.limits.cpu=null", "/resources/limits"),
            ("gateway.enabled=true", "/gateway/parentRefs"),
            ("autoscaling.cpuPercent=0", "autoscaling: set cpuPercent or queueTexts"),
            ("models.enabled=true,models.file=text", "models.file is not a models file"),
        ],
    )
    def test_a_wrong_value_is_refused_by_its_name(self, value: str, reason: str) -> None:
        assert reason in refusal(f"--set={value}")

    def test_what_comes_from_elsewhere_is_current(self) -> None:
        for file, text in chart.render().items():
            assert file.read_text() == text, f"{file}: run `make chart`"

    def test_the_documented_values_are_accepted(self, tmp_path: Path) -> None:
        [block] = [block for block in ALL_BLOCKS if block.text.startswith("# mine.yaml\n")]
        (tmp_path / "mine.yaml").write_text(block.text)
        manifests = render("cpu", f"--values={tmp_path / 'mine.yaml'}")
        assert manifests.container["image"] == f"ghcr.io/you/rt-sentiment:{__version__}"
        assert manifests.one("Ingress")["spec"]["rules"][0]["host"] == "sentiment.you.example"

    def test_each_value_has_a_comment(self) -> None:
        with pytest.raises(ValueError, match=r"new\.value has no comment"):
            list(chart.rows_of("new:\n  value: 1\n"))

    def test_the_documentation_names_values_that_exist(self) -> None:
        files = (ROOT / "docs" / "deployment.md", CHART / "README.md", CHART / "templates" / "NOTES.txt")
        texts = [file.read_text() for file in files]
        known = {name for name, *_ in chart.rows_of((CHART / "values.yaml").read_text())}
        named = {name for text in texts for name in re.findall(r"--set(?:-file)? ([a-z][\w.]*)=", text)}
        assert {"image.repository", "entryFor"} <= named
        assert named - {"prometheus.url"} <= known  # that of another chart
        variants = {name for text in texts for name in re.findall(r"variants/(\w+\.yaml)", text)}
        assert variants <= {file.name for file in (CHART / "variants").iterdir()}


def test_the_notes_say_what_is_missing() -> None:
    def notes(*arguments: str) -> str:
        command = ("install", "sentiment", str(CHART), "--namespace", "shop", "--dry-run=client")
        done = helm.run(*command, *helm.flags(arguments))
        assert done.returncode == 0, done.stderr
        return done.stdout.partition("NOTES:")[2]

    assert "helm test sentiment -n shop" in notes()
    assert "Whoever can connect can use the service" in notes()
    with_keys = notes("--set=apiKeys.enabled=true", "cpu", *INGRESS)
    assert "Whoever" not in with_keys
    for secret in ("sentiment-keys --from-file=keys.yaml", "sentiment-tls --cert"):
        assert secret in with_keys
    assert "namespaces/shop/pods/*/sentiment_queue_texts" in with_keys
    assert "--from-literal=redis-password=" in notes(*REDIS)


def test_a_package_has_everything(tmp_path: Path) -> None:
    assert helm.run("package", str(CHART), "--destination", str(tmp_path)).returncode == 0
    [package] = tmp_path.glob("*.tgz")
    shutil.unpack_archive(package, tmp_path)
    unpacked = tmp_path / "rt-sentiment"
    names = {file.relative_to(CHART) for file in CHART.rglob("*") if file.is_file()} - {Path(".helmignore")}
    assert {file.relative_to(unpacked) for file in unpacked.rglob("*") if file.is_file()} >= names
