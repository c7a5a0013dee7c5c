"""The components for several models, and for two deployments of which one gets the requests."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from app.catalog import read
from app.config import Settings
from tests.deploy.test_kubernetes import CUSTOM, KUBERNETES, selects
from tests.support.manifests import FOLDER, Manifests, load
from tests.support.process import ROOT

COLOUR = "sentiment/colour"
COLOURS = ["blue", "green"]


@pytest.mark.parametrize("shape", ["overlays/blue", "overlays/green", "overlays/entry", "overlays/models"])
def test_every_object_is_valid(shape: str) -> None:
    manifests = load(shape)
    for document in manifests:
        if document["kind"] not in CUSTOM:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
    assert {each["metadata"]["namespace"] for each in manifests if each["kind"] != "Namespace"} == {"sentiment"}


class TestBlueGreen:
    entry: Manifests

    @pytest.fixture(autouse=True)
    def _load(self) -> None:
        self.entry = load("overlays/entry")

    def test_no_object_is_in_two_of_the_three_parts(self) -> None:
        parts = [load(f"overlays/{name}") for name in (*COLOURS, "entry")]
        objects = [(each["kind"], each["metadata"]["name"]) for part in parts for each in part]
        assert len(set(objects)) == len(objects)

    def test_the_three_parts_have_all_objects_of_one_deployment(self) -> None:
        def kinds(*shapes: str) -> set[str]:
            return {each["kind"] for shape in shapes for each in load(shape)}

        assert kinds("overlays/blue", "overlays/entry") == kinds("overlays/cpu")
        assert kinds("overlays/entry") == {"Namespace", "Service", "Ingress"}

    def test_the_service_selects_the_pods_of_one_deployment(self) -> None:
        selector = {"matchLabels": self.entry.one("Service")["spec"]["selector"]}
        selected = [name for name in COLOURS if selects(selector, pod_of(name))]
        assert selected == [selector["matchLabels"][COLOUR]] == ["blue"]

    @pytest.mark.parametrize("colour", COLOURS)
    def test_each_selector_selects_the_pods_of_its_deployment_alone(self, colour: str) -> None:
        mine = load(f"overlays/{colour}")
        deployment = mine.one("Deployment", f"sentiment-{colour}")
        selectors = [
            deployment["spec"]["selector"],
            *(each["labelSelector"] for each in pod_of(colour)["spec"]["topologySpreadConstraints"]),
            mine.one("PodDisruptionBudget", f"sentiment-{colour}")["spec"]["selector"],
            *(policy["spec"]["podSelector"] for policy in mine.all("NetworkPolicy")),
            {"matchLabels": mine.one("Service", f"sentiment-{colour}")["spec"]["selector"]},
        ]
        assert len(selectors) == 7
        for selector in selectors:
            assert [name for name in COLOURS if selects(selector, pod_of(name))] == [colour]

    def test_who_may_connect_needs_no_colour(self) -> None:
        for policy in load("overlays/blue").all("NetworkPolicy"):
            assert COLOUR not in str(policy["spec"]["ingress"])

    def test_each_pod_is_scraped_once(self) -> None:
        services = [service for name in (*COLOURS, "entry") for service in load(f"overlays/{name}").all("Service")]
        for colour in COLOURS:
            selector = load(f"overlays/{colour}").one("ServiceMonitor", f"sentiment-{colour}")["spec"]["selector"]
            found = [each["metadata"]["name"] for each in services if selects(selector, each)]
            assert found == [f"sentiment-{colour}"]

    @pytest.mark.parametrize("colour", COLOURS)
    def test_its_references_have_its_names(self, colour: str) -> None:
        mine = load(f"overlays/{colour}")
        scaled = mine.one("HorizontalPodAutoscaler", f"sentiment-{colour}")["spec"]["scaleTargetRef"]["name"]
        assert mine.one("Deployment", scaled)
        [container] = pod_of(colour)["spec"]["containers"]
        assert container["envFrom"][0]["configMapRef"]["name"] == mine.all("ConfigMap")[0]["metadata"]["name"]
        assert mine.one("ServiceAccount", pod_of(colour)["spec"]["serviceAccountName"])

    def test_the_documented_command_switches_the_service(self) -> None:
        document = (ROOT / "docs" / "deployment.md").read_text()
        assert '\'{"spec":{"selector":{"sentiment/colour":"green"}}}\'' in document
        assert COLOUR in self.entry.one("Service")["spec"]["selector"]


def pod_of(colour: str) -> dict[str, Any]:
    return dict(load(f"overlays/{colour}").one("Deployment", f"sentiment-{colour}")["spec"]["template"])


class TestModels:
    def test_the_settings_name_the_mounted_folders(self) -> None:
        manifests = load("overlays/models")
        settings = {each["name"]: each["value"] for each in manifests.container["env"]}
        assert {name.removeprefix("SENTIMENT_").lower() for name in settings} <= Settings.model_fields.keys()
        mounts = {mount["mountPath"]: mount for mount in manifests.container["volumeMounts"]}
        file = Path(settings["SENTIMENT_MODELS_FILE"])
        assert "subPath" not in mounts[str(file.parent)]
        assert mounts[str(file.parent)]["readOnly"] is True
        assert not mounts[settings["SENTIMENT_MODELS_CACHE"]].get("readOnly")
        assert file.name in manifests.one("ConfigMap", "sentiment-models")["data"]

    def test_a_change_of_the_models_restarts_nothing(self) -> None:
        """With a hash in its name, the pods would have to be replaced."""
        manifests = load("overlays/models")
        [volume] = [each for each in manifests.template["spec"]["volumes"] if "configMap" in each]
        assert volume["configMap"]["name"] == "sentiment-models"

    def test_the_models_file_is_valid_and_names_a_model_of_the_image(self, tmp_path: Path) -> None:
        text = load("overlays/models").one("ConfigMap", "sentiment-models")["data"]["models.yaml"]
        (tmp_path / "models.yaml").write_text(text)
        [model] = read(tmp_path / "models.yaml").models
        assert [(ROOT / "models" / version.source).is_dir() for version in model.versions] == [True]

    def test_the_volume_has_room_for_the_cache_and_a_download(self) -> None:
        manifests = load("overlays/models")
        [volume] = [each for each in manifests.template["spec"]["volumes"] if "emptyDir" in each]
        settings = {each["name"]: each["value"] for each in manifests.container["env"]}
        size = int(volume["emptyDir"]["sizeLimit"].removesuffix("Gi")) * 2**30
        assert size > int(settings["SENTIMENT_MODELS_CACHE_BYTES"])

    def test_without_the_component_there_is_no_models_file(self) -> None:
        for shape in ("base", "overlays/cpu", "overlays/gpu"):
            assert "SENTIMENT_MODELS_FILE" not in str(load(shape))


def test_patches_that_delete_are_the_same_everywhere() -> None:
    texts = {file.read_text() for file in FOLDER.rglob("without.patch.yaml")}
    assert len(texts) == 1
    assert yaml.safe_load(texts.pop())["$patch"] == "delete"
