"""The page in a real browser, over a live server of the example project."""

import os
import re
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import open_backup
from tests.example import Project, free_port, wait_until_served

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed.")
# A machine that is busy with other tests may take longer than the five seconds of its own.
sync_api.expect.set_options(timeout=20_000)
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
pytestmark = pytest.mark.skipif(
    not CHROMIUM, reason="There is no Chromium on this machine (Debian: apt-get install chromium)."
)
# The site is set up once, and one after the other the tests change what the next one sees of acme.
PAGE = "/settings/admin/backup"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("browser"))
    project.manage("setup_example", "--scale", "0.02")
    return project


@pytest.fixture(scope="module")
def port(project):
    port = free_port()
    with project.running("runserver", "--noreload", f"127.0.0.1:{port}") as server:
        wait_until_served(port, server)
        yield port


@pytest.fixture(scope="module")
def chromium():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, port):
    """Somebody who is logged in to a tenant's site, with the page of backups open."""
    contexts = []

    def visit(user, tenant="acme", **options):
        context = chromium.new_context(
            base_url=f"http://{tenant}.localhost:{port}", accept_downloads=True, **options
        )
        contexts.append(context)
        page = context.new_page()
        # A strict policy must not cost anything: so no inline script or style may be there.
        page.on("console", note)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(PAGE)
        page.get_by_label("Username").fill(user)
        page.get_by_label("Password").fill("demo")
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"**{PAGE}")
        return page

    problems = []

    def note(message):
        # A browser asks for an icon that nobody promised.
        if not message.location["url"].endswith("/favicon.ico"):
            problems.append(message.text)

    yield visit
    for context in contexts:
        context.close()
    assert problems == []


def press(control):
    """Clicks what loads a page, and waits until that page is there: counting does not wait."""
    with control.page.expect_navigation():
        control.click()


def rows(page):
    return page.locator("table.backups tbody tr")


def open_settings(page):
    page.locator("#settings > summary").click()


def more(row):
    """The row, with all open that one may do with the backup."""
    row.locator(".menu summary").click()
    return row


def create(page, label=""):
    page.get_by_label("Label").fill(label)
    press(page.get_by_role("button", name="Create backup"))
    sync_api.expect(page.locator(".messagelist")).to_contain_text("The backup is complete")


@pytest.mark.parametrize("scripts", [True, False])
def test_a_backup_is_made_seen_in_the_list_and_downloaded_byte_for_byte(
    visit, project, tmp_path, scripts
):
    page = visit("anna", java_script_enabled=scripts)
    before = rows(page).count()
    create(page, f"before the import, scripts {scripts}")
    assert rows(page).count() == before + 1
    first = rows(page).first
    sync_api.expect(first).to_contain_text(f"before the import, scripts {scripts}")
    sync_api.expect(first).to_contain_text("manual")
    sync_api.expect(first).to_contain_text("complete")

    with page.expect_download() as download:
        more(first).get_by_role("link", name="Download").click()
    target = tmp_path / "downloaded.sqlite3"
    download.value.save_as(target)
    [made] = [
        file
        for file in (project.database("acme").parent / "backups").iterdir()
        if file.name == download.value.suggested_filename
    ]
    assert target.read_bytes() == made.read_bytes()
    with closing(open_backup(target)) as backup:
        assert backup.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_settings_are_changed_and_the_next_run_is_read(visit):
    page = visit("anna")
    open_settings(page)
    page.get_by_label("Make backups automatically").check()
    page.get_by_label("How often").select_option("weekly")
    page.get_by_label("Time of day").fill("03:15")
    page.get_by_label(re.compile("Weekday")).select_option("Wednesday")
    page.get_by_label("Maximum number").fill("5")
    press(page.get_by_role("button", name="Save settings"))
    sync_api.expect(page.locator(".messagelist")).to_contain_text("The settings are saved")
    summary = page.locator(".headline")
    sync_api.expect(summary).to_contain_text("every week")
    next_run = summary.locator("dd").nth(1).locator("time").get_attribute("datetime")
    # 03:15 and at most half an hour, so that not all tenants start at once.
    assert re.search(r"T03:(1[5-9]|[23]\d|4[0-4])", next_run)
    sync_api.expect(page.locator("#settings > summary")).to_contain_text("the last 5")
    # They are open, and say what is kept now.
    sync_api.expect(page.locator(".in-words")).to_be_visible()
    sync_api.expect(page.get_by_label("Maximum number")).to_have_value("5")


def test_a_wrong_setting_is_said_beside_its_field_and_nothing_is_lost(visit):
    page = visit("anna")
    open_settings(page)
    page.get_by_label("Maximum number").fill("0")
    page.get_by_label("Retention period").fill("30")
    press(page.get_by_role("button", name="Save settings"))
    field = page.locator(".field-keep_last")
    sync_api.expect(field.locator(".errorlist")).to_be_visible()
    sync_api.expect(page.get_by_label("Retention period")).to_have_value("30")
    sync_api.expect(page.get_by_label("Maximum number")).to_have_value("0")


