"""The Jobs view of the page, in a real browser, with a real Redis and a real worker."""

import csv
import io
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
import pytest_asyncio

from app.access import add_key
from tests.support.browser import LOOKS, assert_accessible, in_browser, open_page, running_browser
from tests.support.jobs import JobsClient, Stack, csv_of, running_stack
from tests.support.process import serve

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator, Page

pytestmark = [pytest.mark.asyncio(loop_scope="module"), in_browser]
PREFIX = "/sentiment"
SMALL_PARTS = "import app.tables.scoring as scoring\nscoring._WINDOW = scoring.Window(rows=16)"
FAR = f"{datetime.now(UTC) + timedelta(days=30):%Y-%m-%dT%H:%M:%SZ}"
LONG_MS = 120_000
# The worker takes minutes for it.
ENDLESS = b"text\n" + b"".join(b"%d\n" % number for number in range(30_000))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The service is below a prefix, and the worker so slow that one can watch it."""
    folder = tmp_path_factory.mktemp("jobs")
    with running_stack(folder, prelude=SMALL_PARTS, slow=True, root_path=PREFIX) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator["Browser"]:
    async with running_browser(tmp_path_factory.mktemp("home")) as browser:
        yield browser


@pytest.fixture
def problems() -> list[str]:
    return []


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: "Browser", stack: Stack, problems: list[str]) -> AsyncIterator["Page"]:
    page = await open_page(browser, stack.server.address + PREFIX, problems)
    await page.locator("#jobs").wait_for()
    yield page
    await page.context.close()


async def choose(page: "Page", name: str, content: bytes) -> None:
    await page.set_input_files("#job-file", {"name": name, "mimeType": "text/plain", "buffer": content})


async def start(page: "Page", name: str, content: bytes) -> "Locator":
    """Send a file as a job, and return its entry in the list."""
    await choose(page, name, content)
    await page.get_by_role("button", name="Start the job").click()
    return entry(page, name)


def entry(page: "Page", name: str) -> "Locator":
    return page.get_by_role("list", name="Your jobs").get_by_role("listitem").filter(has_text=name)


async def wait_for(item: "Locator", *texts: str) -> None:
    from playwright.async_api import expect

    for text in texts:
        await expect(item).to_contain_text(text, timeout=LONG_MS)


def forget(client: JobsClient, *job_ids: str) -> None:
    for job_id in job_ids:
        while client.http.delete(f"/jobs/{job_id}").status_code != 404:  # first it is cancelled
            pass


async def download(page: "Page", item: "Locator", title: str) -> bytes:
    await item.get_by_label("Format of the result").select_option(label=title)
    async with page.expect_download() as downloading:
        await item.get_by_role("button", name="Download").click()
    return read(await (await downloading.value).path())


def read(path: Path) -> bytes:
    return path.read_bytes()


async def test_a_file_is_uploaded_scored_and_downloaded(page: "Page", problems: list[str]) -> None:
    from playwright.async_api import expect

    rows = "".join(f"{number};it is {'good' if number % 3 else 'bad'}\r\n" for number in range(40))
    await choose(page, "spring reviews.csv", f"id;review\r\n{rows}".encode())
    await expect(page.locator("#job-column")).to_have_value("review")
    await page.get_by_label("Priority").select_option("high")
    await page.get_by_role("button", name="Start the job").click()
    item = entry(page, "spring reviews.csv")
    await wait_for(item, "completed", "40 rows in ")
    assert await item.get_by_role("button", name="Cancel").is_hidden()
    saved = (await download(page, item, "CSV")).decode()
    table = list(csv.reader(io.StringIO(saved), delimiter=";"))
    assert table[0][:3] == ["id", "review", "label"]
    assert [row[0] for row in table[1:]] == [str(number) for number in range(40)]
    assert [row[2] for row in table[1:4]] == ["negative", "positive", "positive"]
    parquet = pq.read_table(io.BytesIO(await download(page, item, "Parquet")))
    assert parquet.column("label").to_pylist() == [row[2] for row in table[1:]]
    assert problems == []


async def test_a_file_can_be_dropped(page: "Page", problems: list[str]) -> None:
    data = await page.evaluate_handle(
        "() => { const data = new DataTransfer();"
        " data.items.add(new File(['{\"text\": \"good\"}\\n'], 'dropped.jsonl')); return data; }"
    )
    for name in ("dragover", "drop"):
        await page.dispatch_event("#job-drop", name, {"dataTransfer": data})
    assert "dropped.jsonl" in await page.locator("#job-drop").inner_text()
    await page.get_by_role("button", name="Start the job").click()
    await wait_for(entry(page, "dropped.jsonl"), "completed", "1 row in ")
    assert problems == []


async def test_a_running_job_is_watched_cancelled_and_tried_again(page: "Page", problems: list[str]) -> None:
    item = await start(page, "long.csv", ENDLESS)
    await wait_for(item, "running", " of 30,000 rows, ", " per second, ", " left")
    bar = item.get_by_role("progressbar", name="Progress of long.csv")
    assert 0 < float(await bar.get_attribute("value") or 0) < 1
    await item.get_by_role("button", name="Cancel").focus()
    await page.keyboard.press("Enter")
    await wait_for(item, "cancelled", "rows are done")
    assert await page.locator("#job-spoken").text_content() == "long.csv: cancelled"
    assert await page.evaluate("document.activeElement.ariaLabel") == "Try again: long.csv"
    await page.keyboard.press("Enter")
    await wait_for(item, "running")
    await item.get_by_role("button", name="Cancel").click()
    await wait_for(item, "cancelled")
    assert problems == []


async def test_errors_can_be_read(page: "Page", stack: Stack) -> None:
    alert = page.get_by_role("alert").and_(page.locator("#job-message"))
    await page.get_by_role("button", name="Start the job").click()
    await wait_for(alert, "Choose a file first.")
    await start(page, "large.csv", csv_of(9000))
    await wait_for(alert, "the service takes at most 200 kB")
    await start(page, "what.docx", b"what")
    await wait_for(alert, "the format is not known")
    item = await start(page, "columns.csv", b"a,a,text\n1,2,good\n")
    await wait_for(item, "completed")
    await item.get_by_label("Format of the result").select_option("ndjson")
    await item.get_by_role("button", name="Download").click()
    await wait_for(alert, "columns.csv: ")
    await choose(page, "orders.csv", b"a,b\n1,2\n")
    await page.locator("#job-column").fill("c")
    await page.get_by_role("button", name="Start the job").click()
    await wait_for(entry(page, "orders.csv"), "failed", "its columns are a, b")


async def test_an_upload_that_broke_or_was_stopped_makes_one_job(page: "Page", stack: Stack) -> None:
    keys = []

    async def hold(route: Any) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) == 1:
            await route.abort()
        elif len(keys) == 3:
            await route.continue_()

    await page.route("**/jobs/inference", hold)
    item = await start(page, "again.csv", b"text\ngood\n")
    await wait_for(page.locator("#job-message"), "The connection to the service broke")
    await page.get_by_role("button", name="Start the job").click()
    await page.get_by_role("button", name="Stop the upload").click()
    await page.get_by_role("button", name="Start the job").click()
    await wait_for(item, "completed")
    assert len(keys) == 3
    assert len(set(keys)) == 1


async def test_jobs_that_others_sent_appear(page: "Page", stack: Stack, problems: list[str]) -> None:
    from playwright.async_api import expect

    with closing(JobsClient(stack.server)) as client:
        job_ids = [client.submit({"texts": ["good"], "run_at": FAR}) for _ in range(11)]
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await wait_for(entry(page, "texts").first, "pending", "Begins at ")
        items = page.locator("#job-list li")
        await expect(items).to_have_count(10)
        await page.get_by_role("button", name="Show older jobs").click()
        await expect(items).not_to_have_count(10)
        forget(client, *job_ids)
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await expect(entry(page, "texts")).to_have_count(0)
    assert problems == []


async def test_a_training_counts_steps(page: "Page", stack: Stack, problems: list[str]) -> None:
    with closing(JobsClient(stack.server)) as client:
        job = client.wait(client.submit({"texts": ["good"]}))
        forget(client, job["id"])
    job["type"], job["metadata"]["name"] = "training", "stars"

    async def answer(route: Any) -> None:
        await route.fulfill(json={"jobs": [job], "cursor": None})

    await page.route("**/jobs?limit=*", answer)
    for status, total, text in (
        ("running", 20, "1 of 20 steps"),
        ("cancelled", 20, "1 step is done"),
        ("completed", 1, "1 step in "),
    ):
        job["status"], job["progress"]["total"] = status, total
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await wait_for(entry(page, "stars"), text)
    item = entry(page, "stars")
    assert await item.get_by_label("Format of the result").is_hidden()
    await page.route("**/result?format=tar", lambda route: route.fulfill(body=b"model"))
    async with page.expect_download() as downloading:
        await item.get_by_role("button", name="Download").click()
    download = await downloading.value
    assert (download.suggested_filename, read(await download.path())) == ("stars.tar", b"model")
    assert problems == []


async def test_a_job_that_is_over_can_be_removed(page: "Page", stack: Stack, problems: list[str]) -> None:
    from playwright.async_api import expect

    with closing(JobsClient(stack.server)) as client:
        job_id = client.upload(b"text\ngood\n", "gone.csv", run_at=FAR)
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        item = entry(page, "gone.csv")
        await wait_for(item, "pending")
        assert await item.get_by_role("button", name="Remove").is_hidden()
        await item.get_by_role("button", name="Cancel").click()
        await wait_for(item, "cancelled")
        await item.get_by_role("button", name="Remove").click()  # a browser that is driven answers no
        await expect(item).to_have_count(1)
        page.once("dialog", lambda dialog: dialog.accept())
        await item.get_by_role("button", name="Remove").click()
        await expect(item).to_have_count(0, timeout=LONG_MS)
        assert client.http.get(f"/jobs/{job_id}").status_code == 404
        assert await page.evaluate("document.activeElement !== document.body")
    assert problems == []


async def test_a_key_shows_its_own_jobs(browser: "Browser", stack: Stack, problems: list[str], tmp_path: Path) -> None:
    from playwright.async_api import expect

    file = tmp_path / "keys.yaml"
    keys = {name: add_key(file, name, scopes=["jobs"]) for name in ("one", "two")}
    with serve(backend="mock", api_keys_file=str(file), **stack.settings) as server:
        page = await open_page(browser, server.address, problems)
        await wait_for(page.locator("#job-list-message"), "requires an API key")

        async def use(name: str) -> None:
            await page.get_by_role("button", name="API key", exact=True).click()
            await page.get_by_label("API key", exact=True).fill(keys[name])
            await page.keyboard.press("Enter")

        await use("one")
        await wait_for(page.locator("#job-none"), "There are none.")
        item = await start(page, "mine.csv", b"text\ngood\n")
        await wait_for(item, "completed")
        assert b"good,positive" in await download(page, item, "CSV")
        await use("two")
        await expect(item).to_have_count(0)
        assert await page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
        await page.context.close()


@LOOKS
async def test_the_view_is_accessible_and_fits_the_window(
    browser: "Browser", stack: Stack, problems: list[str], options: dict[str, Any]
) -> None:
    with closing(JobsClient(stack.server)) as client:
        running = client.upload(ENDLESS, "W" * 60 + ".csv")
        client.wait(running, "running")
        cancelled, later = (client.submit({"texts": ["good"], "run_at": FAR}) for _ in range(2))
        client.http.delete(f"/jobs/{cancelled}")
        page = await open_page(browser, stack.server.address + PREFIX, problems, **options)
        await wait_for(entry(page, "WWW"), "running")
        await choose(page, "chosen.csv", b"text\ngood\n")
        await assert_accessible(page)
        forget(client, running, cancelled, later)
        await page.context.close()
    assert problems == []


async def test_the_view_works_with_the_keyboard_alone(page: "Page") -> None:
    reached: list[str] = []
    await page.locator("#sample-button").focus()
    for _ in range(12):
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate("document.activeElement.id || document.activeElement.ariaLabel"))
    assert reached[:4] == ["job-file", "job-column", "job-priority", "job-start"]
    assert any(name and name.startswith(("Try again: ", "Download: ")) for name in reached)
