"""The pods of deploy/kubernetes against the Pod Security Standards, and that check against all that it must find."""

import copy
import re

import pytest

from tests.manifests import SHAPES, Manifests, load
from tests.pod_security import violations
from tests.process import ROOT

DOCKERFILE = ROOT / "Dockerfile"
SPOIL = {
    "hostNetwork": lambda pod, _: pod.update(hostNetwork=True),
    "hostPID": lambda pod, _: pod.update(hostPID=True),
    "volume types": lambda pod, _: pod.update(volumes=[{"name": "x", "hostPath": {"path": "/"}}]),
    "sysctls": lambda pod, _: pod["securityContext"].update(sysctls=[{"name": "kernel.msgmax", "value": "1"}]),
    "runAsNonRoot": lambda pod, _: pod["securityContext"].pop("runAsNonRoot"),
    "runAsUser": lambda _, container: container["securityContext"].update(runAsUser=0),
    "seccompProfile": lambda pod, _: pod["securityContext"].pop("seccompProfile"),
    "seLinuxOptions": lambda pod, _: pod["securityContext"].update(seLinuxOptions={"type": "spc_t"}),
    "appArmorProfile": lambda pod, _: pod["securityContext"].update(appArmorProfile={"type": "Unconfined"}),
    "hostProcess": lambda pod, _: pod["securityContext"].update(windowsOptions={"hostProcess": True}),
    "privileged": lambda _, container: container["securityContext"].update(privileged=True),
    "allowPrivilegeEscalation": lambda _, container: container["securityContext"].pop("allowPrivilegeEscalation"),
    "capabilities: drop ALL": lambda _, container: container["securityContext"].pop("capabilities"),
    "capabilities: add": lambda _, container: container["securityContext"]["capabilities"].update(add=["SYS_TIME"]),
    "procMount": lambda _, container: container["securityContext"].update(procMount="Unmasked"),
    "hostPort": lambda _, container: container["ports"][0].update(hostPort=80),
    "host of probes and hooks": lambda _, container: container["livenessProbe"]["httpGet"].update(host="10.0.0.1"),
}


@pytest.fixture(params=SHAPES)
def manifests(request: pytest.FixtureRequest) -> Manifests:
    return load(request.param)


def writable(shape: str) -> list[str]:
    """Where a container can write, beside its read-only root: bounded folders that go with the pod."""
    manifests = load(shape)
    volumes = {volume["name"]: volume for volume in manifests.template["spec"].get("volumes", [])}
    assert all(volume["emptyDir"]["sizeLimit"] for volume in volumes.values())
    mounts = {mount["mountPath"]: mount["name"] for mount in manifests.container.get("volumeMounts", [])}
    assert set(mounts.values()) == volumes.keys()
    return list(mounts)


def test_pods_meet_the_restricted_standard_which_their_namespace_enforces(manifests: Manifests) -> None:
    assert violations(manifests.template) == []
    labels = manifests.one("Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("control", SPOIL)
def test_each_control_of_the_standard_is_looked_at(control: str) -> None:
    template = copy.deepcopy(load("files").template)
    SPOIL[control](template["spec"], template["spec"]["containers"][0])
    assert violations(template) == [control]


def test_pods_have_less_than_the_standard_lets_them(manifests: Manifests) -> None:
    pod, account = manifests.template["spec"], manifests.one("ServiceAccount")
    assert manifests.container["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["serviceAccountName"] == account["metadata"]["name"]
    assert (pod["automountServiceAccountToken"], account["automountServiceAccountToken"]) == (False, False)


@pytest.mark.skipif(not DOCKERFILE.exists(), reason="there is no Dockerfile")
def test_user_and_places_are_the_images() -> None:
    text = DOCKERFILE.read_text()
    [user] = re.findall(r"^USER (\d+)", text, re.MULTILINE)
    [hub] = re.findall(r"HF_HOME=(\S+)", text)
    assert load("files").template["spec"]["securityContext"]["runAsUser"] == int(user) != 0
    assert writable("overlays/mine") == [hub]


def test_pytorch_finds_a_folder_for_temporary_files() -> None:
    assert writable("overlays/gpu") == ["/tmp"]
    assert writable("overlays/cpu") == []
