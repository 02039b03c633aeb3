"""One file per dataset shape; the file's name is the source's name in a recipe."""
