"""Make the screenshots of the documentation from the running example: `make screenshots`.

With a folder as argument: of every situation and screen, light in English and dark in German, wide
and on a phone, to be looked at.
"""

import sys
import tempfile
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Literal, NamedTuple

from playwright.sync_api import Page, sync_playwright

from tests.example import TOP, Project, free_port, wait_until_served
from tests.situations import NAMES, Situations
from tests.test_browser import CHROMIUM, PAGE

IMAGES = TOP / "docs" / "images"
ALL_TENANTS = "/admin/tenant_backup/backupsettings/"

Colours = Literal["light", "dark"]
SEEN: list[tuple[Colours, str]] = [("light", "en-US"), ("dark", "de-DE")]
"""The words of a language take the same room in all colours."""


class Shot(NamedTuple):
    situation: str
    path: str
    colours: Colours
    width: int
    height: int = 0
    """0: all of the page."""
    locale: str = "en-US"
    tenant: str | None = None
    """None: the one that the situation is about."""
    do: Callable[[Page], None] | None = None
    """What is done on the page first."""


SHOWN = {
    "page-light": Shot("well", PAGE, "light", 1280, 900),
    "page-dark": Shot("well", PAGE, "dark", 1280, 900),
    "failed-phone": Shot("failed", PAGE, "light", 360, 740),
    "diagnosis": Shot("stalled", f"{PAGE}/diagnosis", "light", 900),
    "fleet": Shot("failed", ALL_TENANTS, "light", 1300, 560),
}


def choose(page: Page) -> None:
    for box in page.locator("table.backups").get_by_role("checkbox").all():
        box.check()
    page.locator("#delete-selected button").click()
    page.wait_for_url("**/delete")


def mistype(page: Page) -> None:
    page.locator("#settings > summary").click()
    page.locator("[name=keep_last]").fill("0")
    page.locator(".backup-settings .submit button").click()
    page.wait_for_url("**/settings")


def every_situation() -> dict[str, Shot]:
    screens = {
        **{name: (name, PAGE, None, None) for name in NAMES},
        **{
            path.split("/")[0]: ("failed", f"{PAGE}/{path}", None, None)
            for path in ["diagnosis", "history", "contents/28"]
        },
        "confirmation": ("well", PAGE, None, choose),
        "errors": ("well", PAGE, None, mistype),
        "all-tenants": ("fleet", ALL_TENANTS, None, None),
        "own-look": ("failed", PAGE, "globex", None),
        "own-look-diagnosis": ("failed", f"{PAGE}/diagnosis", "globex", None),
        "own-look-confirmation": ("well", PAGE, "globex", choose),
        "own-look-errors": ("well", PAGE, "globex", mistype),
    }
    return {
        f"{name}-{colours}-{width}-{locale[:2]}": Shot(
            situation, path, colours, width, 0, locale, tenant, do
        )
        for (name, (situation, path, tenant, do)), (colours, locale), width in product(
            screens.items(), SEEN, [1280, 360]
        )
    }


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
            for name, shot in (every_situation() if folder else SHOWN).items():
                about = situations.enter(shot.situation)
                tenant = shot.tenant or about
                page = browser.new_context(
                    base_url=f"http://{tenant}.localhost:{port}",
                    color_scheme=shot.colours,
                    locale=shot.locale,
                    viewport={"width": shot.width, "height": shot.height or 800},
                ).new_page()
                administrators = {"acme": "anna", "globex": "george"}
                log_in(
                    page,
                    administrators.get(tenant, "operator") if PAGE in shot.path else "operator",
                )
                page.goto(shot.path)
                if shot.do:
                    shot.do(page)
                page.screenshot(path=images / f"{name}.png", full_page=not shot.height)
                page.context.close()
                print(images / f"{name}.png")
        browser.close()
        situations.end()


def log_in(page: Page, user: str) -> None:
    page.goto("/login")
    page.locator("[name=username]").fill(user)
    page.locator("[name=password]").fill("demo")
    page.locator("main .login button").click()
    page.wait_for_url("**/")


if __name__ == "__main__":
    main(*sys.argv[1:])
