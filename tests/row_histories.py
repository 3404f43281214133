"""Random databases with a past: what a backup holds, what happened since, and what rows are now."""

import sqlite3
from contextlib import closing, suppress

TYPES = ["INTEGER", "TEXT", "TEXT COLLATE NOCASE", "", "REAL"]
DEFERRED = ["DEFERRABLE INITIALLY DEFERRED", ""]
VALUES = [None, 0, 1, 3, 7, "7", "007", "Mueller", "MUELLER", "", b"\x00\xff", 2.5, 3.0, "a'b"]


class History:
    """A random schema, its state when the backup was made, and its state now, as two files."""

    def __init__(self, random, folder):
        self.random = random
        self.live, self.backup = folder / "live.sqlite3", folder / "backup.sqlite3"
        self.tables = {}
        self.number = 1000

    def make(self):
        with closing(self.connect()) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            for number in range(self.random.randint(2, 4)):
                self.add_table(connection, f"t{number}")
            if self.random.random() < 0.6:
                self.add_through(connection)
            for table in self.tables:
                for _ in range(self.random.randint(0, 9)):
                    self.insert(connection, table)
            with closing(sqlite3.connect(self.backup)) as copy:
                connection.backup(copy)
            for _ in range(self.random.randint(1, 25)):
                self.happen(connection)
        return self

    def connect(self):
        return sqlite3.connect(self.live, isolation_level=None)

    # The schema

    def add_table(self, connection, name):
        random = self.random
        key = random.choice(["integer", "integer", "text", "nocase", "two", "without"])
        columns = {
            "integer": ['"id" INTEGER PRIMARY KEY'],
            "text": ['"id" TEXT NOT NULL PRIMARY KEY'],
            "nocase": ['"id" TEXT COLLATE NOCASE NOT NULL PRIMARY KEY'],
            "two": ['"id" INTEGER NOT NULL', '"other id" TEXT NOT NULL'],
            "without": ['"id" INTEGER NOT NULL PRIMARY KEY'],
        }[key]
        keys = ["id", "other id"] if key == "two" else ["id"]
        ends = ['PRIMARY KEY ("id", "other id")'] if key == "two" else []
        values = []
        for number in range(random.randint(1, 3)):
            unique = random.choice(["", "", "", " UNIQUE"])
            columns.append(f'"v {number}" {random.choice(TYPES)}{unique}')
            values.append(f"v {number}")
        references = []
        for to in [*self.tables, name]:
            if random.random() < 0.5 and self.is_single(to, keys if to == name else None):
                kind = random.choice(["SET NULL", "SET NULL", "CASCADE", "NO ACTION"])
                required = kind == "CASCADE" and to != name and random.random() < 0.5
                column = f"to_{to}"
                columns.append(
                    f'"{column}" {"NOT NULL" if required else ""} REFERENCES "{to}" ("id") '
                    f"ON DELETE {kind} {random.choice(DEFERRED)}"
                )
                references.append((column, to, required))
        end = " WITHOUT ROWID" if key == "without" else ""
        connection.execute(f'CREATE TABLE "{name}" ({", ".join([*columns, *ends])}){end}')
        if random.random() < 0.2:
            connection.execute(
                f'CREATE UNIQUE INDEX "{name}_part" ON "{name}" (lower("v 0")) '
                "WHERE typeof(\"v 0\") = 'text'"
            )
        self.tables[name] = {"key": keys, "kind": key, "values": values, "references": references}

    def is_single(self, table, keys):
        return len(keys or self.tables[table]["key"]) == 1

    def add_through(self, connection):
        ones = [table for table in self.tables if self.is_single(table, None)]
        if not ones:
            return
        one, other = self.random.choice(ones), self.random.choice(ones)
        end = f"ON DELETE CASCADE {self.random.choice(DEFERRED)}"
        connection.execute(
            f'CREATE TABLE through ("id" INTEGER PRIMARY KEY, '
            f'one NOT NULL REFERENCES "{one}" ("id") {end}, '
            f'other NOT NULL REFERENCES "{other}" ("id") {end}, UNIQUE (one, other))'
        )
        references = [("one", one, True), ("other", other, True)]
        self.tables["through"] = {
            "key": ["id"],
            "kind": "integer",
            "values": [],
            "references": references,
        }

    # What happens

    def happen(self, connection):
        table = self.random.choice(list(self.tables))
        what = self.random.choice(["delete", "delete", "delete", "insert", "reuse", "change"])
        if what == "delete":
            row = self.some_key(connection, table)
            if row:
                key = " AND ".join(f'"{name}" = ?' for name in self.tables[table]["key"])
                self.attempt(connection, f'DELETE FROM "{table}" WHERE {key}', row)
        elif what == "change":
            self.change(connection, table)
        else:
            self.insert(connection, table, is_reused=what == "reuse")

    def insert(self, connection, table, *, is_reused=False):
        facts = self.tables[table]
        row = dict(zip(facts["key"], self.new_key(facts["kind"], is_reused), strict=True))
        row |= {name: self.random.choice(VALUES) for name in facts["values"]}
        for column, to, required in facts["references"]:
            key = self.some_key(connection, to)
            is_set = key and (required or self.random.random() < 0.8)
            row[column] = self.spelled(to, key[0]) if is_set else None
        names = ", ".join(f'"{name}"' for name in row)
        marks = ", ".join("?" * len(row))
        self.attempt(
            connection, f'INSERT INTO "{table}" ({names}) VALUES ({marks})', list(row.values())
        )

    def new_key(self, kind, is_reused):
        number = self.random.randint(1, 12)
        if not is_reused:
            self.number += 1
        if kind in ("text", "nocase"):
            text = f"k{number}" if is_reused or self.random.random() < 0.7 else f"k{self.number}"
            return [self.random.choice([text, text.upper()])]
        if kind == "two":
            return [self.random.randint(1, 3), self.random.choice("abc")]
        return [number]

    def change(self, connection, table):
        facts = self.tables[table]
        key = self.some_key(connection, table)
        columns = facts["values"] + [name for name, *_ in facts["references"]]
        if not key or not columns:
            return
        chosen = self.random.sample(columns, self.random.randint(1, len(columns)))
        targets = {name: to for name, to, _ in facts["references"]}
        values = []
        for name in chosen:
            if name in targets:
                other = self.some_key(connection, targets[name])
                values.append(self.spelled(targets[name], other[0]) if other else None)
            else:
                values.append(self.random.choice(VALUES))
        changes = ", ".join(f'"{name}" = ?' for name in chosen)
        where = " AND ".join(f'"{name}" = ?' for name in facts["key"])
        self.attempt(connection, f'UPDATE "{table}" SET {changes} WHERE {where}', [*values, *key])

    def spelled(self, table, key):
        """A reference may spell a key otherwise, where case makes no difference."""
        is_nocase = self.tables[table]["kind"] == "nocase"
        return key.swapcase() if is_nocase and self.random.random() < 0.3 else key

    def some_key(self, connection, table):
        names = ", ".join(f'"{name}"' for name in self.tables[table]["key"])
        rows = connection.execute(f'SELECT {names} FROM "{table}"').fetchall()
        return list(self.random.choice(rows)) if rows else None

    def attempt(self, connection, sql, values):
        """Do something, unless the database refuses it."""
        with suppress(sqlite3.IntegrityError):
            connection.execute(sql, values)

    # What there is

    def state(self, file):
        """Every table's rows, by key, with the type of each value."""
        with closing(sqlite3.connect(file)) as connection:
            connection.text_factory = bytes
            return {
                table: {
                    tuple(map(self.folded(table), row[: len(facts["key"])])): row
                    for row in self.rows(connection, table)
                }
                for table, facts in self.tables.items()
            }

    def rows(self, connection, table):
        facts = self.tables[table]
        names = self.columns(table)
        typed = ", ".join([f'"{name}"' for name in names] + [f'typeof("{name}")' for name in names])
        assert facts["key"] == names[: len(facts["key"])]
        return connection.execute(f'SELECT {typed} FROM "{table}"').fetchall()

    def columns(self, table):
        facts = self.tables[table]
        return [*facts["key"], *facts["values"], *[name for name, *_ in facts["references"]]]

    def folded(self, table):
        is_nocase = self.tables[table]["kind"] == "nocase"
        return lambda value: value.lower() if is_nocase and isinstance(value, bytes) else value
