"""Runs hostile code and returns what it did."""
