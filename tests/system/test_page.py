"""The page at `/` in a real browser, with the real model."""

import csv
import io
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio

from app.access import add_key
from tests.support.browser import LOOKS, assert_accessible, in_browser, open_page, running_browser
from tests.support.process import Server, serve

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.asyncio(loop_scope="module")
TEXT = "The staff were lovely, but the room was <b>cold</b> 🥶."
REVIEWS = (
    'id;review\r\n1;"Loved it, all of it."\r\n2;"It broke.\nTwice; I said ""never again""."\r\n'
    "3;\r\n4;=1+1 is fine 🩷\r\n5;<img src=x onerror=alert(1)>terrible\r\n"
)


@pytest.fixture(scope="module")
def protected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    file = tmp_path_factory.mktemp("keys") / "keys.yaml"
    key = add_key(file, "page")
    with serve(backend="mock", api_keys_file=str(file)) as server:
        yield server, key


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator["Browser"]:
    async with running_browser(tmp_path_factory.mktemp("home")) as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def problems() -> list[str]:
    """What the console of the browser says, and each request that fails or leaves the service."""
    return []


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: "Browser", server: Server, problems: list[str]) -> AsyncIterator["Page"]:
    page = await open_page(browser, server.address, problems)
    yield page
    await page.context.close()
    assert problems == []


async def send(method: str, url: str, **options: Any) -> httpx.Response:
    async with httpx.AsyncClient() as http:
        return await http.request(method, url, **options)


def read_csv(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


async def read_rows(page: "Page") -> list[list[str]]:
    rows = page.locator("#predictions tr")
    return [await rows.nth(index).locator("td").all_inner_texts() for index in range(await rows.count())]


async def give_file(page: "Page", name: str, content: str) -> None:
    await page.set_input_files("#file", {"name": name, "mimeType": "text/plain", "buffer": content.encode()})


async def predict_file(page: "Page", name: str, content: str) -> None:
    await give_file(page, name, content)
    await page.get_by_role("button", name="Predict").click()
    await page.get_by_role("button", name="Predict again").wait_for()


@in_browser
async def test_a_text_is_predicted_and_explained_as_one_types(page: "Page", server: Server) -> None:
    await page.get_by_label("Type or paste a text").press_sequentially(TEXT[:12])
    await page.get_by_label("Type or paste a text").fill(TEXT)
    await page.locator("#explanation").wait_for()
    expected = (await send("POST", f"{server.address}/predict", json={"text": TEXT})).json()
    assert await page.locator("#label").inner_text() == expected["label"]
    assert await page.locator("#confidence").inner_text() == f"{expected['confidence'] * 100:.1f} %"
    assert await page.locator("#words").text_content() == TEXT
    assert "cold" in await page.locator("#words .for").all_inner_texts()
    assert " ms" in await page.locator("#time").inner_text()


@in_browser
async def test_an_empty_field_shows_nothing(page: "Page") -> None:
    await page.get_by_role("button", name="Where is my order?").click()
    await page.locator("#result").wait_for()
    await page.get_by_label("Type or paste a text").fill("  ")
    await page.locator("#result").wait_for(state="hidden")
    assert await page.locator("#message").is_hidden()


@in_browser
async def test_a_file_is_predicted_row_by_row_and_saved(page: "Page", server: Server) -> None:
    await predict_file(page, "reviews.csv", REVIEWS)
    rows = list(csv.reader(io.StringIO(REVIEWS, newline=""), delimiter=";"))
    shown = await read_rows(page)
    assert [row[0] for row in shown] == ["1", "2", "3", "4", "5"]
    texts = [row[1] for row in rows[1:]]
    answers = (await send("POST", f"{server.address}/predict/batch", json={"texts": texts, "partial": True})).json()[
        "predictions"
    ]
    assert [row[2] for row in shown] == [
        each["label"] if "label" in each else each["error"]["detail"] for each in answers
    ]
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Download CSV").click()
    saved = read_csv(await (await download.value).path())
    assert saved[0][:4] == ["id", "review", "label", "confidence"]
    assert [row[0] for row in saved[1:]] == ["1", "2", "3", "4", "5"]
    assert [row[1].removeprefix("'") for row in saved[1:]] == texts
    assert saved[4][1].startswith("'=")  # no spreadsheet may run it
    assert [row[2] for row in saved[1:]] == [each.get("label", "") for each in answers]
    assert saved[3][-1] == answers[2]["error"]["detail"]


@in_browser
async def test_predictions_without_a_label_are_called_unsure(browser: "Browser", problems: list[str]) -> None:
    with serve(backend="mock", abstain_below="0.6") as server:
        page = await open_page(browser, server.address, problems)
        await page.get_by_label("Type or paste a text").fill("a day")
        await page.locator("#explanation").wait_for()
        assert await page.locator("#label").inner_text() == "unsure"
        assert await page.locator("#explanation [data-label]").first.inner_text() == "neutral"
        await predict_file(page, "days.csv", "text\ngood\na day\n")
        assert [row[2] for row in await read_rows(page)] == ["positive", "unsure"]
        await page.locator("#filter-label").select_option("unsure")
        assert [row[1] for row in await read_rows(page)] == ["a day"]
        async with page.expect_download() as download:
            await page.get_by_role("button", name="Download CSV").click()
        assert [row[1] for row in read_csv(await (await download.value).path())[1:]] == ["positive", ""]
        await page.context.close()
    assert problems == []


@in_browser
async def test_the_table_can_be_sorted_filtered_and_paged(page: "Page") -> None:
    lines = [
        json.dumps({"text": f"It was {'great' if number % 2 else 'awful'}, visit {number}."}) for number in range(60)
    ]
    await predict_file(page, "visits.jsonl", "\n".join(lines))
    assert await page.locator("#page").inner_text() == "60 rows, page 1 of 3"
    await page.get_by_role("button", name="Next").click()
    assert (await read_rows(page))[0][0] == "26"
    await page.get_by_role("columnheader", name="Confidence").get_by_role("button").click()
    confidences = [float(row[3].split()[0]) for row in await read_rows(page)]
    assert confidences == sorted(confidences, reverse=True)
    await page.get_by_label("Label", exact=True).select_option("positive")
    assert {row[2] for row in await read_rows(page)} == {"positive"}
    await page.get_by_label("Search").fill("visit 5")
    found = [row[1] for row in await read_rows(page)]
    assert found
    assert all("visit 5" in text for text in found)


@in_browser
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,stars\ngood\n", "Row 1 has 1 cells, but the header has 2."),
        ("a.csv", 'text\n"good\n', "A quoted cell has no end."),
        ("a.jsonl", '{"text": "good"}\n{"text"\n', "Line 2 is not JSON."),
        ("a.jsonl", "[1]\n", "Line 1 is not an object."),
        ("a.tsv", "text\n", "There are no rows."),
    ],
)
async def test_a_file_that_cannot_be_read_gives_a_reason(page: "Page", name: str, content: str, message: str) -> None:
    await give_file(page, name, content)
    alert = page.locator("#file-message")
    await alert.wait_for()
    assert await alert.inner_text() == message


