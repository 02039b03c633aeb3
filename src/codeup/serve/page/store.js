// Conversations, kept in this browser (IndexedDB), one record each; nothing of them is kept by the server.
//
//   { id, title, created, updated, leaf, settings, files: [{name, base64}], nodes: { id: node } }
//   node: { id, parent, role: "user", text, input } | { id, parent, role: "assistant", answers: [{model, text, ...}] }
//
// Nodes form a tree: editing a question or asking again adds a sibling. What is shown is the path from `leaf` up.

const open = () =>
  new Promise((resolve, reject) => {
    const asked = indexedDB.open("codeup", 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore("conversations", { keyPath: "id" });
    asked.onsuccess = () => resolve(Object.assign(asked.result, { onclose: () => (opened = null) }));
    asked.onerror = () => reject(asked.error);
  });
let opened = null;

const within = async (mode, work) => {
  opened ??= open().catch((error) => {
    opened = null;
    throw error;
  });
  const db = await opened;
  return new Promise((resolve, reject) => {
    const transaction = db.transaction("conversations", mode);
    const asked = work(transaction.objectStore("conversations"));
    transaction.oncomplete = () => resolve(asked?.result);
    transaction.onabort = () => reject(transaction.error); // a request that failed aborts, and only then is it known why
  });
};

export const all = async () => (await within("readonly", (store) => store.getAll())).sort((a, b) => b.updated - a.updated);
// Another tab may have gone on with the same conversation: what it kept is adopted, in the same transaction.
export const put = (conversation) =>
  within("readwrite", (store) => {
    const asked = store.get(conversation.id);
    asked.onsuccess = () => {
      adopt(conversation, asked.result);
      store.put(conversation);
    };
  });
export const drop = (id) => within("readwrite", (store) => store.delete(id));

// Take over the turns that another copy has and this one has not; answers only ever grow, so that the longer is the newer.
// Returns whether anything came.
export const adopt = (conversation, other) => {
  let came = false;
  for (const node of Object.values(other?.nodes ?? {})) {
    const here = conversation.nodes[node.id];
    if (!here) came = Boolean((conversation.nodes[node.id] = node));
    else
      here.answers?.forEach((one, column) => {
        const there = node.answers?.[column];
        if (there && there.text.length > one.text.length) came = Boolean(Object.assign(one, there));
      });
  }
  return came;
};

const fresh = () => crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (n) => n.toString(16).padStart(2, "0")).join("");

export const begin = (settings) => {
  const now = Date.now();
  return { id: fresh(), title: "", created: now, updated: now, leaf: null, settings: { ...settings }, files: [], nodes: {} };
};

export const add = (conversation, node) => {
  const full = { ...node, id: fresh() };
  conversation.nodes[full.id] = full;
  conversation.leaf = full.id;
  conversation.updated = Date.now();
  conversation.title ||= (node.text ?? "").trim().split("\n")[0].slice(0, 80);
  return full;
};

export const path = (conversation) => {
  const found = [];
  for (let at = conversation.leaf; at !== null; at = conversation.nodes[at].parent) found.unshift(conversation.nodes[at]);
  return found;
};

export const siblings = (conversation, node) =>
  Object.values(conversation.nodes).filter((other) => other.parent === node.parent && other.role === node.role);

// Show another branch: the newest leaf below the node.
export const turnTo = (conversation, node) => {
  let at = node;
  for (;;) {
    const below = Object.values(conversation.nodes).filter((other) => other.parent === at.id);
    if (!below.length) break;
    at = below[below.length - 1];
  }
  conversation.leaf = at.id;
};

// What somebody imports is checked field by field: only plain values of the shape above come in, and of the settings
// those that are `known` (name: a value of the right type).
export const admit = (value, known = {}) => {
  const when = (item) => (Number.isFinite(item) && item > 0 && item <= Date.now() ? item : Date.now());
  const text = (item) => (typeof item === "string" ? item : "");
  if (!value || typeof value !== "object" || !value.nodes || typeof value.nodes !== "object") return null;
  const nodes = Object.create(null);
  for (const node of Object.values(value.nodes).slice(0, 5000)) {
    if (!node || typeof node.id !== "string") continue;
    const parent = typeof node.parent === "string" ? node.parent : null;
    if (node.role === "user") nodes[node.id] = { id: node.id, parent, role: "user", text: text(node.text), input: text(node.input) };
    else if (node.role === "assistant" && Array.isArray(node.answers))
      nodes[node.id] = {
        id: node.id, parent, role: "assistant",
        answers: node.answers.slice(0, 2).map((one) => ({ model: text(one?.model), text: text(one?.text), finish: text(one?.finish) })),
      };
  }
  const whole = (id) => {
    const seen = new Set();
    for (let at = id; at !== null; at = nodes[at].parent) {
      if (!nodes[at] || seen.has(at)) return false;
      seen.add(at);
    }
    return true;
  };
  const leaf = typeof value.leaf === "string" && nodes[value.leaf] && whole(value.leaf) ? value.leaf : null;
  if (leaf === null) return null;
  for (const id of Object.keys(nodes)) if (!whole(id)) delete nodes[id];
  const settings = Object.fromEntries(Object.keys(known).filter((name) => Object.hasOwn(value.settings ?? {}, name))
    .map((name) => [name, value.settings[name]]).filter(([name, one]) => typeof known[name] === "boolean" ? typeof one === "boolean" : ["string", "number"].includes(typeof one)));
  const files = (Array.isArray(value.files) ? value.files : []).slice(0, 10)
    .filter((file) => typeof file?.name === "string" && typeof file.base64 === "string").map(({ name, base64 }) => ({ name, base64 }));
  const times = { created: when(value.created), updated: when(value.updated) };
  return { ...begin(settings), ...times, title: text(value.title).slice(0, 80), leaf, files, nodes: { ...nodes } };
};
