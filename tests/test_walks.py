"""Whole walks in a real browser: by keyboard alone, by finger on a phone, without JavaScript."""

import re

import pytest

from tests.lengths import at_length
from tests.test_browser import CHROMIUM, PAGE, chromium, sync_api
from tests.test_screens import ADMIN, PHONE, problems, site, visit

__all__ = ["chromium", "problems", "site", "visit"]  # fixtures
pytestmark = pytest.mark.skipif(
    not CHROMIUM, reason="There is no Chromium on this machine (Debian: apt-get install chromium)."
)


class Mouse:
    """Somebody at a desk. What is done here leads somewhere else only where it is said."""

    options: dict[str, object] = {}

    def __init__(self, page):
        self.page = page

    def use(self, control):
        control.click()

    def follow(self, control):
        """Use what loads another page, and wait until it is there."""
        with self.page.expect_navigation():
            self.use(control)

    def write(self, field, text):
        self.use(field)
        self.page.keyboard.type(text)


class WithoutScripts(Mouse):
    options = {"java_script_enabled": False}


class Finger(Mouse):
    """Somebody with a phone, who scrolls in one direction only."""

    options = {"viewport": PHONE, "has_touch": True, "is_mobile": True}

    def use(self, control):
        control.scroll_into_view_if_needed()
        box = control.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE["width"]
        assert self.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        control.tap()


class Keyboard(Mouse):
    """Somebody who has no other way to get to anything than Tab."""

    def use(self, control):
        self.reach(control)
        is_box = control.evaluate("element => element.type == 'checkbox'")
        self.page.keyboard.press("Space" if is_box else "Enter")

    def write(self, field, text):
        self.reach(field)
        self.page.keyboard.type(text)

    def reach(self, control, at_most=150):
        """Go on to what is wanted, and see there that one is there; return after how many steps."""
        sync_api.expect(control).to_have_count(1)
        for steps in range(at_most + 1):
            if control.evaluate("element => element == document.activeElement"):
                sync_api.expect(control).to_be_in_viewport()
                assert control.evaluate("element => getComputedStyle(element).outlineStyle") in (
                    "solid",
                    "auto",
                )
                return steps
            self.page.keyboard.press("Tab")
        pytest.fail(f"{control} was not reached by {at_most} presses of Tab")


WAYS = {"keyboard": Keyboard, "phone": Finger, "without scripts": WithoutScripts}


@pytest.fixture(params=at_length(["keyboard", "without scripts"], list(WAYS)))
def walk(request, visit):
    """Somebody who has come to a page and goes on in one of the three ways."""

    def walk(situation, path=PAGE, **options):
        way = WAYS[request.param]
        return way(visit(situation, path, **(way.options | options)))

    return walk


def lines(page):
    return page.locator("table.backups tbody tr")


def test_create(walk):
    somebody = walk("well")
    page = somebody.page
    somebody.write(page.get_by_label("Label"), "before the import")
    somebody.follow(page.get_by_role("button", name="Create backup"))
    sync_api.expect(page.locator(".messagelist")).to_contain_text("The backup is complete: acme-")
    # Once, and whoever made it is led to it.
    sync_api.expect(lines(page).filter(has_text="before the import")).to_have_count(1)
    made = page.locator("tr:target")
    sync_api.expect(made).to_contain_text("before the import")
    sync_api.expect(made).to_contain_text("complete")
    sync_api.expect(made).to_be_in_viewport()


def test_delete_with_regret(walk, site):
    files = site[0].project.data / "tenants" / "acme" / "backups"
    somebody = walk("well")
    page = somebody.page
    before, kept = lines(page).all_inner_texts(), sorted(files.iterdir())
    for number in (0, 2):
        somebody.use(lines(page).nth(number).get_by_role("checkbox"))
    somebody.follow(page.get_by_role("button", name="Delete selected"))
    sync_api.expect(page.locator("ul.chosen li")).to_have_count(2)
    # Two of sixteen good ones, the newest among them.
    remaining = page.locator(".remaining")
    sync_api.expect(remaining).to_contain_text("14 good backups will remain. Your newest will be")
    sync_api.expect(remaining).to_be_in_viewport()
    cancel = page.get_by_role("link", name="Cancel")
    sync_api.expect(cancel).to_be_in_viewport()
    somebody.follow(cancel)
    assert page.url.endswith(f"{PAGE}#list")
    sync_api.expect(page.locator("#list-heading")).to_be_in_viewport()
    assert not page.locator(".messagelist").count()
    assert lines(page).all_inner_texts() == before
    assert sorted(files.iterdir()) == kept


def test_change_to_a_preset_and_save(walk):
    somebody = walk("well")
    page = somebody.page
    settings = page.locator("#settings > summary")
    sync_api.expect(settings).to_contain_text("the last 13")
    somebody.use(page.locator(".headline").get_by_role("link", name="Settings"))
    preset = page.get_by_role("button", name="Every hour, kept two days")
    # The link has opened it.
    sync_api.expect(preset).to_be_visible()
    somebody.use(preset)
    unsaved = page.locator(".unsaved")
    sync_api.expect(unsaved).to_have_text("Not saved yet: look at it and save.")
    sync_api.expect(page.get_by_label("How often")).to_have_value("hourly")
    save = page.get_by_role("button", name="Save settings")
    # Whoever has chosen has nothing to look for.
    sync_api.expect(save).to_be_focused()
    sync_api.expect(save).to_be_in_viewport()
    somebody.follow(save)
    sync_api.expect(page.locator(".messagelist")).to_contain_text("The settings are saved.")
    sync_api.expect(settings).to_contain_text("Settings: every hour")
    sync_api.expect(page.locator(".headline")).to_contain_text("(every hour)")


