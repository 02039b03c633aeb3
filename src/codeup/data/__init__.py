"""Rows in, conversations out, with every dropped row counted by reason."""
