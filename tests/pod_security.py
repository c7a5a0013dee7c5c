"""The "restricted" level of the Pod Security Standards, for the pods of Linux.

After https://kubernetes.io/docs/concepts/security/pod-security-standards/, one line for each control.
"""

from collections.abc import Iterator
from typing import Any

_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip
_SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
}
_SELINUX = {None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
_PROFILES = {"RuntimeDefault", "Localhost"}
_HANDLERS = ("livenessProbe", "readinessProbe", "startupProbe")


def violations(template: dict[str, Any]) -> list[str]:
    """Return what a pod template has that the standard forbids, and lacks that it demands."""
    return sorted({*_pod(template["spec"]), *_containers(template["spec"])})


def _pod(pod: dict[str, Any]) -> Iterator[str]:
    security = pod.get("securityContext", {})
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(name):
            yield name
    for volume in pod.get("volumes", []):
        if not volume.keys() - {"name"} <= _VOLUMES:
            yield "volume types"
    if any(sysctl["name"] not in _SYSCTLS for sysctl in security.get("sysctls", [])):
        yield "sysctls"
    if security.get("runAsUser") == 0:
        yield "runAsUser"
    yield from _profiles(security)


def _containers(pod: dict[str, Any]) -> Iterator[str]:
    of_pod = pod.get("securityContext", {})
    kinds = ("containers", "initContainers", "ephemeralContainers")
    for container in [container for kind in kinds for container in pod.get(kind, [])]:
        own = container.get("securityContext", {})
        capabilities = own.get("capabilities", {})
        checks = {
            "privileged": not own.get("privileged"),
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "capabilities: drop ALL": "ALL" in capabilities.get("drop", []),
            "capabilities: add": set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"},
            "runAsNonRoot": (of_pod | own).get("runAsNonRoot") is True,
            "runAsUser": own.get("runAsUser") != 0,
            "seccompProfile": (of_pod | own).get("seccompProfile", {}).get("type") in _PROFILES,
            "procMount": own.get("procMount", "Default") == "Default",
            "hostPort": not any(port.get("hostPort") for port in container.get("ports", [])),
            "host of probes and hooks": not any("host" in handler for handler in _handlers(container)),
        }
        yield from (name for name, holds in checks.items() if not holds)
        yield from _profiles(own)


def _profiles(security: dict[str, Any]) -> Iterator[str]:
    """What holds for a pod's security context and for a container's."""
    selinux = security.get("seLinuxOptions", {})
    if selinux.get("type") not in _SELINUX or selinux.get("user") or selinux.get("role"):
        yield "seLinuxOptions"
    if security.get("appArmorProfile", {}).get("type", "RuntimeDefault") not in _PROFILES:
        yield "appArmorProfile"
    if security.get("windowsOptions", {}).get("hostProcess"):
        yield "hostProcess"


def _handlers(container: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The HTTP and TCP actions of a container's probes and hooks."""
    hooks = [container[name] for name in _HANDLERS if name in container] + list(container.get("lifecycle", {}).values())
    for hook in hooks:
        yield from (hook[name] for name in ("httpGet", "tcpSocket") if name in hook)
