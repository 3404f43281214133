"""Settings of a host that runs as real processes: its files lie in the directory `TEST_HOST`.

Its control database lies there, too, unless `TEST_CONTROL` says otherwise. What a test wants to be
different is in `TEST_SETTINGS`, as JSON; of a dict only the keys that differ.
"""

import json
import os
from pathlib import Path

from tests.settings import *  # noqa: F403

HOST = Path(os.environ["TEST_HOST"])
JOURNAL_MODE = os.environ.get("TEST_JOURNAL_MODE", "wal")
if os.environ.get("TEST_CONTROL") != "postgresql":
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": HOST / "control.sqlite3",
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": float(os.environ.get("TEST_CONTROL_TIMEOUT", "20")),
                "init_command": f"PRAGMA journal_mode={JOURNAL_MODE}; PRAGMA synchronous=NORMAL;",
            },
        }
    }
ALLOWED_HOSTS = [".localhost"]
Q_CLUSTER = {
    "orm": "default",
    "workers": 2,
    "timeout": 60,
    "retry": 300,
    "poll": 0.05,
    # The cluster looks at its schedules when it has slept for 30 seconds: so at its very start.
    "guard_cycle": 30,
}
TENANT_BACKUP = {
    "TENANT_PROVIDER": os.environ.get("TEST_PROVIDER", "tests.tenancy.Folders"),
    "BUSY_TIMEOUT": float(os.environ.get("TEST_BUSY_TIMEOUT", "30")),
}
for name, value in json.loads(os.environ.get("TEST_SETTINGS", "{}")).items():
    known = globals().get(name)
    globals()[name] = {**known, **value} if isinstance(known, dict) else value
