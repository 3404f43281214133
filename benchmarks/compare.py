"""What does it cost to compare a backup with today's database?

Run it from the top of the checkout: `python -m benchmarks.compare`. It exits with 1 if the comparison
needs more work of the processor, or more memory, than allowed.
"""

from __future__ import annotations

TABLES = ("contract", "ticket", "device", "note", "visit")
SCHEMA = """
CREATE TABLE {table} (
    id INTEGER PRIMARY KEY,
    number TEXT NOT NULL UNIQUE,
    customer INTEGER NOT NULL,
    amount REAL NOT NULL,
    opened_on TEXT NOT NULL,
    is_open BOOL NOT NULL,
    subject VARCHAR(200) NOT NULL,
    body TEXT
);
CREATE INDEX {table}_customer ON {table} (customer);
"""
BATCH = 1_000
