"""The pods of deploy/kubernetes have only the rights that they need."""

import re

import pytest

from tests.support.manifests import SHAPES, Manifests, load
from tests.support.process import ROOT

DOCKERFILE = ROOT / "Dockerfile"


@pytest.fixture(params=SHAPES)
def manifests(request: pytest.FixtureRequest) -> Manifests:
    return load(request.param)


def writable(shape: str) -> list[str]:
    """The writable folders of a container: each has a size limit and is deleted with the pod."""
    manifests = load(shape)
    volumes = {volume["name"]: volume for volume in manifests.template["spec"].get("volumes", [])}
    mounts = {mount["mountPath"]: mount for mount in manifests.container.get("volumeMounts", [])}
    assert {mount["name"] for mount in mounts.values()} == volumes.keys()
    paths = [path for path, mount in mounts.items() if not mount.get("readOnly")]
    assert all(volumes[mounts[path]["name"]]["emptyDir"]["sizeLimit"] for path in paths)
    return paths


def test_pods_meet_the_restricted_pod_security_standard(manifests: Manifests) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/."""
    pod, container = manifests.template["spec"], manifests.container["securityContext"]
    labels = manifests.one("Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["allowPrivilegeEscalation"] is False
    assert container["capabilities"] == {"drop": ["ALL"]}
    # Any new field needs a look at the standard.
    assert pod["securityContext"].keys() == {"runAsNonRoot", "runAsUser", "runAsGroup", "seccompProfile"}
    assert container.keys() == {"allowPrivilegeEscalation", "capabilities", "readOnlyRootFilesystem"}
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & pod.keys()
    assert all(port.keys() == {"name", "containerPort"} for port in manifests.container["ports"])


def test_pods_have_fewer_rights_than_the_standard_allows(manifests: Manifests) -> None:
    pod, account = manifests.template["spec"], manifests.one("ServiceAccount")
    assert manifests.container["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["serviceAccountName"] == account["metadata"]["name"]
    assert (pod["automountServiceAccountToken"], account["automountServiceAccountToken"]) == (False, False)


def test_user_and_writable_folders_match_the_image() -> None:
    text = DOCKERFILE.read_text()
    [user] = re.findall(r"^USER (\d+)", text, re.MULTILINE)
    [hub] = re.findall(r"HF_HOME=(\S+)", text)
    assert load("files").template["spec"]["securityContext"]["runAsUser"] == int(user) != 0
    assert writable("overlays/mine") == [hub]


def test_only_the_gpu_pod_has_a_folder_for_temporary_files() -> None:
    assert writable("overlays/gpu") == ["/tmp"]
    assert writable("overlays/cpu") == []
