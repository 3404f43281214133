"""The torture: hostile trials of the app, each in a directory of its own. `make torture` runs them.

Each kind of trial is a module with `plan`, which names its trials, `prepare`, which makes what they
share, and `trial`, which does one and raises an error where it was not survived. All that is random
comes from the seed.
"""
