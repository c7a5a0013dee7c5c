"""The pods of deploy/kubernetes have no right that they do not need."""

import re

import pytest

from tests.support.manifests import SHAPES, Manifests, load
from tests.support.process import ROOT

DOCKERFILE = ROOT / "Dockerfile"


@pytest.fixture(params=SHAPES)
def manifests(request: pytest.FixtureRequest) -> Manifests:
    return load(request.param)


def writable(shape: str) -> list[str]:
    """Where a container can write, beside its read-only root: bounded folders that go with the pod."""
    manifests = load(shape)
    volumes = {volume["name"]: volume for volume in manifests.template["spec"].get("volumes", [])}
    mounts = {mount["mountPath"]: mount for mount in manifests.container.get("volumeMounts", [])}
    assert {mount["name"] for mount in mounts.values()} == volumes.keys()
    places = [path for path, mount in mounts.items() if not mount.get("readOnly")]
    assert all(volumes[mounts[path]["name"]]["emptyDir"]["sizeLimit"] for path in places)
    return places


def test_pods_meet_the_restricted_standard_which_their_namespace_enforces(manifests: Manifests) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/: what it demands, and nothing it forbids."""
    pod, container = manifests.template["spec"], manifests.container["securityContext"]
    labels = manifests.one("Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["allowPrivilegeEscalation"] is False
    assert container["capabilities"] == {"drop": ["ALL"]}
    # Whatever else there is has been thought of.
    assert pod["securityContext"].keys() == {"runAsNonRoot", "runAsUser", "runAsGroup", "seccompProfile"}
    assert container.keys() == {"allowPrivilegeEscalation", "capabilities", "readOnlyRootFilesystem"}
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & pod.keys()
    assert all(port.keys() == {"name", "containerPort"} for port in manifests.container["ports"])


def test_pods_have_less_than_the_standard_lets_them(manifests: Manifests) -> None:
    pod, account = manifests.template["spec"], manifests.one("ServiceAccount")
    assert manifests.container["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["serviceAccountName"] == account["metadata"]["name"]
    assert (pod["automountServiceAccountToken"], account["automountServiceAccountToken"]) == (False, False)


def test_user_and_places_are_the_images() -> None:
    text = DOCKERFILE.read_text()
    [user] = re.findall(r"^USER (\d+)", text, re.MULTILINE)
    [hub] = re.findall(r"HF_HOME=(\S+)", text)
    assert load("files").template["spec"]["securityContext"]["runAsUser"] == int(user) != 0
    assert writable("overlays/mine") == [hub]


def test_pytorch_finds_a_folder_for_temporary_files() -> None:
    assert writable("overlays/gpu") == ["/tmp"]
    assert writable("overlays/cpu") == []
