// The page: what is shown, and what a person can do with it. Storage is in store.js, the server in api.js, Markdown in
// markdown.js. Texts of people and models enter the page as text nodes, or through markdown.js.

import * as api from "./api.js";
import { lines } from "./difference.js";
import { Growing, highlighted, whole } from "./markdown.js";
import * as store from "./store.js";

const $ = (id) => document.getElementById(id);
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null));
  return element;
};
const button = (text, title, onclick) => make("button", { type: "button", textContent: text, title, onclick });
const settings = $("settings"), talk = $("talk"), text = $("text"), inputField = $("input");
const DEFAULTS = { system: "", temperature: 0, top_p: 1, max_tokens: 512, seed: "", stop: "", instruction: false, autorun: false };

const kept = new Set(); // ids of conversations that have been seen in the store
let conversations = [], current = null, running = null, connecting = false, server = { run: { offered: false } };

// ------------------------------------------------------------------------------------------------------- settings

const chosen = () => {
  const form = new FormData(settings), found = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS)) {
    const field = settings.elements[name];
    found[name] = field.type === "checkbox" ? field.checked : (form.get(name) ?? "");
  }
  return { ...found, model: $("model").value, beside: $("beside").value };
};
const show = (values) => {
  for (const name of Object.keys(DEFAULTS)) {
    const field = settings.elements[name], value = values[name] ?? DEFAULTS[name];
    if (field.type === "checkbox") field.checked = value === true;
    else field.value = value;
  }
  for (const id of ["model", "beside"]) if ([...$(id).options].some((one) => one.value === values[id])) $(id).value = values[id];
  inputField.hidden = !settings.elements.instruction.checked;
};
const remember = () => {
  try {
    localStorage.setItem("codeup-settings", JSON.stringify(chosen()));
  } catch (error) {
    notice(`settings are not kept: ${error.message}`);
  }
  inputField.hidden = !settings.elements.instruction.checked;
  if (current) current.settings = chosen();
};
const number = (value) => (value === "" || Number.isNaN(Number(value)) ? undefined : Number(value));

// The body of a request for one model: the path to `node`, each assistant turn as that column answered it; `begun` is
// the beginning of the answer that is asked for.
const requestFor = (model, column, upTo, begun) => {
  const now = chosen(), messages = now.system.trim() ? [{ role: "system", content: now.system }] : [];
  for (const node of upTo) {
    if (node.role === "user") messages.push({ role: "user", content: node.text, ...(node.input ? { input: node.input } : {}) });
    else messages.push({ role: "assistant", content: (node.answers[column] ?? node.answers[0]).text || " " });
  }
  if (begun) messages.push({ role: "assistant", content: begun });
  const stop = now.stop.split(/[|\n⏎]/).filter((one) => one !== "");
  const asked = { model, messages, temperature: number(now.temperature) ?? 0, top_p: number(now.top_p), max_tokens: number(now.max_tokens), seed: number(now.seed) };
  if (stop.length) asked.stop = stop;
  return asked;
};

// ------------------------------------------------------------------------------------------------------ one answer

const codeBlock = (code, name) => {
  const box = make("div", { className: "code" }), runs = Object.hasOwn(server.run.languages ?? {}, name) ? server.run.languages[name] : null;
  const copy = button("Copy", "Copy this code", async () => {
    await navigator.clipboard.writeText(code).catch(() => notice("the browser did not allow copying"));
    copy.textContent = "Copied";
    setTimeout(() => (copy.textContent = "Copy"), 1200);
  });
  const head = make("header", {}, make("span", { textContent: name || "text" }), make("span", { className: "grow" }));
  if (runs && server.run.offered) head.append(button("Run", `Run in the sandbox: ${server.run.limits}`, () => run(box, code, runs)));
  head.append(copy);
  box.append(head, make("pre", { tabIndex: 0 }, highlighted(code.replace(/\n$/, ""), name)));
  return box;
};

