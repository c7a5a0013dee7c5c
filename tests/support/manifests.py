"""The Kubernetes manifests as objects: read from their files, or built by kustomize."""

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.process import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
# The plain files, which need no tool; the shipped overlays; and the custom overlay from the documentation.
SHAPES = ["files", "base", "overlays/cpu", "overlays/gpu", "overlays/mine"]

# As docs/jobs.md says.
_WITH_JOBS = """
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: sentiment
resources: [../cpu]
components: [../../components/jobs, ../../components/jobs-autoscaler]
"""
# As docs/deployment.md says.
_OTHERS = {
    "overlays/blue": ("../cpu", "blue-green/blue"),
    "overlays/green": ("../cpu", "blue-green/green"),
    "overlays/entry": ("../../base", "blue-green/entry"),
    "overlays/models": ("../cpu", "models"),
}
_OTHER = """
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: sentiment
resources: [{}]
components: [../../components/{}]
"""


class Manifests(list[dict[str, Any]]):
    """The objects of one deployment."""

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [document for document in self if document["kind"] == kind]

    def one(self, kind: str, name: str = "sentiment") -> dict[str, Any]:
        """The object of this kind with the name of the service, or with another one."""
        [document] = [document for document in self.all(kind) if document["metadata"]["name"] == name]
        return document

    @property
    def settings(self) -> dict[str, str]:
        [config] = self.all("ConfigMap")
        return dict(config["data"])

    @property
    def template(self) -> dict[str, Any]:
        return dict(self.one("Deployment")["spec"]["template"])

    @property
    def container(self) -> dict[str, Any]:
        [container] = self.template["spec"]["containers"]
        return dict(container)

    @property
    def ports(self) -> dict[str, int]:
        """The container's ports by their names."""
        return {port["name"]: port["containerPort"] for port in self.container["ports"]}


def files() -> list[Path]:
    """The files that are complete objects: not kustomizations, patches, Helm values, models. Without jobs."""
    named = [file for file in sorted(FOLDER.rglob("*.yaml")) if re.fullmatch(r"[a-z-]+", file.stem)]
    whole = [file for file in named if file.stem != "kustomization" and not file.stem.endswith("-values")]
    return [file for file in whole if not file.parent.name.startswith(("jobs", "models"))]


def env_file(file: Path) -> dict[str, str]:
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


@functools.cache
def load(shape: str) -> Manifests:
    """The manifests of a shape. Skips the test if kubectl is needed but missing."""
    if shape == "files":
        settings = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "sentiment-settings"}}
        settings["data"] = env_file(FOLDER / "base" / "settings.env")
        return Manifests([settings, *(yaml.safe_load(file.read_text()) for file in files())])
    if shape not in ("overlays/mine", "overlays/jobs", *_OTHERS):
        return _build(FOLDER / shape)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "kubernetes"
        shutil.copytree(FOLDER, copy)
        (copy / shape).mkdir()
        overlay = documented_overlay() if shape == "overlays/mine" else _WITH_JOBS
        if shape in _OTHERS:
            overlay = _OTHER.format(*_OTHERS[shape])
        (copy / shape / "kustomization.yaml").write_text(overlay)
        (copy / shape / "secrets.env").write_text("HF_TOKEN=not-a-token\n")
        return _build(copy / shape)


def documented_overlay() -> str:
    texts = [file.read_text() for file in sorted((ROOT / "docs").glob("deployment*.md"))]
    blocks = [block for text in texts for block in re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]
    [overlay] = [block for block in blocks if "kind: Kustomization" in block]
    return overlay


def _build(kustomization: Path) -> Manifests:
    # Prefer the kubectl of the virtual environment.
    kubectl = shutil.which("kubectl", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if kubectl is None:
        pytest.skip("kubectl is not installed; it builds the overlays")
    done = subprocess.run([kubectl, "kustomize", kustomization], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "kubectl warns, for example about deprecated fields"
    return Manifests(yaml.safe_load_all(done.stdout))
