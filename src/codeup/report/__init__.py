"""The report page and its charts.

    study (dict, JSON) -> view (plain values, every text still raw) -> page.html (jinja2, autoescape) -> report.html

`build.py` writes the files, `view.py` and `sections.py` choose what is shown, `sentences.py` says what the paired tests
support, `svg.py` draws for the page, `png.py` draws the same charts as files, `numbers.py` is the one way numbers look.

The study, of which every part may be absent (a score must have model, benchmark, metric, value, low, high and n):

    name, title, created, command, seconds, seed, recipe_yaml
    labels        {benchmark: title on the page}
    versions      {package: version}
    machine       {cpu, cores, memory_gb, gpu, python}
    models        [{name, stages: [stage, ...]}]; the base has no stages; later models are compared with earlier ones
    scores        [{model, benchmark, form, metric, value, low, high, n, passed, samples, outcomes: {outcome: n},
                    extractions: {rule: n}, extraction_mode, other_extractions: {mode: n}, prompt_style,
                    data_version, data_sha256, languages: [language], excluded: {task: cause}, sandbox,
                    engine, temperature,
                    prompt0, prompt0_ids, prompt0_tokens: [decoded text of each id]}]
    comparisons   [{a, b, benchmark, form_a, form_b, both, only_a, only_b, neither, p_value, difference, low, high}]
    table         rows and columns of the study with intervals, tests and cost; the shape is in table.py
    claims        [{claim, benchmark, a, b, difference, low, high, p_value, p_holm, detectable, verdict, text}]: which
                  sentences the tests support (claims.py); claims_summary says how many
    stages        [{name, model, summary: {..}, metrics: [{step, loss} or {step, eval_loss}, ...]}]
    merges        [{name, summary: {..}}]
    data          [{name, summary: {sources: [{source, path, sha256, rows_in, kept, dropped: {reason: n}}], rows_in,
                    rows_kept, dropped: {reason: n}, repaired: {reason: n}, train_rows, validation_rows,
                    tokens: {train, train_trained, validation}, length_histogram: [[low, high, count]], cutoff,
                    lengths: {mean, median, ..}, truncation: [{cutoff, rows, tokens_in_them, tokens_beyond, chosen}],
                    mix: [{source, rows_before, rows_after, documents}],
                    example_tokens: [[text, learned]]}}]
    steps         [{name, kind, seconds, skipped}]
    failures      [{model, benchmark, form, task_id, outcome, detail, prompt, raw, code}]
"""
