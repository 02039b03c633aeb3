"""A finished model as others expect it: what a run says about it, its card, its licence, its results, and the Hub."""
