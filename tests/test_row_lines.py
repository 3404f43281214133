"""The small lines, and the values of rows in words: pure functions, and the example's models."""

import math
import re

import pytest
from django.conf import settings as project_settings
from django.test import override_settings
from django.utils import timezone, translation
from hypothesis import given
from hypothesis import strategies as st

from tenant_backup import row_lines, row_values, table_names, words
from tenant_backup.row_lines import EDGE, HEIGHT, WIDTH


def line(*numbers, table="t", **options):
    states = [(place, {table: number}) for place, number in enumerate(numbers)]
    found = row_lines.lines(states, [table], **options)
    return found[0] if found else None


def points(path):
    assert re.fullmatch(r"M\d+ \d+( \d+ \d+)+", path)
    numbers = list(map(int, re.findall(r"\d+", path)))
    return list(zip(numbers[::2], numbers[1::2], strict=True))


class TestLines:
    def test_the_step_at_which_most_was_lost_is_found(self):
        fall = line(3600, 3700, 3600, 0, 5).fall
        assert (fall.before, fall.after) == (2, 3)
        assert (fall.rows_before, fall.rows_after) == (3600, 0)
        assert fall.share == 1

    def test_it_is_that_of_the_largest_share(self):
        fall = line(1000, 800, 10, 5).fall
        assert (fall.before, fall.after) == (1, 2)

    @pytest.mark.parametrize("numbers", [(1, 2, 3), (5, 5), (9, 0, 9), (9, 0, 20), (0, 0)])
    def test_what_grows_stays_or_is_back_has_lost_nothing(self, numbers):
        assert line(*numbers).fall is None

    def test_a_table_that_vanished_has_lost_all(self):
        states = [(1, {"t": 7}), (2, {})]
        [found] = row_lines.lines(states, ["t"])
        assert (found.fall.rows_before, found.fall.rows_after, found.last) == (7, 0, 0)

    def test_what_was_not_counted_is_passed_over(self):
        assert line(None, 5, None, 2).fall.before == 1
        assert line(None, 5) is None
        assert line(5) is None

    def test_what_is_worth_a_look_comes_first(self):
        numbers = {"still": (5, 5), "grew": (5, 9), "fell": (9, 3), "gone": (9, 0), "lost": (9, 8)}
        states = [
            (place, {name: each[place] for name, each in numbers.items()}) for place in (0, 1)
        ]
        found = row_lines.lines(states, sorted(numbers), lost=["lost"])
        assert [each.table for each in found] == ["lost", "gone", "fell", "grew", "still"]
        assert [each.is_lost for each in found] == [True, False, False, False, False]

    @given(st.lists(st.none() | st.integers(0, 10**9), max_size=30))
    def test_every_line_fits_into_its_room(self, numbers):
        drawn = line(*numbers)
        if drawn is None:
            assert sum(number is not None for number in numbers) < 2
            return
        found = points(drawn.path)
        assert [x for x, _ in found] == sorted(x for x, _ in found)
        assert all(EDGE <= x <= WIDTH - EDGE and EDGE <= y <= HEIGHT - EDGE for x, y in found)
        if drawn.fall:
            assert (drawn.fall.x, drawn.fall.y) in found
            assert drawn.last < drawn.fall.rows_before

    def test_of_many_backups_some_points_are_enough_and_the_step_is_among_them(self):
        numbers = [1000 + 100 * (place % 2) for place in range(77)] + [3] + [4] * 22
        found = line(*numbers)
        assert (found.fall.before, found.fall.after) == (76, 77)
        drawn = points(found.path)
        assert len(drawn) <= row_lines.POINTS + 3
        assert (found.fall.x, found.fall.y) in drawn
        assert drawn[0][0] == EDGE
        assert drawn[-1][0] == WIDTH - EDGE

    def test_a_level_line_has_two_points_however_long(self):
        assert len(points(line(*[5] * 30).path)) == 2
        assert len(points(line(5, 5, 5, 0, 0, 0).path)) == 4


