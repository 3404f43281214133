"""Make the screenshots of the documentation from the running example: `make screenshots`.

With a folder as argument: of every situation, light and dark, wide and on a phone, to be looked at.
"""

import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Literal

from playwright.sync_api import Page, sync_playwright

from tests.example import TOP, Project, free_port, wait_until_served
from tests.situations import NAMES, Situations
from tests.test_browser import CHROMIUM, PAGE

IMAGES = TOP / "docs" / "images"
FLEET = "/admin/tenant_backup/backupsettings/"

Colours = Literal["light", "dark"]
COLOURS: list[Colours] = ["light", "dark"]
Shown = dict[str, tuple[str, str, Colours, tuple[int, int]]]

# Situation, path, colours, width and height (0: all of the page) of each image.
SHOWN: Shown = {
    "page-light": ("well", PAGE, "light", (1100, 900)),
    "page-dark": ("well", PAGE, "dark", (1100, 900)),
    "failed-phone": ("failed", PAGE, "light", (360, 740)),
    "diagnosis": ("stalled", f"{PAGE}/diagnosis", "light", (900, 0)),
    "fleet": ("failed", FLEET, "light", (1300, 560)),
}


def every_situation() -> Shown:
    shown: Shown = {}
    for name, colours, width in product(NAMES, COLOURS, [1100, 360]):
        shown[f"{name}-{colours}-{width}"] = (name, PAGE, colours, (width, 0))
    for path, colours, width in product(
        ["diagnosis", "history", "contents/28"], COLOURS, [1100, 360]
    ):
        key = f"{path.split('/')[0]}-{colours}-{width}"
        shown[key] = ("failed", f"{PAGE}/{path}", colours, (width, 0))
    return shown


def main(folder: str | None = None) -> None:
    if not CHROMIUM:
        sys.exit("There is no Chromium on this machine (Debian: apt-get install chromium).")
    images = Path(folder) if folder else IMAGES
    images.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="example-") as data, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        project = Project(Path(data))
        project.manage("setup_example", "--scale", "0.2")
        situations = Situations(project)
        port = free_port()
        with project.running("runserver", "--noreload", f"127.0.0.1:{port}") as server:
            wait_until_served(port, server)
            for name, (situation, path, colours, (width, height)) in (
                every_situation() if folder else SHOWN
            ).items():
                tenant = situations.enter(situation)
                page = browser.new_context(
                    base_url=f"http://{tenant}.localhost:{port}",
                    color_scheme=colours,
                    viewport={"width": width, "height": height or 800},
                ).new_page()
                log_in(page, "anna" if tenant == "acme" and path != FLEET else "operator")
                page.goto(path)
                page.screenshot(path=images / f"{name}.png", full_page=not height)
                page.context.close()
                print(images / f"{name}.png")
        browser.close()


def log_in(page: Page, user: str) -> None:
    page.goto("/login")
    page.get_by_label("Username").fill(user)
    page.get_by_label("Password").fill("demo")
    page.locator("main").get_by_role("button", name="Log in").click()
    page.wait_for_url("**/")


if __name__ == "__main__":
    main(*sys.argv[1:])
