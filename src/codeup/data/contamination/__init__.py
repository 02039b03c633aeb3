"""What a benchmark and a row have in common, as far as text says it: items, n-grams, functions, ranking.

Running a row's functions on a benchmark's tests needs a sandbox and is done a floor above, in `codeup/decontaminate/`.
"""
