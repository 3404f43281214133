"""Measurements on real databases with real processes: see docs/benchmarks.md."""
