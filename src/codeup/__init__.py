"""CodeUp: turn a base language model into an instruction-following code model, and say truthfully how good it is."""

__version__ = "0.1.0"
