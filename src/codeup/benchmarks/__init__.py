"""One file per benchmark; the file's name is its name in a recipe."""
