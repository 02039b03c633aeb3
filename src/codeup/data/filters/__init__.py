"""Filters, one file each: which conversations are left out, or masked, because of what is in them.

A filter is a module with `make(setting)`, the setting being what the recipe says under its name. It returns a function
Conversation -> Conversation (the same object where there is nothing to do) or Drop, or None where it changes nothing.
What it drops is counted as `filter: NAME`. Filters come after the salvage rules, in the order of their names; all are
off unless a recipe says otherwise.
"""