const bytes = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
const run = async (box, code, name) => {
  box.querySelector(".ran")?.remove();
  const out = box.appendChild(make("div", { className: "ran", role: "status" }, make("span", { className: "how", textContent: "running …" })));
  try {
    const done = await api.runCode(code, name, current?.files ?? []);
    const silent = done.out || done.err || done.files.length ? "" : ", printed nothing";
    const how = `${done.ended} after ${done.seconds.toFixed(2)} s${silent}; ${server.run.limits}`;
    out.replaceChildren(make("div", { className: "how", textContent: how }));
    if (done.out) out.append(make("pre", { className: "out", textContent: done.out, tabIndex: 0 }));
    if (done.err) out.append(make("pre", { className: "err", textContent: done.err, tabIndex: 0 }));
    for (const file of done.files) {
      const image = /\.(png|jpe?g|gif|webp)$/i.exec(file.name);
      const address = URL.createObjectURL(new Blob([bytes(file.base64)], { type: image ? `image/${image[1].toLowerCase().replace("jpg", "jpeg")}` : "application/octet-stream" }));
      if (image) out.append(make("img", { src: address, alt: `${file.name}, made by the program` }));
      out.append(make("a", { href: address, download: file.name, textContent: `${file.name} (${bytes(file.base64).length.toLocaleString("en")} bytes)` }));
    }
    for (const note of done.notes) out.append(make("div", { className: "how", textContent: note }));
  } catch (error) {
    out.replaceChildren(make("div", { className: "err", textContent: error.message }));
  }
};

const speed = (one) => {
  if (!one.tokens || !one.seconds) return "";
  const rate = one.tokens / one.seconds;
  return `${one.tokens} token${one.tokens === 1 ? "" : "s"}, ${rate.toFixed(rate < 10 ? 1 : 0)} tokens/s${one.first ? `, first after ${one.first.toFixed(2)} s` : ""}`;
};

const drawAnswer = (one) => {
  const name = make("div", { className: "name" }, make("b", { textContent: one.model }), make("span", { className: "grow" }), make("span", { textContent: speed(one) }));
  const body = make("div", { className: "text" });
  if (one.text) body.append(whole(one.text, codeBlock));
  const end = { length: "ended at the most tokens allowed", stopped: "stopped", stop: one.text.trim() ? "" : "an empty answer" }[one.finish] ?? "";
  const box = make("div", { className: "answer" }, name, body);
  if (end) box.append(make("small", { textContent: end }));
  if (one.error) box.append(make("p", { className: "failed", textContent: one.error }));
  return box;
};

const drawDifference = (answers) => {
  const [left, right] = answers.map((one) => one.text);
  const found = lines(left, right);
  const block = make("pre", { tabIndex: 0 });
  if (!found) block.textContent = "too long to compare line by line";
  else for (const [kind, line] of found) block.append(make("span", { className: kind, textContent: `${{ same: "  ", gone: "− ", new: "+ " }[kind]}${line}${kind === "same" ? "\n" : ""}` }));
  return make("div", { className: "compared" }, make("small", { textContent: `− ${answers[0].model}   + ${answers[1].model}` }), block);
};

// ---------------------------------------------------------------------------------------------------- conversation

const branches = (node) => {
  const all = store.siblings(current, node), at = all.indexOf(node);
  if (all.length < 2) return null;
  const turn = (to) => () => {
    store.turnTo(current, all[to]);
    save();
    draw();
  };
  const back = button("‹", "Earlier version", turn(at - 1)), on = button("›", "Later version", turn(at + 1));
  back.disabled = at === 0;
  on.disabled = at === all.length - 1;
  return make("span", {}, back, `${at + 1}/${all.length}`, on);
};

const drawUser = (node) => {
  const body = make("div", { className: "body" }, node.text, node.input ? make("span", { className: "given", textContent: node.input }) : null);
  const edit = button("Edit", "Change the question; the old one stays as a branch", () => {
    const field = make("textarea", { value: node.text }), given = make("textarea", { value: node.input ?? "", hidden: !node.input });
    const again = button("Ask", "", () => ask(node.parent, field.value, given.value));
    body.replaceChildren(field, given, again, button("Cancel", "", draw));
    field.focus();
  });
  const acts = make("span", { className: "acts" }, edit, copyButton(() => node.text));
  return make("article", { className: "turn user" }, make("header", {}, make("b", { textContent: "You" }), branches(node), acts), body);
};

const copyButton = (what) => button("Copy", "Copy", () => navigator.clipboard.writeText(what()).catch(() => notice("the browser did not allow copying")));

const drawAssistant = (node) => {
  const again = button("Again", "Answer once more; this answer stays as a branch", () => regenerate(node));
  const acts = make("span", { className: "acts" }, again, copyButton(() => node.answers.map((one) => one.text).join("\n\n")));
  const box = make("article", { className: `turn assistant${node.answers.length > 1 ? " pair" : ""}` });
  if (!running && node.id === current.leaf && node.answers.some(unfinished)) acts.prepend(button("Go on", "Let the answer go on from where it broke off", () => goOn(node)));
  if (node.answers.length > 1)
    acts.append(button("Difference", "Compare the two answers line by line", () => {
      const there = box.querySelector(".compared");
      if (there) return there.remove();
      box.append(drawDifference(node.answers));
      box.lastElementChild.scrollIntoView({ block: "nearest" });
    }));
  const answers = make("div", { className: "answers" }, ...node.answers.map(drawAnswer));
  box.append(make("header", {}, branches(node), acts), answers);
  return box;
};

