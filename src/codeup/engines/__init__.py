"""One file per way of generating text from token ids."""
