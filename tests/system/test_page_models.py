"""The page at `/` of a server with several models, in a real browser."""

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.support.browser import LOOKS, assert_accessible, in_browser, open_page, running_browser
from tests.support.process import Server
from tests.support.served import serving_models
from tests.support.waiting import async_until

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving_models(tmp_path_factory.mktemp("models")) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator["Browser"]:
    async with running_browser(tmp_path_factory.mktemp("home")) as browser:
        yield browser


async def rows(page: "Page") -> list[list[str]]:
    shown = page.locator("#versions tr")
    return [await shown.nth(number).locator("th, td").all_inner_texts() for number in range(await shown.count())]


@in_browser
async def test_the_page_lists_models_and_versions(browser: "Browser", served: Server) -> None:
    problems: list[str] = []
    page = await open_page(browser, served.address, problems)
    await page.locator("#models").wait_for()
    shown = await rows(page)
    assert [row[:5] for row in shown] == [
        ["one (default)", "one@mock", "ready", "100", "100.0 %"],
        ["one (default)", "one@mock+2", "ready", "0", "0.0 %"],
        ["one (default)", "one@mock+3", "ready", "shadow", "0.0 %"],
        ["two", "two@mock", "ready", "100", "100.0 %"],
    ]
    assert [row[5] for row in shown] == ["\u2013"] * 4
    await page.context.close()
    assert problems == []


@in_browser
async def test_the_chosen_model_predicts_texts_and_files(browser: "Browser", served: Server) -> None:
    problems: list[str] = []
    page = await open_page(browser, served.address, problems)
    await page.locator("#models").wait_for()
    await page.get_by_label("Type or paste a text").fill("good")
    await page.locator("#time", has_text="by one@mock").wait_for()
    await page.get_by_label("Predict with").select_option("two")
    await page.locator("#time", has_text="by two@mock").wait_for()
    await page.locator("#explanation").wait_for()

    def requests() -> int:
        count: int = served.get("/models/two").json()["versions"][0]["requests"]
        return count

    before = requests()
    await page.get_by_role("button", name="Try ten examples").click()
    await page.get_by_role("button", name="Predict again").wait_for()
    assert requests() == before + 1
    assert await page.locator("#model").input_value() == "two"
    await page.context.close()
    assert problems == []


@in_browser
async def test_the_page_shows_a_shadow_and_a_version_that_fails(browser: "Browser", served: Server) -> None:
    golden = {"texts": 48, "agreeing": 40, "agreement": 0.8333}
    compared = {"texts": 500, "agreeing": 490, "mean_difference": 0.01, "p95_difference": 0.1}
    models = served.get("/models").json()
    models["models"][0]["versions"][1] |= {"state": "failed", "reason": "<b>40 of 48</b>", "golden": golden}
    models["models"][0]["versions"][2] |= {"compared": compared, "version": None}
    problems: list[str] = []
    page = await open_page(browser, served.address, problems)

    async def answer(route: Any) -> None:
        await route.fulfill(json=models)

    await page.route("**/models", answer)
    await page.reload()
    await page.locator("#versions", has_text="failed").wait_for()
    shown = await rows(page)
    assert (shown[1][2].split("\n")[0], shown[1][2].split("\n")[-1], shown[1][5]) == (
        "failed", "<b>40 of 48</b>", "40 of 48"
    )  # fmt: skip
    assert shown[2][6] == "98.0 % of 500"
    assert shown[2][1].endswith("/c") or shown[2][1] == "c"
    await page.context.close()
    assert problems == []


@in_browser
async def test_for_a_single_model_nothing_is_added(browser: "Browser", mock_server: Server) -> None:
    problems: list[str] = []
    page = await open_page(browser, mock_server.address, problems)
    await page.get_by_label("Type or paste a text").fill("good")
    await page.locator("#explanation").wait_for()
    version = page.locator("[data-status=version]")

    async def is_known() -> bool:
        return await version.inner_text() == "mock"

    await async_until(is_known)
    assert await page.locator("#models").is_hidden()
    assert await page.locator("#model-field").is_hidden()
    assert " by " not in await page.locator("#time").inner_text()
    await page.context.close()
    assert problems == []


@in_browser
@LOOKS
async def test_the_list_of_models_is_accessible(browser: "Browser", served: Server, options: dict[str, Any]) -> None:
    problems: list[str] = []
    page = await open_page(browser, served.address, problems, **options)
    await page.locator("#models").wait_for()
    await assert_accessible(page)
    await page.context.close()
    assert problems == []
