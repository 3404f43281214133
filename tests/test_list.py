"""The list of backups: what it says first, what one finds in it, and that one comes back to it."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import django.contrib.admin
import pytest
from django.utils import timezone

from tenant_backup.models import LABEL_LENGTH, Backup, BackupSettings, Status, Trigger
from tenant_backup.retention import Decision
from tenant_backup.views import listing
from tenant_backup.views.place import Place
from tests.conftest import REPOSITORY
from tests.test_views import PAGE, complete_row, make, project, row, said, text_of, visit

__all__ = ["project", "visit"]  # fixtures
pytestmark = pytest.mark.django_db(transaction=True)

NONSENSE = [
    "",
    "x",
    "0",
    "-1",
    "99",
    "9" * 5000,
    "٣",
    "\0",
    "'\"<b>",
    "%",
    "_",
    "//example.com",
    "ü",
]
STATIC = REPOSITORY / "tenant_backup" / "static" / "tenant_backup"


def ids(answer):
    return [int(found) for found in re.findall(r' id="backup-(\d+)"', answer.content.decode())]


def links(answer):
    """Where the links lead that stay on the page."""
    found = re.findall(rf'href="({PAGE}[?#][^"]*)"', answer.content.decode())
    return list(map(unescape, found))


def fields_of(answer, form):
    """What a form of the page sends along, but for the token."""
    page = answer.content.decode()
    body = re.search(rf'<form id="{form}".*?</form>', page, re.DOTALL)[0]
    found = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', body))
    assert found.pop("csrfmiddlewaretoken")
    return {name: unescape(text) for name, text in found.items()}


class TestStates:
    """How many states one can go back to, and how far."""

    NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)

    def said(self, visit):
        found = re.search(r"You can go back to [^.]*\.(?: \d{4}\.)?", text_of(visit().get(PAGE)))
        return found and found[0]

    def test_none_is_not_spoken_of(self, tenant, visit):
        row()
        complete_row(1, missing_at=timezone.now())
        assert self.said(visit) is None

    def test_only_good_ones_count_and_the_oldest_is_named(self, tenant, add_tenant, visit):
        add_tenant("globex")
        year = timezone.now().year
        complete_row(1, created_at=datetime(year, 1, 1, 12, tzinfo=UTC))
        assert self.said(visit) == "You can go back to one state, of January 1."
        complete_row(2)
        complete_row(3, created_at=datetime(2019, 1, 1, tzinfo=UTC), damaged_at=timezone.now())
        complete_row(4, created_at=timezone.now() + timedelta(days=400))
        complete_row(5, "globex", created_at=datetime(2018, 1, 1, tzinfo=UTC))
        row(created_at=datetime(2019, 1, 1, tzinfo=UTC))
        assert self.said(visit) == "You can go back to any of 2 states, the oldest of January 1."

    def test_another_year_is_said(self):
        days = {
            datetime(2026, 10, 28, 2, tzinfo=UTC): "October 28",
            datetime(2025, 10, 28, 2, tzinfo=UTC): "Oct. 28, 2025",
        }
        for at, words in days.items():
            assert listing._day(at, self.NOW) == words


class TestSearch:
    def test_by_label_whatever_the_case(self, tenant, add_tenant, visit):
        add_tenant("globex")
        wanted = complete_row(1, label="Before the IMPORT")
        complete_row(2, label="something else")
        complete_row(3, "globex", label="import of theirs")
        answer = visit().get(PAGE, {"q": " import "})
        assert ids(answer) == [wanted.pk]
        assert 'name="q" value="import"' in answer.content.decode()
        assert '<details class="find" open>' in answer.content.decode()
        assert "1 backup was found. Show all" in text_of(answer)

    @pytest.mark.parametrize(
        ("show", "expected"),
        [
            ("pinned", {"pinned"}),
            ("manual", {"by hand", "by hand, failed"}),
            ("failed", {"by hand, failed", "missing", "damaged"}),
            ("", {"pinned", "by hand", "by hand, failed", "missing", "damaged"}),
        ],
    )
    def test_only_what_is_to_be_shown(self, tenant, visit, show, expected):
        now = timezone.now()
        complete_row(1, label="pinned", pinned=True)
        complete_row(2, label="by hand", trigger=Trigger.MANUAL)
        row(label="by hand, failed", trigger=Trigger.MANUAL)
        complete_row(3, label="missing", missing_at=now)
        complete_row(4, label="damaged", damaged_at=now)
        answer = visit().get(PAGE, {"show": show})
        assert {line.backup.label for line in answer.context["lines"]} == expected
        chosen = re.findall(r'<option value="(\w*)" selected>', answer.content.decode())
        assert show in chosen or not show

    def test_both_at_once(self, tenant, visit):
        wanted = complete_row(1, label="import", pinned=True)
        complete_row(2, label="import")
        complete_row(3, pinned=True)
        assert ids(visit().get(PAGE, {"q": "import", "show": "pinned"})) == [wanted.pk]

    def test_nothing_found_says_so_and_leads_to_all(self, tenant, visit):
        complete_row(1)
        answer = visit().get(PAGE, {"q": "x"})
        text = text_of(answer)
        assert "No backup was found. Show all" in text
        assert "There are no backups yet" not in text
        assert f"{PAGE}#list" in links(answer)
        # The card and the chart are about all of them.
        assert "You can go back to one state" in text

    def test_where_there_is_nothing_to_search_no_search_is_offered(self, tenant, visit):
        assert "Search by label, or filter" not in text_of(visit().get(PAGE))
        complete_row(1)
        assert "Search by label, or filter" in text_of(visit().get(PAGE))

    @pytest.mark.parametrize("key", ["page", "q", "show"])
    @pytest.mark.parametrize("text", NONSENSE)
    def test_no_value_breaks_the_page(self, tenant, visit, key, text):
        for number in range(30):
            complete_row(number, label="100% _a_")
        answer = visit().get(PAGE, {key: text})
        assert answer.status_code == 200
        assert "<b>" not in answer.content.decode()
        found = {("page", "99"): 10}
        if key == "q" and text.strip("\0"):
            found = {("q", text): 20 if text in "100% _a_" else 0}
        assert len(ids(answer)) == found.get((key, text), 20)

    def test_what_is_carried_is_only_what_makes_sense(self):
        given = {"page": "2&x=1", "q": f" a\0b\n{'x' * 999}", "show": "all", "next": "//evil"}
        place = Place.of(given)
        assert (place.page, place.show) == ("", "")
        assert place.q.startswith("a b xx")
        assert len(place.q) == LABEL_LENGTH
        assert Place.of({}).query == ""
        assert Place.of({"page": "3", "q": "a&b #c", "show": "failed"}).query == (
            "?page=3&q=a%26b+%23c&show=failed"
        )


class TestPages:
    @pytest.fixture
    def many(self, tenant):
        for number in range(60):
            complete_row(number, label=f"day & night {number}", pinned=number < 55)

    def test_lead_to_the_next_and_the_previous(self, many, visit):
        def relative(query):
            page = visit().get(PAGE + query).content.decode()
            return {
                rel: unescape(to) for rel, to in re.findall(r'<a rel="(\w+)" href="([^"]+)"', page)
            }

        assert relative("") == {"next": f"{PAGE}?page=2#list"}
        assert relative("?page=2") == {"prev": f"{PAGE}?page=1#list", "next": f"{PAGE}?page=3#list"}
        assert relative("?page=3") == {"prev": f"{PAGE}?page=2#list"}

    def test_keep_the_search_and_the_filter(self, many, visit):
        answer = visit().get(PAGE, {"q": "y & n", "show": "pinned"})
        assert f"{PAGE}?page=3&q=y+%26+n&show=pinned#list" in links(answer)
        last = visit().get(f"{PAGE}?page=3&q=y+%26+n&show=pinned")
        assert len(ids(last)) == 15

    def test_the_forms_know_the_place(self, many, visit):
        place = {"page": "3", "q": "day & ni", "show": "pinned"}
        answer = visit().get(PAGE, {**place, "page": "99"})
        assert fields_of(answer, "pin") == {"pinned": "yes", **place}
        assert fields_of(answer, "delete") == place


class TestTheWayBack:
    """Whoever pins or deletes comes back to where they were, and nowhere else."""

    PLACE = {"page": "2", "q": "a b", "show": "manual"}
    QUERY = "?page=2&q=a+b&show=manual"

    def test_from_a_pin_to_the_row(self, tenant, visit):
        backup = make(tenant)
        body = {"backup": backup.pk, "pinned": "yes"}
        assert visit().post(f"{PAGE}/pin", body | self.PLACE).url == (
            f"{PAGE}{self.QUERY}#backup-{backup.pk}"
        )
        # It is not in the list any more.
        body = {"backup": backup.pk, "pinned": "no", "show": "pinned"}
        assert visit().post(f"{PAGE}/pin", body).url == f"{PAGE}?show=pinned#list"

    def test_from_a_deletion_to_the_list(self, tenant, visit):
        backup = make(tenant)
        client = visit()
        asked = client.post(f"{PAGE}/delete", {"backup": backup.pk, **self.PLACE})
        assert f"{PAGE}{self.QUERY}#list" in links(asked), "to cancel"
        page = asked.content.decode().split('class="confirm"')[1]
        fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))
        assert fields | self.PLACE == fields
        assert client.post(f"{PAGE}/delete", fields).url == f"{PAGE}{self.QUERY}#list"

    def test_from_what_went_wrong_to_the_message_at_the_top(self, tenant, visit):
        failed = row()
        answer = visit().post(f"{PAGE}/pin", {"backup": failed.pk, "pinned": "yes", "page": "2"})
        assert "cannot be pinned" in said(answer)
        assert answer.url == f"{PAGE}?page=2"
        assert visit().post(f"{PAGE}/delete", {"page": "2"}).url == f"{PAGE}?page=2"

    @pytest.mark.parametrize("key", ["page", "q", "show", "next", "fragment"])
    @pytest.mark.parametrize("text", [*NONSENSE, "https://example.com/", "\r\nSet-Cookie: a=b"])
    def test_nowhere_else(self, tenant, visit, key, text):
        backup = make(tenant)
        answer = visit().post(f"{PAGE}/pin", {"backup": backup.pk, "pinned": "yes", key: text})
        assert answer.status_code == 302
        assert answer.url.startswith((f"{PAGE}?{key}=", f"{PAGE}#"))
        assert answer.url.endswith(f"#backup-{backup.pk}")
        assert "Set-Cookie" not in answer.headers or "a=b" not in answer.headers["Set-Cookie"]
        assert visit().get(answer.url).status_code == 200


class TestRows:
    def test_each_has_one_action_and_a_menu_for_the_rest(self, tenant, visit):
        backup = make(tenant)
        page = visit().get(PAGE).content.decode()
        cell = re.search(r'<td role="cell" class="doing">(.*?)</td>', page, re.DOTALL)[1]
        shown, menu = cell.split('<details class="menu">')
        assert re.findall(r">([^<>\n]+)</(?:a|button)>", shown) == ["Look inside"]
        assert re.findall(r">([^<>\n]+)</(?:a|button)>", menu) == ["Download", "Pin", "Delete…"]
        assert "verified just now" in menu
        assert f'<summary aria-label="More about No. {backup.pk}">' in menu

    def test_a_menu_that_would_be_empty_is_not_there(self, tenant, visit):
        row(status=Status.QUEUED)
        assert 'class="menu"' not in visit().get(PAGE).content.decode()
        Backup.objects.update(status=Status.FAILED)
        assert 'class="menu"' in visit().get(PAGE).content.decode()
        assert 'class="menu"' not in visit("vera").get(PAGE).content.decode()

    def test_the_script_is_there_only_where_something_can_be_selected(self, tenant, visit):
        make(tenant)
        assert "list.js" in visit().get(PAGE).content.decode()
        assert 'data-all="Select all"' in visit().get(PAGE).content.decode()
        assert "list.js" not in visit("vera").get(PAGE).content.decode()
        Backup.objects.update(pinned=True)
        assert "list.js" not in visit().get(PAGE).content.decode()


class TestThePage:
    def test_what_is_long_is_closed_and_reached_by_links_at_the_top(self, tenant, visit):
        make(tenant)
        page = visit().get(PAGE).content.decode()
        card = re.search(r'<section class="module headline.*?</section>', page, re.DOTALL)[0]
        nav = re.search(r"<nav.*?</nav>", card, re.DOTALL)[0]
        assert re.findall(r'href="(#[^"]+)"', nav) == ["#settings-form", "#lost-text", "#help-text"]
        assert '<details class="module history" id="history">' in page
        assert 'href="#settings-form"' not in visit("vera").get(PAGE).content.decode()

    def test_the_history_says_in_one_line_what_was_last(self, tenant, visit):
        assert "History <" not in visit().get(PAGE).content.decode()
        make(tenant)
        page = visit().get(PAGE).content.decode()
        summary = re.search(r'id="history">\s*<summary>(.*?)</summary>', page, re.DOTALL)[1]
        assert re.search(r"<span>completed, (today|yesterday) at .*</span>", summary)

    def test_only_what_is_on_it_is_put_into_words(self, tenant, visit, monkeypatch):
        """Retention may be about to remove hundreds, and a page shows twenty of them."""
        said = []
        reasons = Decision.reasons.fget

        def count(decision):
            said.append(decision.backup.pk)
            return reasons(decision)

        BackupSettings.objects.create(tenant_id="acme", automatic=True, keep_last=1)
        for number in range(45):
            complete_row(number, created_at=timezone.now() - timedelta(days=number))
        monkeypatch.setattr(Decision, "reasons", property(count))
        answer = visit().get(PAGE, {"page": 2})
        assert said
        assert set(said) <= set(ids(answer))

    def test_what_is_long_is_shortened(self, tenant, visit):
        complete_row(1, label="l" * 200, requested_by="u" * 150)
        row(error="e" * 240)
        row(error="The newest, which the card explains.")
        page = visit().get(PAGE).content.decode()
        table = page.split('<table class="backups"')[1].split("</table>")[0]
        found = {letter: len(max(re.findall(f"{letter}+", table), key=len)) for letter in "leu"}
        assert found == {"l": 59, "e": 99, "u": 29}
        assert table.count("…</") >= 3

    def test_its_parts_are_in_this_order(self, tenant, visit):
        make(tenant)
        row(status=Status.QUEUED)
        page = visit().get(PAGE).content.decode()
        parts = ['class="module banner active"', "headline-heading", "create-heading"]
        parts += ['id="list"', "chart-heading", 'id="settings"', 'id="history"', 'id="help']
        found = [page.index(part) for part in parts]
        assert found == sorted(found)

    def test_the_headline_is_not_said_twice(self, tenant, visit, monkeypatch):
        make(tenant)
        monkeypatch.setattr("tenant_backup.files.BackupDirectory.free_bytes", lambda self: 1000)
        text = text_of(visit().get(PAGE))
        assert text.count("has no room for another backup") == 1
        assert re.search(r" It needs 16\.\d MB, and 1000 bytes are free\.", text)
        row(error="The disk is full.")
        text = text_of(visit().get(PAGE))
        assert text.count("The last attempt") == 1
        assert "The disk has no room for another backup: it needs" in text, "as the second finding"

    def test_the_hosts_style_sheets_know_no_more_of_our_classes_than_we_borrow(self):
        """The page lies inside the host's frame: what the admin of a newer Django gives a rule of
        the same name, it gives to our page, too.
        """
        pages = REPOSITORY / "tenant_backup" / "templates" / "tenant_backup"
        written = [
            re.sub(r"\{[%{].*?[%}]\}", " ", names)
            for file in pages.rglob("*.html")
            for names in re.findall(r'class="([^"]*)"', file.read_text())
        ]
        ours = set(" ".join(written).split())
        admin = Path(django.contrib.admin.__file__).parent / "static" / "admin" / "css"
        selectors = [
            re.sub(r"/\*.*?\*/|\{[^{}]*\}", " ", file.read_text(), flags=re.DOTALL)
            for file in admin.glob("*.css")
        ]
        theirs = set(re.findall(r"\.([a-z][\w-]*)", " ".join(selectors)))
        assert {"backups", "doing"} < ours
        assert {"module", "actions"} < theirs
        assert ours & theirs <= {
            *("button", "default", "module", "paginator", "quiet", "visually-hidden"),
            *("help", "errors", "error", "warning", "delete", "cancel-link", "this-page", "time"),
        }

    def test_our_styles_and_scripts_are_no_more_than_they_were(self):
        files = [file for file in STATIC.iterdir() if file.suffix in (".css", ".js")]
        assert sum(file.stat().st_size for file in files) <= 24_517
