"""Every screen in every situation, in a real browser: what axe finds, and what does not fit.

Of the example, by its own server, under its Content-Security-Policy. The control database is put
into each situation while the server runs.
"""

import json

import pytest

from tests.example import Project, free_port, wait_until_served
from tests.situations import NAMES, Situations
from tests.test_browser import CHROMIUM, PAGE, chromium, press, sync_api  # noqa: F401

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed.")
pytestmark = pytest.mark.skipif(
    not CHROMIUM, reason="There is no Chromium on this machine (Debian: apt-get install chromium)."
)
WIDE = {"viewport": {"width": 1100, "height": 800}, "color_scheme": "light"}
PHONE = {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"}
on_each_device = pytest.mark.parametrize("device", [WIDE, PHONE], ids=["wide-light", "phone-dark"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The example in its situations, and the port on which it is served."""
    project = Project(tmp_path_factory.mktemp("screens"))
    project.manage("setup_example", "--scale", "0.02")
    situations = Situations(project)
    port = free_port()
    with project.running("runserver", "--noreload", f"127.0.0.1:{port}") as server:
        wait_until_served(port, server)
        yield situations, port


@pytest.fixture
def problems():
    """What the browser complains of: nothing, at the end."""
    problems = []
    yield problems
    assert problems == []


@pytest.fixture
def visit(site, chromium, problems):  # noqa: F811
    situations, port = site
    contexts = []

    def note(message):
        if not message.location["url"].endswith("/favicon.ico"):
            problems.append(message.text)

    def visit(situation, path=PAGE, *, tenant=None, user="operator", **options):
        about = situations.enter(situation)
        context = chromium.new_context(
            base_url=f"http://{tenant or about}.localhost:{port}", **{**WIDE, **options}
        )
        contexts.append(context)
        page = context.new_page()
        page.goto("/login")
        page.locator("[name=username]").fill(user)
        page.locator("[name=password]").fill("demo")
        press(page.locator("main button[type=submit], main button").last)
        page.on("console", note)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(path)
        return page

    yield visit
    for context in contexts:
        context.close()


@pytest.fixture
def assert_accessible(problems):
    """No violation by any of axe's rules, the best practices included; nothing is cut off."""

    def assert_accessible(page, context=None):
        assert problems == []
        found = axe.Axe().run(page, context=context).response["violations"]
        # It measures contrast by inline styles, which the policy refuses.
        problems.clear()
        assert found == [], json.dumps(
            [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found], indent=1
        )
        if not context:
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= page.viewport_size["width"]

    return assert_accessible


@on_each_device
@pytest.mark.parametrize("situation", NAMES)
def test_the_page_in_each_situation(visit, assert_accessible, situation, device):
    page = visit(situation, **device)
    for details in page.locator("details").all():
        details.evaluate("element => element.open = true")
    assert_accessible(page)


@on_each_device
@pytest.mark.parametrize("path", ["diagnosis", "history", "contents/28", "own look", "German"])
def test_the_other_screens(visit, assert_accessible, path, device):
    screens = {
        "own look": {"tenant": "globex"},
        "German": {"locale": "de-DE"},
    }
    options = screens.get(path, {"path": f"{PAGE}/{path}"})
    page = visit("failed", **options, **device)
    assert_accessible(page)
    if path == "German":
        sync_api.expect(page.locator("h1")).to_have_text("Sicherungen")


@on_each_device
def test_the_confirmation_and_the_form_with_errors(visit, assert_accessible, device):
    page = visit("well", **device)
    for number in range(2):
        page.locator("table.backups").get_by_role("checkbox").nth(number).check()
    press(page.get_by_role("button", name="Delete selected"))
    assert page.locator("ul.chosen li").count() == 2
    assert_accessible(page)
    page.goto(PAGE)
    page.get_by_label("Maximum number").fill("0")
    press(page.get_by_role("button", name="Save settings"))
    sync_api.expect(page.locator(".field-keep_last .errorlist")).to_be_visible()
    assert_accessible(page)


@pytest.mark.parametrize("tenant", ["acme", "globex"])
@pytest.mark.parametrize("locale", ["en-US", "de-DE"])
def test_no_width_is_too_narrow(visit, tenant, locale):
    page = visit("failed", tenant=tenant, locale=locale)
    assert page.locator("table.backups tbody tr").count() >= 5
    for details in page.locator("details").all():
        details.evaluate("element => element.open = true")
    for width in (320, 360, 640, 768, 900, 1024, 1100, 1152, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        wide = """modules => modules.filter(each => each.scrollWidth > each.clientWidth)
            .map(each => [each.id || each.className, each.scrollWidth, each.clientWidth])"""
        assert page.locator(".module").evaluate_all(wide) == [], width


def test_a_running_backup_moves_its_bar_and_shows_the_page_anew(visit, site):
    project = site[0].project
    page = visit("running")
    bar = page.get_by_role("progressbar")
    before = float(bar.get_attribute("value"))
    [partial] = (project.data / "tenants" / "acme" / "backups").glob(".*.partial")
    with partial.open("ab") as file:
        file.write(bytes(100_000))
    page.wait_for_function(
        "before => document.querySelector('progress').value > before", arg=before
    )
    with page.expect_navigation():
        project.manage("runbackup", "acme")
    sync_api.expect(page.locator("table.backups tbody tr").first).to_contain_text("complete")
    assert not page.get_by_role("progressbar").count()


def test_a_sentence_follows_the_choices(visit):
    page = visit("well")
    sentence = page.locator(".in-words")
    sync_api.expect(sentence).to_have_text("Every day at about 2 a.m.; keep the last 13.")
    page.get_by_label("How often").select_option("weekly")
    page.get_by_label("Maximum number").fill("3")
    sync_api.expect(sentence).to_contain_text(
        "Every week on Sunday at about 2 a.m.; keep the last 3."
    )
    sync_api.expect(sentence).to_contain_text("backups will be removed after the next one.")
    page.get_by_label("Maximum number").fill("0")
    sync_api.expect(sentence).to_be_hidden()


def test_diagnosis_is_one_click_away_and_tells_what_to_do(visit):
    page = visit("stalled")
    press(page.get_by_role("link", name="Backup doesn't work?"))
    sync_api.expect(page.locator(".answers li.wrong")).to_have_count(1)
    sync_api.expect(page.locator(".answers li.wrong")).to_contain_text("qcluster")
    assert page.locator(".answers li.well").count() >= 5


def test_everything_works_without_javascript(visit):
    page = visit("well", java_script_enabled=False)
    rows = page.locator("table.backups tbody tr")
    count = rows.count()
    press(rows.nth(0).get_by_role("button", name="Pin"))
    sync_api.expect(rows.nth(0)).to_contain_text("pinned")
    press(rows.nth(0).get_by_role("button", name="Unpin"))
    for number in (1, 2):
        rows.nth(number).get_by_role("checkbox").check()
    press(page.get_by_role("button", name="Delete selected"))
    press(page.get_by_role("button", name="Delete"))
    assert rows.count() == count - 2
    page.get_by_label("Maximum number").fill("5")
    press(page.get_by_role("button", name="Save settings"))
    sync_api.expect(page.locator(".in-words")).to_contain_text("keep the last 5")
    press(page.get_by_role("link", name="Backup doesn't work?"))
    sync_api.expect(page.locator("h1")).to_have_text("Backup doesn't work?")
    page = visit("running", java_script_enabled=False)
    press(page.get_by_role("link", name="Look again"))
    assert page.get_by_role("progressbar").is_visible()


def test_the_keyboard_alone_is_enough_and_shows_where_it_is(visit):
    page = visit("well")
    for _ in range(60):
        page.keyboard.press("Tab")
        name = page.evaluate("document.activeElement.textContent.trim()")
        if name == "Create backup":
            break
    else:
        pytest.fail("the button was never reached")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    with page.expect_navigation():
        page.keyboard.press("Enter")
    sync_api.expect(page.locator(".messagelist")).to_contain_text("The backup is complete")


@on_each_device
def test_the_operators_list_of_all_tenants(visit, assert_accessible, device):
    page = visit("failed", "/admin/tenant_backup/backupsettings/", **device)
    sync_api.expect(page.locator("#result_list tbody tr")).to_have_count(3)
    # The rest of it is Django's own.
    assert_accessible(page, ".backup-fleet")
    assert_accessible(page, "#result_list tbody")
