"""Code of training rows put to the real compilers, and run: which rows hold code that fails on its own account."""