def test_all_contracts_are_deleted_and_asked_back(walk):
    """The accident of the example, as its administrator finds it on the page."""
    somebody = walk("well", "/", user="anna")
    page = somebody.page
    somebody.follow(page.get_by_role("button", name="Delete all contracts"))
    page.goto(PAGE)
    before = lines(page).first.locator(".number").inner_text().split()[-1]
    somebody.follow(page.get_by_role("button", name="Create backup"))
    card = page.locator(".headline")
    sync_api.expect(card.locator("h2")).to_have_text("Rows have been lost.")
    sync_api.expect(card).to_contain_text("72 contracts fewer than")
    # Nothing removes the backup before, and the list says why.
    held = page.locator(f"#backup-{before}")
    sync_api.expect(held).to_contain_text("It is the last backup before rows were lost.")
    somebody.use(page.get_by_role("link", name="See when, and how to get them back."))
    part = page.locator("#lost")
    sync_api.expect(part).to_be_in_viewport()
    sync_api.expect(part.locator("tr", has_text="Contracts")).to_contain_text("from 72 to 0")
    sync_api.expect(part).to_contain_text(f"No. {before}, made")
    sync_api.expect(part.get_by_role("checkbox", name="Contracts")).to_be_checked()
    somebody.write(part.get_by_label("What is missing"), "all contracts")
    somebody.follow(part.get_by_role("button", name="Ask the operator for it"))
    sync_api.expect(page.locator(".messagelist")).to_contain_text("the backup is held")
    sync_api.expect(part.locator(".banner")).to_contain_text("anna asked today")
    sync_api.expect(part.locator(".banner")).to_contain_text("all contracts")
    somebody.follow(part.get_by_role("link", name="See what was in it"))
    contracts = page.locator("table.contents tr", has_text="Contracts")
    sync_api.expect(contracts.locator("td")).to_have_text(["72", "0", "72", "0", "0"])
    somebody.follow(contracts.get_by_role("link"))
    sync_api.expect(page.locator("table.values tbody tr")).to_have_count(20)
    somebody.follow(page.get_by_role("link", name="Next"))
    sync_api.expect(page.locator("table.values tbody tr")).to_have_count(20)
    page.goto(PAGE)
    somebody.follow(part.get_by_role("button", name="Take it back"))
    sync_api.expect(page.locator(".messagelist")).to_contain_text("The request was taken back.")
    somebody.follow(part.get_by_role("button", name="Intended: Contracts"))
    somebody.follow(part.get_by_role("button", name="Intended: Tickets"))
    sync_api.expect(card.locator("h2")).not_to_have_text("Rows have been lost.")


def test_find_why_it_failed(walk):
    somebody = walk("failed")
    page = somebody.page
    # The verdict and its reason are what one sees first.
    card = page.locator(".headline")
    sync_api.expect(card.locator("h2")).to_have_text("The last attempt to make a backup failed.")
    reason = re.compile("The database .* does not exist")
    sync_api.expect(card.locator(".advice")).to_contain_text(reason)
    sync_api.expect(card.locator(".advice")).to_be_in_viewport()
    somebody.follow(page.get_by_role("link", name="Find out what is wrong."))
    sync_api.expect(page.locator("h1")).to_have_text("Backup doesn't work?")
    wrong = page.locator(".answers li.wrong")
    sync_api.expect(wrong).to_have_count(1)
    sync_api.expect(wrong).to_contain_text(reason)
    sync_api.expect(wrong.locator(".advice")).to_be_visible()


def test_the_operator_finds_why_it_failed_and_puts_it_right(walk, site):
    """No click from the list of all tenants to the reason, and one to the remedy."""
    somebody = walk("failed", f"{ADMIN}/backupsettings/")
    page = somebody.page
    worst = page.locator("#result_list tbody tr").first
    sync_api.expect(worst).to_contain_text("Acme")
    reason = worst.get_by_text(re.compile("The database .* does not exist"))
    sync_api.expect(reason).to_be_visible()
    somebody.follow(worst.get_by_role("button", name="Back up now"))
    assert re.search(r"/backupsettings/\d+/change/$", page.url)
    sync_api.expect(page.locator(".messagelist")).to_contain_text("1 backup is queued")
    verdict = page.locator("#verdict-heading")
    sync_api.expect(verdict).to_contain_text("failed")
    # There is no worker here.
    site[0].project.manage("runbackup", "acme")
    somebody.follow(page.get_by_role("link", name="Reload the page"))
    sync_api.expect(verdict).not_to_contain_text("failed")
    sync_api.expect(verdict).to_be_in_viewport()


def test_the_settings_are_near_by_keyboard(visit):
    """From the very top, the host's own frame included, and whatever is wrong."""
    for situation in ("well", "failed"):
        somebody = Keyboard(visit(situation))
        link = somebody.page.locator(".headline").get_by_role("link", name="Settings")
        assert somebody.reach(link) <= 8
