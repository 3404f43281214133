"""The torture: hostile trials of the app, each in a directory of its own. `make torture` runs them.

Each kind of trial is a module with `plan`, which names its trials, `prepare`, which makes what they
share, and `trial`, which does one and raises an error where it was not survived. All that is random
comes from the seed.
"""

import os

import django

# What a trial wants otherwise, it says itself.
for _name in ("TEST_SETTINGS", "TEST_CONTROL", "TEST_PROVIDER"):
    os.environ.pop(_name, None)
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.host_settings"
# Each trial has a host of its own, and none is here.
os.environ["TEST_HOST"] = "/nonexistent"
django.setup()
