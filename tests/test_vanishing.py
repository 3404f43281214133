"""Which tables have lost rows: the rule, by numbers alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import settings as lengths
from hypothesis import strategies as st

from tenant_backup.vanishing import Counted, Past, Rule, losses
from tests.lengths import at_length

START = datetime(2026, 1, 1, 2, tzinfo=UTC)
DAY = timedelta(days=1)
RULE = Rule(0.2, 20)
examples = lengths(max_examples=at_length(200, 2000))


def backups(*numbers, table="contracts", days=None, migrations="m"):
    """A backup a day; a number may be None for a table not counted, and "" for one not there."""
    days = days or range(len(numbers))
    return [
        Counted(pk, START + day * DAY, {} if number == "" else {table: number}, migrations)
        for pk, (day, number) in enumerate(zip(days, numbers, strict=True), start=1)
    ]


def found(counted, rule=RULE, **options):
    return [
        (loss.rows_before, loss.rows_now, loss.before.pk, loss.after.pk)
        for loss in losses(counted, rule, **options)
    ]


@pytest.mark.parametrize(
    ("before", "now", "is_lost"),
    [
        (100, 80, True),
        (100, 81, False),
        (99, 80, False),  # 19 rows
        (99, 79, True),
        (20, 0, True),
        (19, 0, False),
        (25, 5, True),
        (25, 6, False),
        (1000, 801, False),
        (1000, 800, True),
        (0, 0, False),
        (50, 90, False),
    ],
)
def test_twenty_rows_and_a_fifth_are_lost(before, now, is_lost):
    assert bool(found(backups(before, now))) is is_lost


def test_the_limits_are_settings_and_nothing_left_counts_in_any_case():
    assert not found(backups(100, 60), Rule(0.5, 20))
    assert found(backups(100, 50), Rule(0.5, 20))
    assert not found(backups(100, 10), Rule(0.2, 1000))
    assert found(backups(20, 0), Rule(0.2, 1000))
    # 0.1 of 30 is a little more than 3 to a computer.
    assert found(backups(30, 27), Rule(0.1, 3))


def test_the_least_of_8_to_35_days_ago_is_the_baseline():
    numbers = [100] * 36 + [1000] * 7
    assert not found(backups(*numbers, 81))  # the least of four weeks
    assert found(backups(*numbers, 80))
    # What is younger does not count, nor what is older.
    assert found(backups(*[1000] * 30, *[500] * 7, 500))
    assert found(backups(*[10] * 8, *[1000] * 36, 700))


def test_a_younger_tenant_has_all_earlier_ones():
    assert found(backups(100, 100, 10)) == [(100, 10, 2, 3)]
    assert not found(backups(100, 10, 10))
    assert found(backups(100)) == found([]) == []


def test_a_younger_table_too():
    old = [replace(each, tables={}) for each in backups(*[0] * 20)]
    young = backups(*[0] * 20, 500, 500, 300)[20:]
    assert found([*old, *young]) == [(500, 300, 22, 23)]


def test_rows_that_vanish_day_by_day_are_told_and_the_first_day_is_named():
    numbers = [1000] * 20 + [850, 722, 614]
    assert not found(backups(*numbers[:-2]))
    assert found(backups(*numbers[:-1])) == [(1000, 722, 20, 21)]
    assert found(backups(*numbers)) == [(1000, 614, 20, 21)]


def test_a_table_that_is_cleaned_every_week_is_no_finding_and_its_loss_is():
    week = [100, 200, 300, 400, 500, 600, 700]
    assert not found(backups(*week * 5, 100))
    assert found(backups(*week * 5, 100, 200, 0)) == [(200, 0, 37, 38)]
    # The cleaning itself is not taken for the loss.
    assert found(backups(*week * 5, 100, 0)) == [(100, 0, 36, 37)]


def test_what_nobody_counted_says_nothing():
    assert not found(backups(1000, None))
    assert found(backups(1000, None, 0)) == [(1000, 0, 1, 2)]
    assert not found(backups(None, None, 0))


class TestBackupsThatAreGone:
    """They were pruned, but their numbers are kept."""

    def gone(self, counted, *pks):
        return [replace(each, pk=None) if each.pk in pks else each for each in counted]

    def test_are_a_part_of_the_baseline(self):
        counted = backups(*[1000] * 10, 500, *[1000] * 20, 600)
        assert found(counted) == []
        assert found(self.gone(counted, 11)) == []
        assert found([each for each in counted if each.pk != 11])

    def test_are_none_to_come_back_to(self):
        counted = backups(1000, 1000, 0)
        assert found(self.gone(counted, 2)) == [(1000, 0, 1, None)]
        # Only if there is no other: then it is known at least how many rows there were.
        assert found(self.gone(counted, 1, 2)) == [(1000, 0, None, 3)]

    def test_are_stepped_over_where_rows_vanish_day_by_day(self):
        numbers = [1000] * 20 + [850, 722]
        assert found(self.gone(backups(*numbers), 20)) == [(1000, 722, 19, None)]


class TestATableThatIsNotThere:
    def test_has_lost_all_its_rows(self):
        assert found(backups(100, 100, "")) == [(100, 0, 2, 3)]

    def test_not_if_migrations_have_changed_since_it_was(self):
        counted = backups(100, 100, "", "")
        counted[2:] = [replace(each, migrations="n") for each in counted[2:]]
        assert not found(counted)
        assert not found([*counted[:3], replace(counted[3], migrations="o")])

    def test_not_if_nobody_knows_the_migrations(self):
        assert not found(backups(100, 100, "", migrations=""))

    def test_not_if_it_comes_and_goes(self):
        assert not found(backups(100, "", 100, 100, ""))


class TestThePast:
    def test_backups_during_a_finding_are_no_baseline(self):
        counted = backups(*[1000] * 10, *[100] * 20, *[1000] * 2, 500)
        assert not found(counted)
        past = Past(losses=[(counted[10].created_at, counted[30].created_at)])
        assert found(counted, past={"contracts": past}) == [(1000, 500, 32, 33)]

    def test_what_was_intended_is_the_baseline_from_then_on(self):
        counted = backups(*[1000] * 10, 850, 600, 600)
        assert found(counted)
        told = {"contracts": Past(counted[10].created_at, counted[12].created_at + DAY / 2)}
        assert not found(counted, past=told)
        more = [*counted, *backups(*[0] * 13, 590, 470)[13:]]
        assert not found(more[:-1], past=told)
        assert not found([*more[:-2], replace(more[-2], tables={"contracts": 481})], past=told)
        assert found(more, past=told) == [(590, 470, 14, 15)]

    def test_of_another_table_it_says_nothing(self):
        counted = backups(1000, 100)
        assert found(counted, past={"tickets": Past(START, START + 9 * DAY)})
        assert not found(counted, without=["contracts"])


counts = st.integers(0, 3000)


@st.composite
def tenants(draw):
    """The backups of a tenant with a few tables, at irregular intervals."""
    number = draw(st.integers(2, 40))
    hours = draw(st.lists(st.integers(1, 24 * 9), min_size=number, max_size=number))
    tables = draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True))
    cells = st.one_of(counts, counts, counts, st.sampled_from([None, ""]))
    lines = {
        name: draw(st.lists(cells, min_size=number, max_size=number)) for name in sorted(tables)
    }
    digests = draw(st.lists(st.sampled_from("mmmn"), min_size=number, max_size=number))
    at = START
    counted = []
    for place in range(number):
        at += timedelta(hours=hours[place])
        there = {name: line[place] for name, line in lines.items() if line[place] != ""}
        counted.append(Counted(place + 1, at, there, digests[place]))
    return counted


def lost_by_the_book(counted, table):
    """What the rule says in words, and nothing of how it is computed."""
    *earlier, newest = counted
    now = newest.tables.get(table, 0)
    born = [each for each in earlier if table in each.tables][:1]
    known = [
        each
        for each in earlier
        if born and each.pk >= born[0].pk and each.tables.get(table, 0) is not None
    ]
    ages = [newest.created_at - each.created_at for each in known]
    of_age = [each for each, age in zip(known, ages, strict=True) if 8 * DAY <= age <= 35 * DAY]
    if now is None or not known:
        return None
    least = min(each.tables.get(table, 0) for each in of_age or known)
    is_lost = (least >= 20 and now == 0) or (least - now >= 20 and 5 * now <= 4 * least)
    return least if is_lost else None


@examples
@given(tenants())
def test_what_is_lost_is_what_the_rule_says(counted):
    by_name = {loss.table: loss for loss in losses(counted, RULE)}
    newest = counted[-1]
    for table in "abc":
        least, loss = lost_by_the_book(counted, table), by_name.get(table)
        if least is None:
            assert loss is None
        elif loss is None:
            assert table not in newest.tables, "only a changed schema excuses it"
        else:
            assert loss.least_before == least
            assert loss.rows_now == newest.tables.get(table, 0)


@examples
@given(tenants())
def test_the_backup_before_is_one_with_what_was_lost(counted):
    for loss in losses(counted, RULE):
        assert loss.before.tables.get(loss.table, 0) == loss.rows_before > loss.rows_now
        assert not RULE.is_lost(loss.least_before, loss.rows_before)
        assert loss.after is counted[counted.index(loss.before) + 1]
        if loss.table not in counted[-1].tables:
            assert loss.before.migrations == counted[-1].migrations


@examples
@given(tenants(), st.randoms())
def test_the_order_of_the_backups_does_not_matter(counted, random):
    shuffled = list(counted)
    random.shuffle(shuffled)
    assert losses(shuffled, RULE) == losses(counted, RULE)


@examples
@given(tenants())
def test_what_was_just_intended_is_not_found_again(counted):
    told = Past(counted[-1].created_at, counted[-1].created_at + DAY)
    assert losses(counted, RULE, past=dict.fromkeys("abc", told)) == []


@examples
@given(st.lists(counts, min_size=1, max_size=60), st.integers(0, 100))
def test_what_never_shrinks_is_never_lost(steps, first):
    numbers, total = [first], first
    for step in steps:
        total += step
        numbers.append(total)
    assert losses(backups(*numbers), RULE) == []


@examples
@given(st.lists(st.integers(20, 3000), min_size=1, max_size=60), st.floats(0, 0.8))
def test_less_than_there_ever_was_is_always_found(numbers, share):
    now = int(min(numbers) * share)
    assume(min(numbers) - now >= 20)
    [loss] = losses(backups(*numbers, now), RULE)
    assert loss.rows_now == now
