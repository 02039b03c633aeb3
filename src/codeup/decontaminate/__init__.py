"""Benchmark problems in training data: text first (data/contamination/), then the row's functions on the tests."""
