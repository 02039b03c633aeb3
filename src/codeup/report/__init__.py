"""The report page and its charts.

    study (dict, JSON) -> view (plain values, every text still raw) -> page.html (jinja2, autoescape) -> report.html

`build.py` writes the files, `view.py` and `sections.py` choose what is shown, `sentences.py` says what the paired tests
support, `svg.py` draws for the page, `png.py` draws the same charts as files, `numbers.py` is the one way numbers look.
"""
