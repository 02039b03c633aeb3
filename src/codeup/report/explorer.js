// The explorer of answers. Texts are unpacked block by block when they are looked at or searched; every text enters the
// page as a text node, never as markup.
(async () => {
  const root = document.querySelector(".explorer");
  if (!root || typeof DecompressionStream === "undefined") return;

  const unpack = async (element) => {
    const bytes = Uint8Array.from(atob(element.textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  };
  const blockElements = [...document.querySelectorAll(".answers-block")];
  const blocks = blockElements.map(() => null);
  const block = (at) => (blocks[at] ??= unpack(blockElements[at]));

  const index = await unpack(document.querySelector("#answers-index"));
  const rows = index.rows.map(([problem, model, outcome, sample, detail, prompt, at, place]) => {
    const [benchmark, task, language] = index.problems[problem];
    return {
      problem, model, sample, detail, prompt, at, place, benchmark, task, language,
      outcome: index.outcomes[outcome], passed: index.outcomes[outcome] === "PASSED",
    };
  });
  const several = new Set(index.models.map(([name]) => name)).size < index.models.length;
  const modelName = (at) => index.models[at][0] + (several && index.models[at][1] ? ` (${index.models[at][1]})` : "");
  const samples = rows.some((row) => row.sample > 0);

  // An answer with its texts: {prompt, raw, code}, or null where the page holds none.
  const texts = async (row) => {
    if (row.at === undefined) return null;
    const [raw, program] = (await block(row.at))[row.place];
    const [promptBlock, promptPlace] = index.prompts[row.prompt];
    const prompt = (await block(promptBlock))[promptPlace];
    return { prompt, raw, code: Array.isArray(program) ? raw.slice(program[0], program[1]) : program };
  };

  // ------------------------------------------------------------------------------------------------ highlighting
  const WORDS = {
    python: "and as assert async await break class continue def del elif else except finally for from global if import in is lambda nonlocal not or pass raise return try while with yield None True False match case",
    other: "abstract as async await bool boolean break case catch char class const continue crate default defer delete do double else enum export extends false final finally float fn for foreach func function go if impl implements import in int interface let long loop match mod mut namespace new null nil package private protected pub public range return self static string struct super switch template this throw throws trait true try type typename undefined unsigned use using var void where while yield end def elsif unless then do done fi echo local my sub",
  };
  const words = Object.fromEntries(Object.entries(WORDS).map(([name, text]) => [name, new Set(text.split(" "))]));
  const HASH = new Set(["python", "ruby", "bash", "perl", "php", "r"]);
  const PIECES = {
    hash: /("""[\s\S]*?"""|'''[\s\S]*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')|(#[^\n]*)|(\b\d[\w.]*\b)|([A-Za-z_]\w*)/g,
    slash: /("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)|(\/\/[^\n]*|\/\*[\s\S]*?\*\/)|(\b\d[\w.]*\b)|([A-Za-z_]\w*)/g,
  };
  const span = (css, text) => Object.assign(document.createElement("span"), { className: css, textContent: text });
  const highlight = (text, language, into) => {
    const known = words[language === "python" ? "python" : "other"];
    let end = 0;
    for (const found of text.matchAll(PIECES[HASH.has(language) ? "hash" : "slash"])) {
      const css = found[1] ? "s" : found[2] ? "c" : found[3] ? "n" : known.has(found[4]) ? "k" : "";
      if (!css) continue;
      into.append(text.slice(end, found.index), span(css, found[0]));
      end = found.index + found[0].length;
    }
    into.append(text.slice(end));
    return into;
  };

  // Lines of two texts, marked: the longest common subsequence; beyond 600 lines only equal beginnings are matched.
  const differences = (left, right) => {
    const a = left.split("\n"), b = right.split("\n");
    if (a.length > 600 || b.length > 600) return null;
    const best = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
    for (let i = a.length - 1; i >= 0; i--)
      for (let j = b.length - 1; j >= 0; j--)
        best[i][j] = a[i] === b[j] ? best[i + 1][j + 1] + 1 : Math.max(best[i + 1][j], best[i][j + 1]);
    const sides = [[], []];
    let i = 0, j = 0;
    while (i < a.length || j < b.length) {
      if (i < a.length && j < b.length && a[i] === b[j]) {
        sides[0].push([a[i++], ""]);
        sides[1].push([b[j++], ""]);
      } else if (j >= b.length || (i < a.length && best[i + 1][j] >= best[i][j + 1])) sides[0].push([a[i++], "gone"]);
      else sides[1].push([b[j++], "new"]);
    }
    return sides;
  };

  // ------------------------------------------------------------------------------------------------- what is shown
  const form = root.querySelector("form"), list = root.querySelector(".list"), pane = root.querySelector(".answer");
  const option = (value, text) => Object.assign(document.createElement("option"), { value, textContent: text });
  const fill = (name, values, label = (value) => value) => {
    for (const value of values) form[name].append(option(value, label(value)));
    if (values.length < 2 && name !== "model") form[name].closest("label").hidden = true;
  };
  const all = (key) => [...new Set(rows.map((row) => row[key]))];
  fill("model", index.models.map((_, at) => at), modelName);
  form.model.append(option("", "all models"));
  fill("against", index.models.map((_, at) => at), modelName);
  fill("benchmark", all("benchmark"));
  fill("language", all("language"));
  form.outcome.append(option("!", "not passed"));
  fill("outcome", index.outcomes);
  const final = index.models.findIndex(([name]) => name === root.dataset.final);
  form.model.value = String(final >= 0 ? final : index.models.length - 1);
  if (rows.some((row) => row.model === Number(form.model.value) && !row.passed)) form.outcome.value = "!";

  const MORE = 200;
  let shown = [], chosen = 0, limit = MORE, asked = 0;
  const places = new Map(rows.map((row) => [`${row.problem} ${row.model} ${row.sample}`, row]));
  const partner = (row, model) => places.get(`${row.problem} ${model} ${row.sample}`);

  const matches = async (row, text) => {
    if (!text) return true;
    if (`${row.task} ${row.detail} ${row.outcome}`.toLowerCase().includes(text)) return true;
    const found = await texts(row);
    return found !== null && [found.prompt, found.raw, found.code].some((part) => part.toLowerCase().includes(text));
  };

  const apply = async () => {
    const turn = ++asked;
    const wanted = Object.fromEntries(new FormData(form));
    const against = wanted.against === "" ? null : Number(wanted.against);
    const candidates = rows.filter(
      (row) =>
        (wanted.model === "" || row.model === Number(wanted.model)) &&
        (!wanted.benchmark || row.benchmark === wanted.benchmark) &&
        (!wanted.language || row.language === wanted.language) &&
        (!wanted.outcome || (wanted.outcome === "!" ? !row.passed : row.outcome === wanted.outcome)) &&
        (against === null || (partner(row, against) ?? row).passed !== row.passed),
    );
    const text = wanted.text.trim().toLowerCase();
    const found = [];
    for (const row of candidates) {
      if (await matches(row, text)) found.push(row);
      if (turn !== asked) return; // somebody typed on
    }
    shown = found;
    chosen = 0;
    limit = MORE;
    form.querySelector("output").textContent = `${found.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")}`;
    draw();
    show();
  };

  const draw = () => {
    list.replaceChildren(
      ...shown.slice(0, limit).map((row, at) => {
        const line = Object.assign(document.createElement("div"), { className: "row", role: "option" });
        line.setAttribute("role", "option");
        line.dataset.at = at;
        line.append(span(`chip edge-${row.outcome}`, row.outcome), span("task", row.task + (samples ? ` #${row.sample}` : "")));
        if (form.model.value === "") line.append(span("who", modelName(row.model)));
        line.append(span("said", row.detail));
        return line;
      }),
    );
    if (shown.length > limit) {
      const more = Object.assign(document.createElement("button"), { type: "button", textContent: `${shown.length - limit} more` });
      more.addEventListener("click", () => ((limit += MORE), draw(), mark()));
      list.append(more);
    }
    mark();
  };
  const mark = () => {
    for (const line of list.querySelectorAll(".row")) {
      const here = Number(line.dataset.at) === chosen;
      line.setAttribute("aria-selected", here);
      if (!here) continue;
      const all = list.getBoundingClientRect(), own = line.getBoundingClientRect(); // only the list is scrolled, not the page
      if (own.top < all.top) list.scrollTop -= all.top - own.top;
      else if (own.bottom > all.bottom) list.scrollTop += own.bottom - all.bottom;
    }
  };

  const heading = (text) => Object.assign(document.createElement("h4"), { textContent: text });
  const code = (text, language, sides) => {
    const block = document.createElement("pre");
    block.tabIndex = 0;
    const inner = block.appendChild(document.createElement("code"));
    if (!language) inner.append(text);
    else if (sides) for (const [line, css] of sides) highlight(line + "\n", language, inner.appendChild(span(css, "")));
    else highlight(text, language, inner);
    return block;
  };
  const column = (row, found, sides) => {
    const box = Object.assign(document.createElement("div"), { className: "side" });
    const verdict = document.createElement("p");
    verdict.append(span(`chip edge-${row.outcome}`, row.outcome), ` ${modelName(row.model)}`);
    box.append(verdict);
    if (row.detail) box.append(Object.assign(document.createElement("p"), { className: "said", textContent: row.detail }));
    if (!found) return box.append(heading("the text is in the run folder")), box;
    box.append(heading("program judged"), found.code ? code(found.code, row.language, sides) : heading("no code was found in the answer"));
    if (found.raw !== found.code) box.append(heading("whole answer"), code(found.raw, ""));
    return box;
  };

  const show = async () => {
    const row = shown[chosen];
    if (!row) return pane.replaceChildren(heading("no answer fits"));
    const other = form.against.value === "" ? null : partner(row, Number(form.against.value));
    const [mine, theirs] = [await texts(row), other && (await texts(other))];
    if (row !== shown[chosen]) return;
    const sides = mine && theirs ? differences(theirs.code, mine.code) : null;
    const title = Object.assign(document.createElement("h3"), { textContent: `${row.benchmark} · ${row.task}` });
    const both = Object.assign(document.createElement("div"), { className: other ? "sides" : "" });
    if (other) both.append(column(other, theirs, sides?.[0]));
    both.append(column(row, mine, sides?.[1]));
    pane.replaceChildren(title, ...(mine ? [heading("prompt"), code(mine.prompt, index.models[row.model][1] === "base" ? row.language : "")] : []), both);
    pane.scrollTop = 0;
  };

  const go = (to) => {
    if (to < 0 || to >= shown.length) return;
    chosen = to;
    if (chosen >= limit) ((limit += MORE), draw());
    mark();
    show();
  };
  list.addEventListener("click", (event) => {
    const line = event.target.closest(".row");
    if (line) go(Number(line.dataset.at));
  });
  form.against.addEventListener("input", () => (form.outcome.value = "")); // both kinds of change are of interest
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/" && !typing) {
      event.preventDefault();
      form.text.focus();
    } else if (event.key === "Escape" && form.contains(document.activeElement)) {
      form.text.value = "";
      list.focus();
      apply();
    } else if (!typing && (event.key === "j" || (event.key === "ArrowDown" && document.activeElement === list))) {
      event.preventDefault();
      go(chosen + 1);
    } else if (!typing && (event.key === "k" || (event.key === "ArrowUp" && document.activeElement === list))) {
      event.preventDefault();
      go(chosen - 1);
    }
  });

  root.hidden = false;
  document.querySelector("#answers .without").hidden = true;
  document.querySelector("#failures")?.classList.add("on-paper");
  await apply();
  root.dataset.ready = "yes";
})();
