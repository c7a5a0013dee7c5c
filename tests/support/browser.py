"""The page in a real browser."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
in_browser = pytest.mark.skipif(
    BROWSER is None, reason="neither Chromium nor Chrome is installed (apt-get install chromium)"
)
LOOKS = pytest.mark.parametrize(
    "options", [{}, {"color_scheme": "dark"}, {"viewport": {"width": 360, "height": 800}}], ids=str
)


@asynccontextmanager
async def running_browser(home: Path) -> AsyncIterator["Browser"]:
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        environment = os.environ | {"HOME": str(home)}
        flags = ["--disable-background-networking", "--disable-component-update", "--no-first-run", "--no-proxy-server"]
        browser = await playwright.chromium.launch(executable_path=BROWSER, args=flags, env=environment)
        yield browser
        await browser.close()


async def open_page(browser: "Browser", address: str, problems: list[str], **options: Any) -> "Page":
    """Open the page. `problems` gets what the console says, and each request that fails or leaves the service."""
    context = await browser.new_context(**options)
    page = await context.new_page()
    page.set_default_timeout(120_000)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    page.on(
        "request", lambda request: None if request.url.startswith((address, "blob:")) else problems.append(request.url)
    )
    await page.goto(address + "/", wait_until="load")
    return page


async def assert_accessible(page: "Page") -> None:
    """Check the rules of WCAG AA, and that nothing is wider than the window."""
    from axe_playwright_python.async_playwright import Axe

    results = await Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]})
    assert results.violations_count == 0, results.generate_report()
    assert await page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
