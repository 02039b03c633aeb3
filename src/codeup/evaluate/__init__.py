"""From problems to verdicts and scores."""
