"""What a prepared dataset came from and under which licence: its manifest, its replay recipe, its card."""
