"""Every screen in every situation, in a real browser: what axe finds, and what does not fit.

Of the example, by its own server, under its Content-Security-Policy. The control database is put
into each situation while the server runs.
"""

import json
import re
import sqlite3
from contextlib import closing
from zlib import crc32

import pytest

from tests.example import Project, free_port, wait_until_served
from tests.lengths import LONG, at_length
from tests.situations import NAMES, Situations
from tests.test_browser import CHROMIUM, PAGE, chromium, more, open_settings, press, sync_api  # noqa: F401

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed.")
pytestmark = pytest.mark.skipif(
    not CHROMIUM, reason="There is no Chromium on this machine (Debian: apt-get install chromium)."
)
ADMIN = "/admin/tenant_backup"
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
USUAL = [(WIDE, "light"), (PHONE, "dark")]
ALL = [*USUAL, (WIDE, "dark"), (PHONE, "light")]


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
    situations.end()


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
            base_url=f"http://{tenant or about}.localhost:{port}", **{"viewport": WIDE, **options}
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
    """No violation by any of axe's rules, the best practices included; nothing is cut off.

    Axe takes a second for each device, so that by default it looks at one of them, and of two
    screens not always at the same.
    """

    def assert_accessible(page, devices=USUAL):
        assert problems == []
        for details in page.locator("details").all():
            details.evaluate("element => element.open = true")
        looked_at = devices if LONG else [devices[crc32(page.url.encode()) % len(devices)]]
        for viewport, colours in devices:
            page.set_viewport_size(viewport)
            page.emulate_media(color_scheme=colours)
            # Colours change little by little; what is between is nobody's.
            page.evaluate("document.getAnimations().forEach(each => each.finish())")
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= viewport["width"]
            if (viewport, colours) not in looked_at:
                continue
            found = axe.Axe().run(page).response["violations"]
            # It measures contrast by inline styles, which the policy refuses.
            problems.clear()
            assert found == [], json.dumps(
                [
                    page.url,
                    viewport["width"],
                    colours,
                    [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found],
                ],
                indent=1,
            )

    return assert_accessible


USUAL_ONES = ["well", "failed", "running", "stalled", "rows_lost"]


@pytest.mark.parametrize("situation", at_length(USUAL_ONES, NAMES))
@pytest.mark.parametrize("locale", at_length(["en-US"], ["en-US", "de-DE"]))
def test_the_page_in_each_situation(visit, assert_accessible, situation, locale):
    assert_accessible(visit(situation, locale=locale), ALL if situation == "failed" else USUAL)


@pytest.mark.parametrize(
    ("tenant", "locale", "devices"),
    [("globex", "de-DE", ALL), *at_length([], [("acme", "en-US", ALL), ("acme", "de-DE", USUAL)])],
)
def test_the_screens_behind_it(visit, assert_accessible, tenant, locale, devices):
    page = visit("failed", tenant=tenant, locale=locale)
    is_german = locale == "de-DE"
    sync_api.expect(page.locator("h1")).to_have_text("Sicherungen" if is_german else "Backups")
    inside = page.locator("table.backups a[href*=contents]").first.get_attribute("href")
    opened = f"{inside.replace('/contents/', '/rows/')}?table=business_inventoryitem&kind=changed"
    paths = [inside, opened, f"{PAGE}/diagnosis", f"{PAGE}/history"]
    # Of acme in English this is one of the situations.
    for path in [PAGE, *paths] if is_german else paths:
        page.goto(path)
        assert_accessible(page, devices)


@pytest.mark.parametrize("tenant", at_length(["acme"], ["acme", "globex"]))
def test_the_confirmation_and_the_form_with_errors(visit, assert_accessible, tenant):
    page = visit("well", tenant=tenant)
    open_settings(page)
    page.get_by_label("Maximum number").fill("0")
    press(page.get_by_role("button", name="Save settings"))
    sync_api.expect(page.locator(".field-keep_last .errorlist")).to_be_visible()
    assert_accessible(page)
    page.goto(PAGE)
    for number in range(2):
        page.locator("table.backups").get_by_role("checkbox").nth(number).check()
    press(page.get_by_role("button", name="Delete selected"))
    assert page.locator("ul.chosen li").count() == 2
    assert not page.locator(".banner.error").count()
    assert_accessible(page)