const EXAMPLES = ["Write a Python function that returns the prime factors of a number.", "Read numbers.csv and print the mean of each column.", "Explain what this does: sorted(d, key=d.get)[:3]"];
const welcome = () => `${$("beside").parentElement.hidden ? "" : "Two models side by side: choose a second one above. "}Programs run only when you say so.`;
const draw = () => {
  const nodes = current ? store.path(current) : [];
  talk.replaceChildren(...nodes.map((node) => (node.role === "user" ? drawUser(node) : drawAssistant(node))));
  if (!nodes.length)
    talk.append(
      make("div", { className: "empty" }, make("h1", { textContent: "Ask for code" }), make("p", { textContent: welcome() }),
        make("div", { className: "try" }, ...EXAMPLES.map((one) => button(one, "", () => ((text.value = one), grow(text), text.focus()))))),
    );
  drawFiles();
  talk.scrollTop = talk.scrollHeight;
};

const drawFiles = () =>
  $("files").replaceChildren(
    ...(current?.files ?? []).map((file) => make("li", {}, file.name, button("×", `Remove ${file.name}`, () => {
      current.files = current.files.filter((other) => other !== file);
      save();
      drawFiles();
    }))),
  );

const drawList = () => {
  const wanted = $("find").value.trim().toLowerCase();
  const holds = (one) => !wanted || one.title.toLowerCase().includes(wanted) ||
    Object.values(one.nodes).some((node) => (node.text ?? node.answers.map((a) => a.text).join(" ")).toLowerCase().includes(wanted));
  $("conversations").replaceChildren(
    ...conversations.filter(holds).map((one) => {
      const line = make("div", { className: "one" },
        make("button", { type: "button", className: "open", onclick: () => choose(one) }, one.title || "untitled", make("small", { textContent: new Date(one.updated).toLocaleString() })),
        make("button", { type: "button", className: "drop", textContent: "×", title: `Delete ${one.title || "untitled"}`, onclick: () => remove(one) }));
      line.setAttribute("aria-current", one === current);
      return line;
    }),
  );
};

const choose = (one) => {
  stop();
  current = one;
  show({ ...chosen(), ...one.settings });
  menu(false);
  draw();
  drawList();
  text.focus();
};
const begin = () => {
  stop();
  current = null;
  draw();
  drawList();
  menu(false);
  text.focus();
};
const remove = async (one) => {
  if (!confirm(`Delete “${one.title || "untitled"}”?`)) return;
  try {
    await store.drop(one.id);
  } catch (error) {
    return notice(`not deleted: ${why(error)}`);
  }
  conversations = conversations.filter((other) => other !== one);
  if (one === current) begin();
  drawList();
};
const hold = () => {
  if (current) return;
  current = store.begin(chosen());
  conversations.unshift(current);
};
const save = async () => {
  if (!current) return;
  try {
    await store.put(current);
  } catch (error) {
    notSaved(error);
  }
};
const why = (error) => error?.name === "QuotaExceededError" ? "this browser has no room left" : error?.message || error?.name || "the browser did not say why";
const notSaved = (error) =>
  notice(`not saved (${why(error)}): this conversation is in this tab only; “Export all” keeps it in a file`);

// What other tabs kept, or deleted, meanwhile. Conversations that were never saved stay.
const refresh = async () => {
  if (running) return;
  const stored = new Map((await store.all()).map((one) => [one.id, one]));
  const here = conversations.filter((one) => one === current || stored.has(one.id) || !kept.has(one.id));
  let came = false;
  for (const one of here) came = (store.adopt(one, stored.get(one.id)) && one === current) || came;
  const ids = new Set(here.map((one) => one.id));
  conversations = [...here, ...[...stored.values()].filter((one) => !ids.has(one.id))].sort((a, b) => b.updated - a.updated);
  for (const id of stored.keys()) kept.add(id);
  if (came && !running) draw();
  drawList();
};

// ---------------------------------------------------------------------------------------------------------- asking

const ask = async (parent, question, given) => {
  if (running || !question.trim()) return;
  hold();
  current.settings = chosen();
  store.add(current, { parent, role: "user", text: question, input: settings.elements.instruction.checked ? given : "" });
  await generate();
};
const regenerate = async (node) => {
  if (running) return;
  current.leaf = node.parent;
  await generate();
};