@in_browser
async def test_pasted_lines_are_texts(page: "Page") -> None:
    await page.get_by_role("button", name="Paste rows").click()
    await page.keyboard.insert_text("Good, really good.\nBad")
    await page.get_by_role("button", name="Read these rows").click()
    assert await page.locator("#file-name").inner_text() == "pasted rows: 2 rows"
    await page.get_by_role("button", name="Predict").click()
    await page.get_by_role("button", name="Predict again").wait_for()
    assert [row[1] for row in await read_rows(page)] == ["Good, really good.", "Bad"]


@in_browser
async def test_the_status_strip_names_the_model_and_the_traffic(page: "Page", server: Server) -> None:
    from playwright.async_api import expect

    info = (await send("GET", f"{server.address}/info")).json()
    await page.get_by_role("button", name="Not bad at all!").click()
    status = page.locator("#status")
    await expect(status.locator("[data-status=rate]")).to_have_text(re.compile("[0-9]"), timeout=120_000)
    assert "ready" in await status.inner_text()
    assert await status.locator("[data-status=version]").inner_text() == info["model_version"]
    assert " ms" in await status.locator("[data-status=p95]").inner_text()
    await expect(page.locator("#jobs")).to_be_hidden()  # there is no Redis


@in_browser
async def test_an_api_key_can_be_typed_and_is_not_stored(
    browser: "Browser", protected: tuple[Server, str], problems: list[str]
) -> None:
    server, key = protected
    page = await open_page(browser, server.address, problems)
    await page.get_by_label("Type or paste a text").fill("good")
    alert = page.locator("#message")
    await alert.wait_for()
    assert "requires an API key" in await alert.inner_text()
    await page.get_by_role("button", name="API key").click()
    await page.keyboard.insert_text(key)
    await page.keyboard.press("Enter")
    await page.locator("#result").wait_for()
    assert await page.evaluate("[localStorage.length, sessionStorage.length, document.cookie, location.search]") == [
        0,
        0,
        "",
        "",
    ]
    await page.context.close()


@in_browser
async def test_everything_works_with_the_keyboard_alone(page: "Page") -> None:
    reached: list[str] = []
    for _ in range(30):
        await page.keyboard.press("Tab")
        focused = await page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()")
        if focused in reached:
            break
        reached.append(focused)
    for control in ("Skip to the text field", "key-button", "API documentation", "text", "file", "paste-button"):
        assert control in reached
    await page.locator("#sample-button").focus()
    await page.keyboard.press("Enter")
    await page.get_by_role("button", name="Predict again").wait_for()
    assert len(await read_rows(page)) == 10


@in_browser
@LOOKS
async def test_the_page_is_accessible_and_fits_the_window(
    browser: "Browser", server: Server, problems: list[str], options: dict[str, Any]
) -> None:
    page = await open_page(browser, server.address, problems, **options)
    await page.get_by_role("button", name="API key").click()
    await page.get_by_role("button", name="The staff were lovely").click()
    await page.locator("#explanation").wait_for()
    await page.get_by_label("Type or paste a text").fill("good " + "W" * 300)
    await page.locator("#explanation", has_text="WWWW").wait_for()
    await page.locator("#sample-button").click()
    await page.get_by_role("button", name="Predict again").wait_for()
    await assert_accessible(page)
    await page.context.close()
    assert problems == []


async def test_nothing_but_our_own_files_may_run(server: Server) -> None:
    response = await send("GET", f"{server.address}/")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "style=" not in response.text
    assert "<script>" not in response.text


async def test_files_beside_the_page_are_not_served(server: Server) -> None:
    for path in ("__init__.py", "index.html", "../__init__.py", "static/page.js", ""):
        assert (await send("GET", f"{server.address}/page/{path}")).status_code == 404, path


async def test_the_page_can_be_turned_off() -> None:
    with serve(backend="mock", page="off") as server:
        response = await send("GET", f"{server.address}/")
        assert (response.status_code, response.headers["location"]) == (307, "docs")
        assert (await send("GET", f"{server.address}/page/page.js")).status_code == 404