@pytest.mark.parametrize("tenant", at_length(["globex"], ["acme", "globex"]))
def test_the_confirmation_that_warns(visit, assert_accessible, tenant):
    page = visit("well", tenant=tenant, locale="de-DE")
    row = page.locator("table.backups tr", has_text="angeheftet")
    press(more(row).get_by_role("button", name="Lösen"))
    for box in page.locator("table.backups").get_by_role("checkbox").all():
        box.check()
    press(page.locator("#delete-selected button"))
    sync_api.expect(page.locator(".banner.error")).to_be_visible()
    assert_accessible(page, ALL)


@pytest.mark.parametrize("tenant", at_length(["globex"], ["acme", "globex"]))
@pytest.mark.parametrize("locale", at_length(["de-DE"], ["en-US", "de-DE"]))
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


@pytest.mark.parametrize("tenant", at_length(["globex"], ["acme", "globex"]))
def test_each_setting_stands_beside_its_label_and_on_a_phone_below_it(visit, tenant):
    page = visit("well", tenant=tenant, locale="de-DE")
    open_settings(page)
    page.locator(".backup-settings details").evaluate("element => element.open = true")

    def boxes():
        """Of each row that is shown: its own, its label's and its control's."""
        rows = page.locator(".backup-settings .setting:visible").all()
        assert len(rows) == 9
        return [
            [part.bounding_box() for part in (row, row.locator("label"), row.locator("[name]"))]
            for row in rows
        ]

    for row, label, control in boxes():
        assert label["x"] + label["width"] <= control["x"]
        assert abs(label["y"] - control["y"]) <= 20
        assert row["height"] <= 130
    for group in page.locator(".backup-settings fieldset").all():
        legend, row = group.locator("legend"), group.locator(".setting, .presets").first
        bottom = legend.bounding_box()["y"] + legend.bounding_box()["height"]
        assert bottom <= row.bounding_box()["y"]
    page.set_viewport_size(PHONE)
    for _row, label, control in boxes():
        assert label["y"] + label["height"] <= control["y"]


def test_on_a_phone_what_must_be_ticked_stands_above_the_button(visit):
    """At the limit of backups made by hand the form has a box, which is put in by hand here."""
    page = visit("well")
    page.locator(".create button").evaluate(
        """button => {
            const label = document.createElement("label");
            label.className = "replace";
            label.textContent = "Delete the oldest one";
            button.before(label);
        }"""
    )
    button, box = page.locator(".create button"), page.locator(".create .replace")
    assert button.bounding_box()["y"] < box.bounding_box()["y"]
    page.set_viewport_size(PHONE)
    assert box.bounding_box()["y"] < button.bounding_box()["y"]


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
    sync_api.expect(page.locator(".messagelist")).to_contain_text("The backup failed. Interrupted")
    # It leads to the line of the backup that the page was waiting for, and marks it.
    sync_api.expect(page.locator("tr:target")).to_contain_text("failed")


def test_a_queued_backup_that_is_made_ends_with_a_message(visit, site):
    page = visit("queued")
    sync_api.expect(page.locator(".active")).to_contain_text("A backup is queued.")
    with page.expect_navigation():
        site[0].project.manage("runbackup", "acme")
    sync_api.expect(page.locator(".messagelist")).to_contain_text("The backup is complete: acme-")
    assert not page.locator(".active").count()
    marked = page.locator("tr:target")
    sync_api.expect(marked).to_contain_text("complete")
    assert marked.evaluate("row => getComputedStyle(row).outlineStyle") == "solid"


@pytest.fixture
def held_up():
    """Let a page's requests for a backup get no answer, as on a slow network; return their list."""

    def held_up(page):
        sent = []

        def hold(route):
            sent.append(route.request.method)
            route.fulfill(status=204)  # with this the browser stays where it is

        page.route("**/create", hold)
        return sent

    return held_up