// An answer that was stopped, cut at its most tokens, or broken off with the server or the page, has no finish "stop".
const unfinished = (one) => one.text !== "" && one.finish !== "stop";
const goOn = async (node) => {
  if (running) return;
  current.leaf = node.id;
  await stream(node, unfinished);
};
const generate = async () => {
  const now = chosen(), models = [now.model, ...(now.beside ? [now.beside] : [])];
  await stream(store.add(current, { parent: current.leaf, role: "assistant", answers: models.map((model) => ({ model, text: "", finish: "", tokens: 0, seconds: 0 })) }), () => true);
};

// Let the models write those answers of the newest turn that `wanted` holds for, from what each says already.
const stream = async (node, wanted) => {
  const before = store.path(current).slice(0, -1), conversation = current, columns = [...node.answers.keys()].filter((column) => wanted(node.answers[column]));
  running = new AbortController();
  busy(true);
  await save();
  draw();
  drawList();
  notice("");
  const shownTurn = talk.lastElementChild, boxes = [...shownTurn.querySelectorAll(".answer")];
  const saving = setInterval(() => store.put(conversation).catch(() => {}), 2000);
  await Promise.all(columns.map((column) => write(column, before, node.answers[column], boxes[column], running.signal)));
  clearInterval(saving);
  running = null;
  busy(false);
  await store.put(conversation).catch(notSaved);
  if (current !== conversation) return;
  shownTurn.replaceWith(drawAssistant(node));
  $("spoken").textContent = `Answer finished: ${node.answers.map((one) => one.text.slice(0, 300)).join(" — ")}`;
  if (settings.elements.autorun.checked && server.run.offered)
    for (const box of talk.lastElementChild.querySelectorAll(".answer .code")) [...box.querySelectorAll("header button")].find((one) => one.textContent === "Run")?.click();
};

const write = async (column, before, one, box, signal) => {
  const body = box.querySelector(".text"), meter = box.querySelector(".name > :last-child");
  for (const end of box.querySelectorAll("small, .failed")) end.remove();
  body.replaceChildren();
  const growing = new Growing(body, codeBlock), started = performance.now(), asked = requestFor(one.model, column, before, one.text);
  Object.assign(one, { finish: "", error: "", first: 0, tokens: 0, seconds: 0 });
  let due = false;
  const paint = () => {
    due = false;
    const below = talk.scrollHeight - talk.scrollTop - talk.clientHeight < 60;
    growing.set(one.text);
    meter.textContent = $("speed").textContent = speed(one);
    if (below) talk.scrollTop = talk.scrollHeight;
  };
  body.classList.add("cursor");
  try {
    for await (const part of api.answer(asked, signal)) {
      if (part.text && !one.first) one.first = (performance.now() - started) / 1000;
      one.text += part.text;
      one.tokens = part.usage?.completion_tokens ?? one.tokens + (part.text ? 1 : 0);
      one.seconds = (performance.now() - started) / 1000;
      if (part.finish) one.finish = part.finish;
      if (!due) {
        due = true;
        requestAnimationFrame(paint);
      }
    }
  } catch (error) {
    if (signal.aborted) one.finish = "stopped";
    else one.error = error.message;
    if (error instanceof api.Unreachable) connect();
  }
  body.classList.remove("cursor");
  paint();
};

const menu = (on) => {
  document.body.classList.toggle("menu", on);
  $("menu").setAttribute("aria-expanded", on);
};
const stop = () => running?.abort();
const busy = (on) => {
  $("stop").hidden = !on;
  $("send").disabled = on || connecting;
  if (!on) text.focus();
};
const notice = (words) => {
  $("notice").textContent = words;
  $("notice").hidden = !words;
};
const grow = (field) => {
  field.style.height = "auto";
  field.style.height = `${Math.min(field.scrollHeight + 2, innerHeight * 0.4)}px`;
};

// ------------------------------------------------------------------------------------------------ files in and out

