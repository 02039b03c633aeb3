"""One file per programming language."""