def test_create_answers_at_once_and_however_often_it_is_pressed_only_once(visit, held_up):
    page = visit("well")
    sent = held_up(page)
    button, asked = page.locator(".create button"), page.locator(".create [role=status]")
    sync_api.expect(button).to_be_enabled()
    sync_api.expect(asked).to_have_text("")
    button.dblclick()
    sync_api.expect(button).to_be_disabled()
    sync_api.expect(asked).to_have_text("Asked for. Please wait a moment…")
    page.locator("#id_label").press("Enter")
    assert sent == ["POST"]
    # As if a browser brought the page back as it was left. Playwright's keeps no such pages.
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    sync_api.expect(button).to_be_enabled()
    sync_api.expect(asked).to_have_text("")
    page.unroute("**/create")
    press(button)
    sync_api.expect(page.locator(".messagelist")).to_contain_text("The backup is complete: acme-")
    sync_api.expect(page.locator("tr:target")).to_contain_text("by operator")
    sync_api.expect(page.locator("tr:target")).to_be_in_viewport()
    assert page.locator("table.backups tbody tr", has_text="by operator").count() == 1


def test_what_is_being_sent_is_not_given_up_for_the_end_of_another(visit, site, held_up):
    page = visit("queued", locale="de-DE")
    sent = held_up(page)
    page.locator(".create button").click()
    site[0].project.manage("runbackup", "acme")
    status = page.locator(".active").get_by_role("status")
    sync_api.expect(status).to_contain_text("acme-")
    opened = page.evaluate("performance.timeOrigin")
    page.wait_for_timeout(1500)  # the page would be loaded anew after one second
    assert page.evaluate("performance.timeOrigin") == opened
    assert sent == ["POST"]


def test_what_came_of_it_is_said_without_a_word_lost_that_somebody_types(visit, site):
    page = visit("queued")
    label = page.get_by_label("Label")
    label.press_sequentially("before the imp")
    site[0].project.manage("runbackup", "acme")
    status = page.locator(".active").get_by_role("status")
    sync_api.expect(status).to_contain_text("The backup is complete: acme-")
    sync_api.expect(page.locator(".active")).not_to_contain_text("queued")
    sync_api.expect(label).to_have_value("before the imp")
    press(page.get_by_role("link", name="Reload the page"))
    sync_api.expect(page.locator(".messagelist")).to_contain_text("The backup is complete: acme-")


def test_a_sentence_follows_the_choices(visit):
    page = visit("well")
    open_settings(page)
    sentence = page.locator(".in-words")
    sync_api.expect(sentence.locator("output").first).to_have_text(
        "Every day at about 2 a.m.; keep the last 13."
    )
    sync_api.expect(sentence).to_contain_text("Later it keeps up to 13 automatic ones")
    page.get_by_label("How often").select_option("weekly")
    page.get_by_label("Maximum number").fill("3")
    sync_api.expect(sentence).to_contain_text(
        "Every week on Sunday at about 2 a.m.; keep the last 3."
    )
    sync_api.expect(sentence).to_contain_text("backups will be removed after the next one.")
    sync_api.expect(sentence).to_contain_text("Later it keeps up to 3 automatic ones")
    page.get_by_label("Maximum number").fill("0")
    sync_api.expect(sentence).to_be_hidden()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_preset_is_chosen_looked_at_and_saved(visit, scripts):
    page = visit("well", f"{PAGE}#settings-form", java_script_enabled=scripts)
    # The fragment has opened it, with or without a script.
    page.get_by_label("Time of day").fill("03:15")
    page.get_by_label("Send notices to").fill("boss@example.com")
    preset = page.get_by_role("button", name="Every night, kept two weeks")
    sync_api.expect(page.locator(".presets li").first).to_contain_text("at today's size")
    preset.click() if scripts else press(preset)
    sync_api.expect(page.locator(".unsaved")).to_have_text("Not saved yet: look at it and save.")
    sync_api.expect(page.locator(".in-words")).to_contain_text("one a month for 13 months")
    sync_api.expect(page.locator(".in-words")).to_contain_text("back to about a year ago")
    for label, value in {
        "How often": "daily",
        "Retention period": "14",
        "Maximum number": "",
        "Monthly:": "13",  # and Advanced is open
        "Time of day": "03:15",
        "Send notices to": "boss@example.com",
    }.items():
        sync_api.expect(page.get_by_label(label)).to_have_value(value)
    sync_api.expect(page.get_by_label("Monthly:")).to_be_visible()
    save = page.get_by_role("button", name="Save settings")
    sync_api.expect(save).to_be_focused()
    with page.expect_navigation():
        page.keyboard.press("Enter")
    sync_api.expect(page.locator(".messagelist")).to_contain_text("The settings are saved.")
    sync_api.expect(page.locator("#settings > summary")).to_contain_text(
        "Settings: every day at 3:15 a.m., the last 14 days and some older ones"
    )


