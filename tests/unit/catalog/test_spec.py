"""A catalog that exists is valid."""

from typing import Any

import pytest

from app.catalog import Catalog, ModelSpec, VersionSpec, kind_of
from app.errors import ModelsFileError
from tests.support.catalog import one_model, version

DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("kind", "source", "why"),
    [
        ("path", "", "a path must be text of 1 to 1024 characters"),
        ("path", "a\nb", "a path must be text"),
        ("path", " a", "without spaces at its ends"),
        ("path", "a" * 1025, "1 to 1024 characters"),
        ("path", "s3://bucket/a", "is an address; write `url:`"),
        ("hub", "owner/name", "owner/name: a hub model is owner/name@revision"),
        ("hub", "name@main", "owner/name@revision"),
        ("hub", "a/b/c@main", "owner/name@revision"),
        ("hub", "../b@main", "owner/name@revision"),
        ("url", "bucket/a", "bucket/a: a url is an address such as s3://"),
        ("url", "https://user:secret@host/a", "^a url must not contain a password, because"),
        ("url", "s3://a b", "a url is an address"),
    ],
)
def test_a_source_that_cannot_be_one_is_refused(kind: Any, source: str, why: str) -> None:
    with pytest.raises(ModelsFileError, match=why):
        VersionSpec(source, kind, 100, shadow=False)


def test_an_address_may_name_a_container_or_a_port() -> None:
    for source in ("abfs://container@account.dfs.core.windows.net/a", "https://host:8443/a", "https://host/a:b@c"):
        assert VersionSpec(source, "url", 100, shadow=False).source == source


@pytest.mark.parametrize("weight", [-1, 0.001, 100.5, float("nan"), float("inf")])
def test_a_weight_is_zero_or_from_a_hundredth_to_a_hundred(weight: float) -> None:
    with pytest.raises(ModelsFileError, match=r"a: a weight is 0 or a number from 0.01 to 100, not "):
        version("a", weight)
    assert [version("a", valid).weight for valid in (0, 0.01, 100)] == [0, 0.01, 100]


def test_a_shadow_has_no_weight() -> None:
    with pytest.raises(ModelsFileError, match="a shadow version has no weight"):
        version("a", 1, shadow=True)
    assert version("a", shadow=True).share == "shadow"


@pytest.mark.parametrize("digest", ["sha256:12", "0a" * 32, "sha256:" + "0A" * 32, "md5:" + "0a" * 32])
def test_a_digest_is_a_sha256_with_its_name(digest: str) -> None:
    with pytest.raises(ModelsFileError, match="a digest is `sha256:` and 64 hexadecimal digits"):
        VersionSpec("a", "path", 100, shadow=False, digest=digest)
    assert VersionSpec("a", "path", 100, shadow=False, digest=DIGEST).digest == DIGEST


@pytest.mark.parametrize("name", ["", ".m", "-m", "m/n", "m n", "é", "m" * 65, "m\n"])
def test_a_name_that_no_path_can_have_is_refused(name: str) -> None:
    with pytest.raises(ModelsFileError, match="is not a valid name for a model: use up to 64 letters"):
        ModelSpec(name, (version("a", 100),))
    assert ModelSpec("m" * 64, (version("a", 100),)).name == "m" * 64


@pytest.mark.parametrize(
    ("versions", "why"),
    [
        ((), "m: a model needs at least one version"),
        ([version("a", 50), version("a", 50)], "m: a is there twice"),
        ([version("a/b", 50), version("a/b/", 50)], "m: a/b is there twice"),
        ([version("a"), version("b", shadow=True)], "m: at least one version must have a weight above 0"),
        ([version(str(number), 1) for number in range(9)], "m: a model has at most 8 versions, not 9"),
    ],
)
def test_the_versions_of_a_model_must_fit_together(versions: list[VersionSpec], why: str) -> None:
    with pytest.raises(ModelsFileError, match=why):
        ModelSpec("m", tuple(versions))


def test_the_models_of_a_catalog_must_fit_together() -> None:
    def catalog(*names: str) -> Catalog:
        return Catalog(tuple(ModelSpec(name, (version("a", 100),)) for name in names))

    with pytest.raises(ModelsFileError, match="at least one model"):
        catalog()
    with pytest.raises(ModelsFileError, match="at most 16 models, not 17"):
        catalog(*map(str, range(17)))
    with pytest.raises(ModelsFileError, match="the model b is there twice"):
        catalog("a", "b", "b")
    assert catalog("b", "a").default.name == "b"
    assert catalog("b", "a").find("a").name == "a"
    with pytest.raises(ModelsFileError, match="there is no model c; there is b, a"):
        catalog("b", "a").find("c")


def test_the_main_version_has_the_largest_weight() -> None:
    assert one_model(version("a", 10), version("b", 90)).default.main == version("b", 90)
    assert one_model(version("a", 50), version("b", 50)).default.main is None


HUB = VersionSpec("owner/mine@v2", "hub", 0, shadow=False)
MODEL = ModelSpec("m", (version("models/old", 100), version("/srv/new/"), version("other/new"), HUB))


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("models/old", "models/old"),
        ("old", "models/old"),
        ("/srv/new/", "/srv/new/"),
        ("other/new", "other/new"),
        ("mine@v2", "owner/mine@v2"),
        ("v2", "owner/mine@v2"),
        ("2026.12", "other/new"),
    ],
)
def test_a_version_has_several_names(name: str, source: str) -> None:
    assert MODEL.find(name, {"other/new": "2026.12"}).source == source


def test_a_name_that_several_versions_have_lists_them() -> None:
    with pytest.raises(ModelsFileError, match="m: new may be one of /srv/new/, other/new; write the whole source"):
        MODEL.find("new")
    with pytest.raises(ModelsFileError, match="m: 7 may be one of models/old, owner/mine@v2; "):
        MODEL.find("7", {"models/old": "7", "owner/mine@v2": "7"})
    with pytest.raises(ModelsFileError, match="m has no version 8; it has models/old, /srv/new/, other/new, owner"):
        MODEL.find("8")


def test_a_whole_source_means_its_version_whatever_others_are_called() -> None:
    model = one_model(version("new", 100), version("x/new")).default
    assert model.find("new").source == "new"


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("s3://a/b@c", "url"),
        ("file:///a", "url"),
        ("owner/name@main", "hub"),
        ("owner/name@refs/pr/1", "hub"),
        ("owner/name", "path"),
        ("/owner/name@main", "path"),
        ("sentiment-en", "path"),
    ],
)
def test_the_form_of_a_source_says_its_kind(source: str, kind: str) -> None:
    assert kind_of(source) == kind
