"""Side-by-side measurements against a peer tool, in one run on one machine."""