def test_the_enter_key_saves_and_chooses_no_preset(visit):
    page = visit("well", f"{PAGE}#settings-form")
    page.get_by_label("Maximum number").fill("6")
    with page.expect_navigation():
        page.get_by_label("Maximum number").press("Enter")
    sync_api.expect(page.locator("#settings > summary")).to_contain_text("the last 6")


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
    press(more(rows.nth(0)).get_by_role("button", name="Pin"))
    sync_api.expect(rows.nth(0)).to_contain_text("pinned")
    press(more(rows.nth(0)).get_by_role("button", name="Unpin"))
    for number in (1, 2):
        rows.nth(number).get_by_role("checkbox").check()
    press(page.get_by_role("button", name="Delete selected"))
    press(page.get_by_role("button", name="Delete"))
    assert rows.count() == count - 2
    open_settings(page)
    page.get_by_label("Maximum number").fill("5")
    press(page.get_by_role("button", name="Save settings"))
    sync_api.expect(page.locator(".in-words")).to_contain_text("keep the last 5")
    page = visit("stalled", java_script_enabled=False)
    press(page.get_by_role("link", name="Backup doesn't work?"))
    sync_api.expect(page.locator("h1")).to_have_text("Backup doesn't work?")
    page = visit("running", java_script_enabled=False)
    press(page.get_by_role("link", name="Reload the page"))
    assert page.get_by_role("progressbar").is_visible()


def test_the_keyboard_alone_is_enough(visit):
    page = visit("well")
    for _ in range(60):
        page.keyboard.press("Tab")
        name = page.evaluate("document.activeElement.textContent.trim()")
        if name == "Create backup":
            break
    else:
        pytest.fail("the button was never reached")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    sync_api.expect(page.locator(".messagelist")).to_contain_text("The backup is complete")


@pytest.mark.parametrize("tenant", at_length(["globex"], ["acme", "globex"]))
def test_whatever_has_the_focus_is_seen_to_have_it(visit, tenant):
    page = visit("well", tenant=tenant)
    for details in page.locator("details").all():
        details.evaluate("element => element.open = true")
    page.locator("h1").click()
    seen = set()
    while "email" not in seen:
        page.keyboard.press("Tab")
        what, style, width, colour = page.evaluate(
            """() => {
                const at = document.activeElement, style = getComputedStyle(at);
                const kind = at.localName == "input" ? at.type : at.localName;
                return [at.className == "link" ? "button in a row" : kind,
                    style.outlineStyle, parseFloat(style.outlineWidth), style.outlineColor];
            }"""
        )
        if what == "time" and what in seen:
            continue  # at the clock within the field, around which the browser draws its own
        assert style == "solid", what
        assert width >= 2, what
        # Another colour has a part that is transparent.
        assert re.fullmatch(r"rgb\(\d+, \d+, \d+\)", colour), what
        seen.add(what)
    assert seen >= {
        *("a", "text", "button", "button in a row", "summary", "checkbox"),
        *("select", "time", "number"),
    }


ACME_WITH_16 = """DELETE FROM tenant_backup_backup WHERE tenant_id = 'acme' AND status = 'failed'"""


