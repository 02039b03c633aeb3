"""Salvage rules, one file each: what is mended in a conversation, under a name that a recipe can switch off.

A rule is a module with

    ON        whether it is applied unless the recipe says otherwise
    SOURCES   the sources it is for; empty: all
    REPAIRS   the words under which rows that it mended are counted
    DROPS     the reasons under which it drops rows
    apply     Conversation -> Conversation (the same object where there is nothing to do) or Drop

A repair that a source does while it reads the row has `apply = None`; switched off, the row is taken as it was.
"""
