"""The pods of deploy/kubernetes against the Pod Security Standards, and that check against all that it must find."""

import copy
import re

import pytest

from tests.manifests import SHAPES, Manifests, load
from tests.pod_security import violations
from tests.process import ROOT

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


@pytest.mark.skipif(not (ROOT / "Dockerfile").exists(), reason="there is no Dockerfile")
def test_the_user_is_the_images() -> None:
    [user] = re.findall(r"^USER (\d+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert load("files").template["spec"]["securityContext"]["runAsUser"] == int(user) != 0