@pytest.mark.parametrize("locale", ["en-US", "de-DE"])
def test_on_a_phone_the_page_is_short(visit, site, locale):
    page = visit("well", locale=locale)
    with closing(sqlite3.connect(site[0].catalog)) as catalog, catalog:
        catalog.execute(ACME_WITH_16)
    page.set_viewport_size(PHONE)
    page.reload()
    assert page.locator("table.backups tbody tr").count() == 16
    assert page.evaluate("document.documentElement.scrollHeight") <= 2400
    for row in page.locator("table.backups tbody tr").all():
        is_plain = row.locator("td.label").inner_text() == ""
        assert row.bounding_box()["height"] <= (60 if is_plain else 110)


@pytest.mark.parametrize("tenant", at_length(["globex"], ["acme", "globex"]))
def test_the_keyboard_reaches_settings_and_help_at_once(visit, tenant):
    for name, opened in [
        ("Settings", "#settings"),
        ("Something lost?", "#lost"),
        ("Help", "#help"),
    ]:
        page = visit("failed", tenant=tenant, java_script_enabled=False)
        # From the top of the page's own content.
        page.locator("h1").click()
        for _ in range(8):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.textContent.trim()") == name:
                break
        else:
            pytest.fail(f"{name} was not reached")
        page.keyboard.press("Enter")
        sync_api.expect(page.locator(opened)).to_have_attribute("open", "")


@pytest.mark.parametrize("tenant", at_length(["globex"], ["acme", "globex"]))
def test_on_a_phone_a_finger_hits_what_it_means(visit, tenant):
    page = visit("well", tenant=tenant)
    page.set_viewport_size(PHONE)
    for details in page.locator("#list details").all():
        details.evaluate("element => element.open = true")
    small = """parts => parts.filter(each => each.getClientRects().length
            && !each.closest("p") && each.type != "hidden"
            && each.getBoundingClientRect().height < 24)
        .map(each => [each.outerHTML.slice(0, 80), each.getBoundingClientRect().height])"""
    controls = (
        "#list :is(a, button, input, select, summary), .headline nav a, .create :is(button, input)"
    )
    assert page.locator(f"{controls}, details.module > summary").evaluate_all(small) == []


def test_whoever_pins_and_deletes_stays_where_they_are(visit):
    page = visit("well")
    page.set_viewport_size(PHONE)
    row = page.locator("table.backups tbody tr").nth(10)
    name = row.get_attribute("id")
    press(more(row).get_by_role("button", name="Pin"))
    assert page.url.endswith(f"{PAGE}#{name}")
    row = page.locator(f"#{name}")
    sync_api.expect(row).to_be_in_viewport()
    sync_api.expect(page.locator(".messagelist")).to_be_in_viewport()
    shown, said = row.bounding_box(), page.locator(".messagelist").bounding_box()
    assert said["y"] + said["height"] <= shown["y"]
    press(more(row).get_by_role("button", name="Unpin"))
    row = page.locator(f"#{name}")
    press(more(row).get_by_role("button", name="Delete"))
    press(page.get_by_role("button", name="Delete"))
    assert page.url.endswith(f"{PAGE}#list")
    assert not page.locator(f"#{name}").count()
    sync_api.expect(page.locator("#list-heading")).to_be_in_viewport()


def test_one_box_selects_all_and_the_button_says_how_many(visit):
    page = visit("well")
    button = page.get_by_role("button", name="Delete selected")
    sync_api.expect(button).to_have_text("Delete selected…")
    boxes = page.locator("table.backups").get_by_role("checkbox")
    number = boxes.count()
    boxes.first.check()
    sync_api.expect(button).to_have_text("Delete selected… (1)")
    every = page.get_by_label("Select all")
    assert every.evaluate("box => box.indeterminate")
    every.check()
    sync_api.expect(button).to_have_text(f"Delete selected… ({number})")
    press(button)
    assert page.locator("ul.chosen li").count() == number
    page = visit("well", java_script_enabled=False)
    assert not page.get_by_label("Select all").count()


