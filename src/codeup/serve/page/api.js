// The server's own protocol, from the page's side: models, streamed answers, programs to run.

const failure = async (reply) => {
  const words = await reply.json().then((body) => body?.error?.message, () => null);
  const wait = reply.headers.get("retry-after");
  return new Error(`${words ?? `the server answered ${reply.status}`}${wait ? ` (again in ${wait} s)` : ""}`);
};

// Nobody answers, or the connection broke: asking again later may help.
export class Unreachable extends Error {}
const unreachable = () => {
  throw new Unreachable("the server cannot be reached");
};
const fetched = (address, options) => fetch(address, options).catch((error) => (error.name === "AbortError" ? Promise.reject(error) : unreachable()));

export const fetchJson = async (address, options) => {
  const reply = await fetched(address, options);
  if (!reply.ok) throw await failure(reply);
  return reply.json();
};

// Yields {text, finish, usage} as they come. Aborting the signal closes the connection, which frees the work at once.
export async function* answer(request, signal) {
  const reply = await fetched("v1/chat/completions", {
    method: "POST", signal, headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...request, stream: true, stream_options: { include_usage: true } }),
  });
  if (!reply.ok) throw await failure(reply);
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", ended = false;
  for (;;) {
    const { value, done } = await reader.read().catch((error) => (signal.aborted ? Promise.reject(error) : unreachable()));
    if (done) break;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const data = event.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart()).join("\n");
      if (!data) continue; // a comment keeps the connection alive
      if (data === "[DONE]") {
        ended = true;
        continue;
      }
      const part = parsed(data);
      if (part.error) throw new Error(String(part.error.message ?? "the server failed"));
      const choice = part.choices?.[0];
      yield { text: String(choice?.delta?.content ?? ""), finish: choice?.finish_reason ?? null, usage: part.usage ?? null };
    }
  }
  if (!ended) throw new Unreachable("the connection broke before the answer ended");
}
const parsed = (data) => {
  try {
    const value = JSON.parse(data);
    if (value && typeof value === "object") return value;
  } catch {
    // told below
  }
  throw new Error("the server sent what is no answer");
};

export const runCode = (code, language, files) =>
  fetchJson("page/run", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ code, language, files }),
  });
