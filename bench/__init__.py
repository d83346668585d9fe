"""Benchmarks: whole processes on a synthetic district, each beside its floor from the same run."""