def test_a_search_without_javascript_leads_to_what_is_found_and_back(visit):
    page = visit("well", java_script_enabled=False)
    page.get_by_text("Search by label, or filter").click()
    page.locator("[name=q]").fill("PRICE")
    page.locator("[name=show]").select_option("pinned")
    press(page.get_by_role("button", name="Search"))
    row = page.locator("table.backups tbody tr")
    sync_api.expect(row).to_have_count(1)
    press(more(row).get_by_role("button", name="Unpin"))
    sync_api.expect(page.locator("#list")).to_contain_text("No backup was found.")
    press(page.get_by_role("link", name="Show all"))
    assert row.count() > 10


def test_a_failed_day_is_hatched(visit):
    page = visit("well")
    fill = "element => getComputedStyle(element).fill"
    failed = page.locator(".chart rect.failed").first.evaluate(fill)
    assert "#hatched" in failed
    assert page.locator("#hatched path").count() == 1


@pytest.mark.parametrize("locale", at_length(["de-DE"], ["en-US", "de-DE"]))
def test_the_operators_pages(visit, assert_accessible, locale):
    page = visit("failed", f"{ADMIN}/backupsettings/", locale=locale)
    sync_api.expect(page.locator("#result_list tbody tr")).to_have_count(3)
    assert_accessible(page, ALL)
    for path in [
        "backupsettings/?q=acme&state=error",
        "backupsettings/1/change/",
        "backupsettings/1/history/",
        "backupsettings/1/contents/28/",
        "backup/",
        "backup/28/change/",
        "backup/28/delete/",
        "automation/",
        "event/",
    ]:
        page.goto(f"{ADMIN}/{path}")
        assert page.url.endswith(path)
        assert_accessible(page)
    page.set_viewport_size(WIDE)
    for path in ["backup/?status__exact=failed", "backupsettings/"]:
        page.goto(f"{ADMIN}/{path}")
        # With all columns, reasons included.
        results = "document.querySelector('#changelist .results')"
        assert page.evaluate(f"{results}.scrollWidth <= {results}.clientWidth")
    page.goto(f"{ADMIN}/backup/")
    page.locator("tbody").get_by_role("checkbox").nth(1).check()
    page.locator("[name=action]").first.select_option("delete_selected")
    press(page.locator("#changelist-form .actions button").first)
    assert page.locator("[name=post]").count()
    assert_accessible(page)


@pytest.mark.parametrize("locale", at_length([], ["en-US", "de-DE"]))
def test_the_operators_pages_of_two_hundred_tenants(visit, assert_accessible, locale):
    page = visit("fleet", f"{ADMIN}/backupsettings/", locale=locale)
    sync_api.expect(page.locator("#result_list tbody tr").first).to_contain_text("db.sqlite3")
    assert_accessible(page)
    for situation in ("no_room", "many"):
        page = visit(situation, f"{ADMIN}/backupsettings/", locale=locale)
        assert_accessible(page)
        page.locator("#result_list").get_by_role("link", name="Acme").click()
        page.wait_for_url("**/change/")
        assert_accessible(page)


@pytest.mark.parametrize("locale", at_length(["de-DE"], ["en-US", "de-DE"]))
def test_the_operator_gets_from_the_fleet_to_the_remedy(visit, assert_accessible, locale):
    """No click to the reason, one to the remedy, by keyboard alone and without a script."""
    page = visit("failed", f"{ADMIN}/backupsettings/", locale=locale, java_script_enabled=False)
    first = page.locator("#result_list tbody tr").first
    sync_api.expect(first).to_contain_text("db.sqlite3")
    first.get_by_role("link").focus()
    for _ in range(5):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.value") == "back_up":
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/change/")
    sync_api.expect(page.locator(".messagelist li")).to_have_count(1)


def test_switching_off_asks_and_is_undone(visit, assert_accessible):
    page = visit("failed", f"{ADMIN}/backupsettings/")
    page.locator("thead").get_by_role("checkbox").check()
    page.locator("[name=action]").first.select_option("switch_off")
    press(page.locator("#changelist-form .actions button").first)
    assert_accessible(page)
    press(page.locator("#content-main form button"))
    off = page.locator("#result_list .field-schedule", has_text="off")
    sync_api.expect(off).to_have_count(3)
    assert_accessible(page)
    press(page.locator(".backup-undo button"))
    sync_api.expect(off).to_have_count(0)