class TestNames:
    """Of the models that the tests' own project has: those of Django and of django-q2."""

    def test_are_the_models_in_the_language_of_the_reader(self):
        assert table_names.in_words("auth_group") == "groups"
        assert table_names.heading_of("auth_group") == "Groups"
        with translation.override("de"):
            assert table_names.in_words("auth_group") == "Gruppen"

    def test_a_table_without_a_model_keeps_its_own(self):
        assert table_names.in_words("old_things") == "old_things"
        assert table_names.heading_of("old_things") == "old_things"
        assert table_names.fields_of("old_things") == {}
        assert not table_names.is_the_hosts("old_things")

    def test_of_the_frameworks_only_the_users_are_known_to_people(self):
        assert project_settings.AUTH_USER_MODEL == "auth.User"
        assert table_names.is_the_hosts("auth_user")
        for table in ("auth_group", "django_session", "django_q_ormq", "tenant_backup_backup"):
            assert not table_names.is_the_hosts(table)


class TestValues:
    def columns(self, *names):
        return row_values.columns("auth_user", names)

    def show(self, name, value):
        [column] = self.columns(name)
        return column.show(value)

    def test_fields_are_called_what_the_host_calls_them(self):
        found = self.columns("is_active", "date_joined", "nonsense")
        assert [column.words for column in found] == ["Active", "Date joined", "nonsense"]

    @pytest.mark.parametrize(
        ("name", "value", "shown"),
        [
            ("username", None, ""),
            ("username", "007", "007"),
            ("username", 7, "7"),
            ("username", b"\xff\x00", "2 bytes of data"),
            ("username", "caf\udce9", "caf\N{REPLACEMENT CHARACTER}"),
            ("is_active", 1, "yes"),
            ("is_active", 0, "no"),
            ("is_active", "maybe", "maybe"),
            ("date_joined", "2026-11-24 01:12:00", "Nov. 24, 2026, 2:12 a.m."),
            ("date_joined", "yesterday", "yesterday"),
            ("date_joined", 5, "5"),
            ("password", "pbkdf2_sha256$1$x$y", "•••"),
            ("nonsense", 1.5, "1.5"),
            ("nonsense", math.inf, "inf"),
        ],
    )
    def test_each_is_shown_as_people_know_it(self, name, value, shown):
        with timezone.override("Europe/Berlin"):
            assert self.show(name, value).replace("\xa0", " ") == shown

    def test_without_zones_a_moment_is_as_it_was_stored(self):
        with override_settings(USE_TZ=False), timezone.override("Europe/Berlin"):
            shown = self.show("date_joined", "2026-11-24 01:12:00")
        assert shown == "Nov. 24, 2026, 1:12 a.m."

    def test_only_what_differs_is_shown_of_a_change(self):
        columns = self.columns("username", "first_name", "is_active")
        [change] = row_values.changes(columns, ("ada", "Ada", 1), ("ada", "ADA", 1))
        assert (change.field, change.then, change.now) == ("First name", "Ada", "ADA")
        [change] = row_values.changes(columns, ("7", "Ada", 1), (7, "Ada", 1))
        assert (change.then, change.now) == ("7", "7")

    def test_a_long_text_is_shown_where_it_differs(self):
        columns = self.columns("nonsense")
        long = "x" * 1000
        [change] = row_values.changes(columns, (f"{long}old{long}",), (f"{long}new{long}",))
        assert change.then.startswith("…xxx")
        assert change.then.endswith("x…")
        assert "old" in change.then
        assert "new" in change.now
        assert len(change.then) <= row_values.LONGEST + 2
        [change] = row_values.changes(columns, (long,), (f"{long}y",))
        assert change.now.endswith("xy")

    def test_a_row_is_recognized_by_its_key_and_its_first_text(self):
        columns = self.columns("id", "password", "username")
        assert row_values.name_of(columns[::2], (5,), (5, "ada")) == "5: ada"
        assert row_values.name_of(columns, (5,), (5, "secret", "ada")) == "5: ada"
        assert row_values.name_of(row_values.columns("t", ["a"]), (1, "x"), (1,)) == "1, x"
        assert row_values.cells(columns[::2], (5, "u" * 300)) == ["5", "u" * 200 + "…"]


@pytest.mark.parametrize(
    ("number", "is_complete", "said"),
    [
        (None, True, ""),
        (None, False, ""),
        (0, True, "0"),
        (0, False, ""),
        (3600, True, "3,600"),
        (1, False, "more than 0"),
        (10, False, "more than 9"),
        (240, False, "more than 230"),
        (1234, False, "more than 1,200"),
        (1200, False, "more than 1,100"),
    ],
)
def test_a_number_that_is_not_all_is_said_to_be_less(number, is_complete, said):
    assert words.number_in_words(number, is_complete=is_complete) == said
