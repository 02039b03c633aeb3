"""A prepared dataset after the fact: found again, verified, exported, looked at."""