def test_a_backup_is_deleted_only_after_confirmation(visit, project):
    page = visit("anna")
    create(page, "to be deleted")
    before = rows(page).count()
    press(more(rows(page).first).get_by_role("button", name="Delete"))
    sync_api.expect(page.locator("ul.chosen")).to_contain_text("to be deleted")
    press(page.get_by_role("link", name="Cancel"))
    assert page.url.endswith(f"{PAGE}#list")
    assert rows(page).count() == before

    press(more(rows(page).first).get_by_role("button", name="Delete"))
    press(page.get_by_role("button", name="Delete"))
    sync_api.expect(page.locator(".messagelist")).to_contain_text("1 backup was deleted")
    assert rows(page).count() == before - 1
    # It may have been the only one, and then there is no list at all.
    assert page.locator("table.backups", has_text="to be deleted").count() == 0


def test_several_are_deleted_with_one_confirmation_but_no_pinned_one(visit):
    page = visit("anna")
    for number in range(3):
        create(page, f"of many {number}")
    press(more(rows(page).nth(0)).get_by_role("button", name="Pin"))
    sync_api.expect(rows(page).nth(0)).to_contain_text("pinned")
    assert rows(page).nth(0).get_by_role("checkbox").count() == 0
    for number in (1, 2):
        rows(page).nth(number).get_by_role("checkbox").check()
    press(page.get_by_role("button", name="Delete selected"))
    assert page.locator("ul.chosen li").count() == 2
    press(page.get_by_role("button", name="Delete"))
    sync_api.expect(page.locator(".messagelist")).to_contain_text("2 backups were deleted")
    sync_api.expect(page.locator("table.backups")).to_contain_text("of many 2")
    press(more(rows(page).nth(0)).get_by_role("button", name="Unpin"))
    sync_api.expect(rows(page).nth(0)).not_to_contain_text("pinned")


def test_a_failure_is_said_in_words_on_the_page(visit, project):
    page = visit("george", tenant="globex")
    database = project.database("globex")
    away = database.rename(database.with_name("away.sqlite3"))
    try:
        press(page.get_by_role("button", name="Create backup"))
        # In the look of the tenant's own site.
        sync_api.expect(page.locator(".message")).to_contain_text("does not exist")
        sync_api.expect(page.locator(".headline")).to_contain_text("There is no good backup at all")
    finally:
        away.rename(database)
    press(page.get_by_role("button", name="Create backup"))
    sync_api.expect(page.locator(".message")).to_contain_text("The backup is complete")


def test_a_member_without_permission_is_refused(visit, port, chromium):
    context = chromium.new_context(base_url=f"http://acme.localhost:{port}")
    page = context.new_page()
    page.goto("/login")
    page.get_by_label("Username").fill("mike")
    page.get_by_label("Password").fill("demo")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/")
    assert page.goto(PAGE).status == 403
    context.close()


def test_a_phone_scrolls_in_one_direction_only(visit):
    page = visit("anna", viewport={"width": 360, "height": 740})
    create(page, "on the phone, with a label that is so long that it has to wrap somewhere")
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 360


def test_the_files_are_where_the_page_says_to_the_operator_alone(visit, project):
    page = visit("anna")
    create(page)
    directory = project.database("acme").parent / "backups"
    sync_api.expect(page.locator("body")).not_to_contain_text(str(directory))
    sync_api.expect(visit("operator").locator("body")).to_contain_text(str(directory))
    assert Path(directory).is_dir()


@pytest.mark.parametrize("scripts", [True, False])
def test_the_operator_copies_the_command_and_unfolds_the_restore_by_hand(visit, scripts):
    page = visit("operator", java_script_enabled=scripts)
    create(page)
    page.goto(rows(page).first.locator("a[href*='/contents/']").get_attribute("href"))
    by_hand = page.locator("pre", has_text="sh -eu")
    sync_api.expect(by_hand).to_be_hidden()
    page.get_by_text("restore by hand").click()
    sync_api.expect(by_hand).to_be_visible()
    buttons = page.locator(".button.copy")
    assert buttons.count() == (2 if scripts else 0)
    if scripts:
        page.context.grant_permissions(["clipboard-read"])
        for place, button in enumerate(buttons.all()):
            shown = page.locator("pre").nth(place).text_content()
            sync_api.expect(button).to_have_text("Copy")
            button.focus()
            page.keyboard.press("Enter")
            sync_api.expect(button).to_have_text("Copied")
            copied = page.evaluate("navigator.clipboard.readText()")
            assert copied.strip() == shown.strip()
            assert len(copied.splitlines()) == len(shown.splitlines())


def test_a_link_opens_the_help_without_scripts(visit):
    page = visit("anna", java_script_enabled=False)
    first = page.locator("#help h3").first
    sync_api.expect(first).to_be_hidden()
    page.goto(f"{PAGE}#help-text")
    sync_api.expect(first).to_be_visible()
    sync_api.expect(first).to_have_text("How to get data back")
