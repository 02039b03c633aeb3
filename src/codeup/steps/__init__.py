"""One file per recipe step kind."""