const download = (name, content, type) => {
  const address = URL.createObjectURL(new Blob([content], { type }));
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
};
const asMarkdown = (one) =>
  `# ${one.title}\n\n${store.path(one).map((node) => node.role === "user"
    ? `## You\n\n${node.text}${node.input ? `\n\n> Input\n\n${node.input}` : ""}`
    : node.answers.map((a) => `## ${a.model}\n\n${a.text}`).join("\n\n")).join("\n\n")}\n`;
const attach = async (list) => {
  hold();
  for (const file of list) {
    if (file.size > server.run.file_bytes) notice(`${file.name} is larger than ${server.run.file_bytes.toLocaleString("en")} bytes`);
    else {
      const data = new Uint8Array(await file.arrayBuffer());
      let letters = "";
      for (let at = 0; at < data.length; at += 32768) letters += String.fromCharCode(...data.subarray(at, at + 32768));
      current.files = [...current.files.filter((other) => other.name !== file.name), { name: file.name, base64: btoa(letters) }];
    }
  }
  await save();
  drawFiles();
  drawList();
};
const importAll = async (file) => {
  try {
    const found = JSON.parse(await file.text());
    const admitted = (Array.isArray(found) ? found : found.conversations).map((one) => store.admit(one, DEFAULTS)).filter(Boolean);
    for (const one of admitted) await store.put(one);
    await refresh();
    notice(`${admitted.length} conversations imported`);
  } catch (error) {
    notice(`not a file of conversations, or no place for them: ${why(error)}`);
  }
};

// --------------------------------------------------------------------------------------------------------- start

// Ask the server what it has until it answers; meanwhile nothing can be sent.
const connect = async () => {
  if (connecting) return;
  connecting = true;
  for (let turn = 0; connecting; turn++) {
    try {
      const models = (await api.fetchJson("v1/models")).data.map((one) => one.id);
      server = await api.fetchJson("page/about");
      const parted = (id, first) => {
        const kept = $(id).value;
        $(id).replaceChildren(...first, ...models.map((name) => make("option", { value: name, textContent: name })));
        if (models.includes(kept)) $(id).value = kept;
      };
      parted("model", []);
      parted("beside", [make("option", { value: "", textContent: "nobody" })]);
      $("beside").parentElement.hidden = models.length < 2;
      $("attach").parentElement.hidden = !server.run.offered;
      settings.elements.autorun.parentElement.hidden = !server.run.offered;
      $("send").disabled = running !== null;
      notice(server.run.offered ? "" : (server.run.why ?? ""));
      for (const line of talk.querySelectorAll(".empty p")) line.textContent = welcome();
      connecting = false;
    } catch (error) {
      $("send").disabled = true;
      notice(`${error.message} …`);
      await new Promise((resolve) => setTimeout(resolve, Math.min(3000, 300 + 200 * turn)));
    }
  }
};

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  if (running || $("send").disabled) return;
  const question = text.value, given = inputField.value;
  if (!question.trim()) return;
  text.value = inputField.value = "";
  grow(text);
  ask(current?.leaf ?? null, question, given);
});
for (const field of [text, inputField]) {
  field.addEventListener("input", () => grow(field));
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing && (field === text || event.ctrlKey)) {
      event.preventDefault();
      $("ask").requestSubmit();
    }
  });
}
addEventListener("keydown", (event) => {
  if (event.key === "Escape") running ? stop() : menu(false);
  if (event.ctrlKey && event.shiftKey && event.key.toLowerCase() === "o") {
    event.preventDefault();
    begin();
  }
});
$("stop").addEventListener("click", stop);
$("new").addEventListener("click", begin);
$("find").addEventListener("input", drawList);
$("menu").addEventListener("click", (event) => {
  event.stopPropagation();
  menu(!document.body.classList.contains("menu"));
});
document.querySelector("main").addEventListener("click", () => menu(false));
$("tune").addEventListener("click", () => $("tune").setAttribute("aria-expanded", !(settings.hidden = !settings.hidden)));
$("share").addEventListener("click", () => current && download(`${current.title.slice(0, 40) || "conversation"}.md`, asMarkdown(current), "text/markdown"));
$("export").addEventListener("click", async () => {
  await refresh().catch(() => {}); // without storage what this tab has is all there is
  download("codeup-conversations.json", JSON.stringify({ conversations }, null, 1), "application/json");
});
addEventListener("visibilitychange", () => document.hidden || refresh().catch(() => {}));
$("import").addEventListener("change", (event) => event.target.files[0] && importAll(event.target.files[0]).then(() => (event.target.value = "")));
$("attach").addEventListener("change", (event) => attach(event.target.files).then(() => (event.target.value = "")));
settings.addEventListener("input", remember);
for (const id of ["model", "beside"]) $(id).addEventListener("change", remember);

show(DEFAULTS);
draw();
await refresh().catch((error) => notice(`conversations cannot be kept: ${why(error)}`));
await connect();
try {
  show({ ...chosen(), ...JSON.parse(localStorage.getItem("codeup-settings") ?? "{}") });
} catch {
  localStorage.removeItem("codeup-settings");
}
document.body.dataset.ready = "yes";
