"""Make the screenshots of the documentation from the running example: `make screenshots`."""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.example import TOP, Project, free_port, wait_until_served
from tests.test_browser import CHROMIUM, PAGE

IMAGES = TOP / "docs" / "images"


def main() -> None:
    if not CHROMIUM:
        sys.exit("There is no Chromium on this machine (Debian: apt-get install chromium).")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        port = free_port()
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        with Project(Path(folder)).running("demo", "--port", str(port)) as demo:
            wait_until_served(port, demo)
            for scheme in ("light", "dark"):
                page = browser.new_context(
                    base_url=f"http://acme.localhost:{port}",
                    color_scheme=scheme,
                    viewport={"width": 1100, "height": 800},
                ).new_page()
                log_in(page)
                if scheme == "light":
                    make_backups(page)
                page.screenshot(path=IMAGES / f"page-{scheme}.png")
            demo.terminate()  # which ends its cluster, too
            demo.wait()
        browser.close()


def log_in(page: Page) -> None:
    page.goto(PAGE)
    page.get_by_label("Username").fill("anna")
    page.get_by_label("Password").fill("demo")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"**{PAGE}")


def make_backups(page: Page) -> None:
    for label in ("before the price update", "before importing the new tickets"):
        page.get_by_label("Label").fill(label)
        page.get_by_role("button", name="Create backup").click()
        page.locator(".messagelist").wait_for()
    page.get_by_role("button", name="Pin").first.click()
    # The cluster's first look at its schedule comes half a minute after its start.
    page.set_default_timeout(90_000)
    page.goto(PAGE)
    while "running" not in page.locator(".summary .state").first.inner_text():
        page.wait_for_timeout(2_000)
        page.reload()


if __name__ == "__main__":
    main()
