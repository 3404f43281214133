"""Bringing rows back, as properties of random databases with a random past."""

import random
import sqlite3
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path

from hypothesis import given, settings, strategies

from tenant_backup.sqlite.row_choice import RowChoice
from tenant_backup.sqlite.row_conflicts import ConflictSearch, skip
from tenant_backup.sqlite.row_plan import RowPlan, attach_backup
from tenant_backup.sqlite.row_relatives import Relatives
from tenant_backup.sqlite.row_writing import has_happened, take_back, write
from tenant_backup.sqlite.structure import Structure
from tests.lengths import at_length
from tests.row_histories import History

EXAMPLES = at_length(60, 1000)

seeds = strategies.integers(min_value=0, max_value=2**32)


class Rescue:
    """One attempt to bring rows of a history back."""

    def __init__(self, seed, folder):
        self.random = random.Random(seed)
        self.folder = folder
        self.history = History(self.random, folder).make()
        self.then = self.history.state(self.history.backup)
        self.before = self.history.state(self.history.live)
        self.tables = self.random.sample(
            list(self.history.tables), self.random.randint(1, len(self.history.tables))
        )
        self.changed = self.random.random() < 0.4
        self.gone = not self.changed or self.random.random() < 0.6
        self.with_related = self.random.random() < 0.7

    @contextmanager
    def planned(self):
        with closing(sqlite3.connect(self.history.live, uri=True, isolation_level=None)) as live:
            self.connection = live
            attach_backup(live, self.history.backup)
            self.plan = RowPlan.make(live, self.history.live, self.folder / "plan")
            self.structure = Structure.read(live, "main", "then")
            choice = RowChoice(self.plan, self.structure)
            choice.choose(self.tables, gone=self.gone, changed=self.changed)
            if self.with_related:
                Relatives(choice, lambda table: True).follow()
            self.search = ConflictSearch(self.plan, self.structure, frozenset(self.tables))
            self.search.find()
            yield self.search.found(limit=5).rows

    def state(self):
        return self.history.state(self.history.live)

    def planned_keys(self, kind):
        fold = self.history.folded
        return {
            (part.table, tuple(fold(part.table)(_as_bytes(value)) for value in key))
            for part in self.plan.of_kind(kind)
            for key in self.plan.keys_of(part)
        }

    def assert_only_the_planned_has_changed(self, after):
        """Each chosen row is as it was then; each other one as before, but for filled NULLs."""
        new, changed = self.planned_keys("new"), self.planned_keys("changed")
        refilled = {
            (part.table, column)
            for part in self.plan.of_kind("refilled")
            for column in part.columns
        }
        for table, rows in after.items():
            columns = self.history.columns(table)
            assert set(rows) == set(self.before[table]) | {
                key for name, key in new if name == table
            }
            for key, row in rows.items():
                old, then = self.before[table].get(key), self.then[table].get(key)
                if (table, key) in new or (table, key) in changed:
                    assert row == then
                    continue
                for place, column in enumerate(columns):
                    if row[place] != old[place]:
                        assert self.with_related
                        assert (table, column) in refilled
                        assert old[place] is None
                        assert row[place] == then[place]
                        assert self.refers_to_new(table, column, row[place], new)

    def refers_to_new(self, table, column, value, new):
        [to] = [to for name, to, _ in self.history.tables[table]["references"] if name == column]
        return (to, (self.history.folded(to)(value),)) in new

    def assert_all_chosen_are_back(self, after):
        for table in self.tables:
            then = self.then[table]
            if self.gone:
                assert set(then) <= set(after[table])
            if self.changed:
                assert {key: after[table][key] for key in then if key in after[table]} == {
                    key: row for key, row in then.items() if key in after[table]
                }

    def assert_no_related_row_is_missing(self, after):
        """No row that referred to one that came back is still gone, nor is such a reference."""
        new = self.planned_keys("new")
        for table, facts in self.history.tables.items():
            columns = self.history.columns(table)
            for column, to, _ in facts["references"]:
                place = columns.index(column)
                for key, then in self.then[table].items():
                    if (to, (self.history.folded(to)(then[place]),)) in new:
                        assert key in after[table]

    def assert_skipped_rows_would_not_fit(self, wanted):
        """Even now that all others are back, the database takes none of the skipped rows."""
        left_out = wanted - self.planned_keys("new")
        for table, key in left_out:
            row = self.then[table][key]
            columns = self.history.columns(table)
            values = [
                value.decode() if kind == b"text" else value
                for value, kind in zip(row[: len(columns)], row[len(columns) :], strict=True)
            ]
            assert not self.takes(table, columns, values), (table, key)

    def takes(self, table, columns, values):
        names = ", ".join(f'"{name}"' for name in columns)
        marks = ", ".join("?" * len(columns))
        with closing(sqlite3.connect(self.history.live, isolation_level=None)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("BEGIN")
            try:
                connection.execute(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', values)
                connection.execute("COMMIT")
            except sqlite3.IntegrityError:
                connection.execute("ROLLBACK")
                return False
        return True


def _as_bytes(value):
    return value.encode() if isinstance(value, str) else value


@contextmanager
def rescue(seed):
    with tempfile.TemporaryDirectory() as folder:
        yield Rescue(seed, Path(folder))


@settings(max_examples=EXAMPLES)
@given(seeds)
def test_rows_come_back_and_nothing_else_changes(seed):
    with rescue(seed) as rescued, rescued.planned() as conflicts:
        assert rescued.state() == rescued.before
        if conflicts:
            return
        if not rescued.plan.is_empty():
            assert not has_happened(rescued.plan)
        write(rescued.plan, rescued.structure, busy_timeout=5)
        assert rescued.plan.is_empty() or has_happened(rescued.plan)

        after = rescued.state()
        rescued.assert_only_the_planned_has_changed(after)
        rescued.assert_all_chosen_are_back(after)
        if rescued.with_related:
            rescued.assert_no_related_row_is_missing(after)
        assert rescued.connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert rescued.connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

        rescued.search.find_touched()
        assert rescued.search.found(limit=1).rows == 0
        take_back(rescued.plan, rescued.structure, busy_timeout=5)
        assert rescued.state() == rescued.before


@settings(max_examples=EXAMPLES)
@given(seeds)
def test_what_conflicts_is_skipped_with_what_needs_it_and_nothing_more(seed):
    with rescue(seed) as rescued, rescued.planned() as conflicts:
        if not conflicts:
            return
        wanted = rescued.planned_keys("new")
        skip(rescued.search)
        assert sum(numbers["skipped"] for numbers in rescued.plan.counts().values()) >= conflicts
        write(rescued.plan, rescued.structure, busy_timeout=5)

        rescued.assert_only_the_planned_has_changed(rescued.state())
        assert rescued.connection.execute("PRAGMA foreign_key_check").fetchall() == []
        take_back(rescued.plan, rescued.structure, busy_timeout=5)
        assert rescued.state() == rescued.before

        write(rescued.plan, rescued.structure, busy_timeout=5)
        rescued.assert_skipped_rows_would_not_fit(wanted)
