"""The page on paper, in forced colours, right to left and without motion, in a real browser."""

import re

import pytest

from tests.test_browser import CHROMIUM, chromium
from tests.test_screens import problems, site, visit

__all__ = ["chromium", "problems", "site", "visit"]  # fixtures
pytestmark = pytest.mark.skipif(
    not CHROMIUM, reason="There is no Chromium on this machine (Debian: apt-get install chromium)."
)
MARGIN = "10mm"


def colours(page, selector, *names):
    """Of each element: what the browser makes of these properties."""
    return page.locator(selector).evaluate_all(
        """(elements, names) => elements.map(element => {
            const style = getComputedStyle(element);
            return names.map(name => style.getPropertyValue(name)).join(" ");
        })""",
        list(names),
    )


def keys(page, *names):
    """How the sign before each key of the chart is drawn, by the key's kind."""
    return page.locator(".key").evaluate_all(
        """(keys, names) => Object.fromEntries(keys.map(key => {
            const style = getComputedStyle(key, "::before");
            return [key.classList[1], names.map(name => style.getPropertyValue(name)).join(" ")];
        }))""",
        list(names),
    )


@pytest.mark.parametrize(("tenant", "rows"), [("acme", 18), ("globex", 5)])
def test_on_paper_are_card_chart_and_list_alone_on_one_page(visit, tenant, rows):
    page = visit("well", tenant=tenant, color_scheme="dark")
    assert page.locator("table.backups tbody tr").count() == rows
    page.emulate_media(media="print", color_scheme="dark")
    for shown in (".headline .answer", ".chart svg", "table.backups", ".keys", "h1"):
        assert page.locator(shown).is_visible(), shown
    for left_out in ("form", "button", "input", "nav", "summary", ".doing", ".active"):
        found = page.locator(f".tenant-backup {left_out}")
        assert not [each for each in found.all() if each.is_visible()], left_out
    # As a table, although the paper is narrow.
    first = page.locator("table.backups tbody tr").first
    assert first.evaluate("row => getComputedStyle(row).display") == "table-row"
    size = page.locator("table.backups").get_by_role("columnheader", name="Size")
    assert abs(size.bounding_box()["x"] - first.locator(".size").bounding_box()["x"]) <= 4
    assert {*colours(page, ".tenant-backup h1, .tenant-backup td, .tenant-backup a", "color")} == {
        "rgb(0, 0, 0)"
    }
    assert colours(page, "html", "color-scheme") == ["light"]
    assert colours(page, "body", "background-color")[0] in (
        "rgb(255, 255, 255)",
        "rgba(0, 0, 0, 0)",
    )
    # The browser leaves out backgrounds, and the keys are drawn with them.
    assert set(keys(page, "print-color-adjust").values()) == {"exact"}
    printed = page.pdf(
        format="A4", margin=dict.fromkeys(("top", "bottom", "left", "right"), MARGIN)
    )
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 1


def test_in_forced_colours_bars_and_keys_differ_by_their_shapes(visit):
    page = visit("well", forced_colors="active")
    text = page.evaluate("getComputedStyle(document.body).color")
    drawn = keys(page, "background-color", "background-image", "border-top-width", "height")
    assert set(drawn) == {"good", "removed", "failed", "none"}
    assert len(set(drawn.values())) == 4
    assert drawn["good"].startswith(f"{text} none")
    assert drawn["removed"].startswith("rgba(0, 0, 0, 0) none")
    assert "repeating-linear-gradient" in drawn["failed"]
    assert set(colours(page, ".chart rect.good", "fill", "stroke")) == {f"{text} none"}
    assert set(colours(page, ".chart rect.removed", "fill", "stroke")) == {f"none {text}"}
    assert "#hatched" in colours(page, ".chart rect.failed", "fill")[0]
    # A button is known as one without its background.
    borders = colours(page, ".tenant-backup button.button", "border-top-style", "border-top-width")
    assert set(borders) == {"solid 1px"}


def test_right_to_left_today_stands_below_the_newest_bar(visit):
    page = visit("well")
    today = page.locator(".ends span").last
    newest, oldest = page.locator(".chart rect").last, page.locator(".chart rect").first

    def middle(element):
        box = element.bounding_box()
        return box["x"] + box["width"] / 2

    assert middle(oldest) < middle(newest)
    assert abs(middle(today) - middle(newest)) < 40
    page.locator(".chart").evaluate("chart => chart.closest('[dir]').dir = 'rtl'")
    assert middle(newest) < middle(oldest)
    assert abs(middle(today) - middle(newest)) < 40
    card = page.locator(".headline")
    assert colours(page, ".headline", "border-right-width", "border-left-width") == ["6px 1px"]
    term, answer = card.locator("dt").first, card.locator("dd").first
    assert answer.bounding_box()["x"] < term.bounding_box()["x"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_nothing_moves_for_those_who_want_no_motion(visit):
    page = visit("running", reduced_motion="reduce")
    moving = page.evaluate(
        """() => [...document.querySelectorAll(".tenant-backup *")].filter(element => {
            const style = getComputedStyle(element);
            return style.animationName != "none"
                || style.transitionProperty != "none" && style.transitionDuration != "0s";
        }).map(element => element.outerHTML)"""
    )
    assert moving == []
