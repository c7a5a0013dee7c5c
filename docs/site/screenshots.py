"""Takes the pictures of the page: `python -m docs.site.screenshots` starts a server and opens it in Chromium."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

_DOCS = Path(__file__).parents[1]
_TEXT = "The staff were lovely, but the room was cold and the breakfast came late."
_PICTURES = {
    "page.png": {"viewport": {"width": 1280, "height": 860}, "color_scheme": "light"},
    "page-phone.png": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
}


def main() -> None:
    """Write the pictures into `docs/`."""
    browser_file = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser_file is None:
        sys.exit("neither Chromium nor Chrome is installed (apt-get install chromium)")
    command = [sys.executable, "-m", "app", "serve", "--port", "0", "--log-format", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            assert server.stdout
            address = next(match[0] for line in server.stdout if (match := re.search(r"http://[\d.:]+", line)))
            with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
                environment = os.environ | {"HOME": home}
                flags = ["--no-sandbox"] if os.geteuid() == 0 else []
                browser = playwright.chromium.launch(executable_path=browser_file, args=flags, env=environment)
                for name, options in _PICTURES.items():
                    page = browser.new_context(**options).new_page()
                    _show(page, address)
                    page.screenshot(path=_DOCS / name)
                    print(f"docs/{name}")
                browser.close()
        finally:
            server.terminate()


def _show(page: Page, address: str) -> None:
    page.goto(f"{address}/")
    page.get_by_label("Type or paste a text").fill(_TEXT)
    page.locator("#explanation").wait_for()
    page.locator("#sample-button").click()
    page.get_by_role("button", name="Predict again").wait_for()
    expect(page.locator("[data-status=rate]")).to_have_text(re.compile("[0-9]"), timeout=30_000)
    page.evaluate("document.activeElement.blur()")
    page.evaluate("scrollTo(0, 0)")


if __name__ == "__main__":
    main()
