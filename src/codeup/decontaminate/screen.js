// Which functions pass which tests, in one process: a first look, whose passes are run again by themselves (screen.py).
// functions.json [{code, expression, tests: [number, ...]}], tests.json [{entry, text, inputs: [arguments, ...]}]
//   -> said.jsonl  {unread: [test, ...]}, then
//                  {function, test, calls: [arguments, ...], values: [JSON of what it gives for an input, or null, ...]}
'use strict';
const fs = require('fs'), vm = require('vm'), assert = require('assert'), { createHash } = require('crypto');
const functions = JSON.parse(fs.readFileSync('functions.json', 'utf8'));
const tests = JSON.parse(fs.readFileSync('tests.json', 'utf8'));
// Milliseconds on the wall; most tests take a few hundredths of one. PART of the tests are run under one clock. Who did
// not have most of that time on a busy processor is asked again, RETRIES times.
const LOAD = { timeout: 1000 }, TEST = { timeout: 250 }, BUSY = 200, RETRIES = 8, PART = 100;
const MOST_LATE = 8, MOST_CALLS = 40, LARGE = 4000, DEEP = 100;
Error.stackTraceLimit = 0; // a wrong answer is no news: most are
process.on('uncaughtException', () => {}); // of async functions, which nobody waits for

// What tests ask for.
const WRONG = new Error('wrong'), simple = (value) => value === null || typeof value !== 'object' && typeof value !== 'function';
const plain = (one) => (a, b) => {
  if (simple(a) !== simple(b) && /^deep/.test(one.name)) throw WRONG;
  one(a, b, 'wrong');
};
const asserts = Object.assign((right) => { if (!right) throw WRONG; }, assert);
for (const name of ['equal', 'deepEqual', 'strictEqual', 'deepStrictEqual', 'notEqual', 'notDeepEqual', 'notStrictEqual',
  'notDeepStrictEqual']) asserts[name] = plain(assert[name]);
for (const name of ['strict', 'default']) asserts[name] = asserts;
asserts.ok = asserts;
const modules = {
  assert: asserts, 'node:assert': asserts, 'assert/strict': asserts,
  lodash: { isEqual(a, b) { try { asserts.deepEqual(a, b); return true; } catch { return false; } } },
  'js-md5': (text) => createHash('md5').update(text).digest('hex'),
};
function required(name) {
  if (Object.hasOwn(modules, name)) return modules[name];
  throw new Error(`no ${name} here`);
}
// What programs ask of Node, as far as a first look goes.
const outer = { require: required, exports: {}, Buffer, URL, URLSearchParams, TextEncoder, TextDecoder, atob, btoa,
  performance, setTimeout: () => 0, setInterval: () => 0, clearTimeout() {}, clearInterval() {}, setImmediate: () => 0,
  process: { argv: [], env: {}, platform: 'linux', stdout: { write() {} }, stderr: { write() {} } } };
const ready = new vm.Script(`Error.stackTraceLimit = 0;
globalThis.structuredClone = (value) => JSON.parse(JSON.stringify(value));
globalThis.console = new Proxy({ assert(right) { if (!right) throw new Error('wrong'); } },
  { get: (known, name) => known[name] || (() => {}) });`);
const bodies = tests.map(({ entry, text }) => {
  const body = `((${entry}) => {\n${text}\n})`;
  try { return new vm.Script(body) && body; } catch { return 'null'; }
});
const every = new vm.Script(`[${bodies.join(',\n')}]`);
const loop = new vm.Script(`for (const s = codeupState; s.at < s.end; s.at += 1) {
  s.begun = s.used();
  try { s.every[s.asked[s.at]](s.tried); s.passed.push(s.asked[s.at]); } catch { }
}`);
const call = new vm.Script(`(() => {
  const value = codeupState.tried(...JSON.parse(codeupState.input));
  return JSON.stringify(value === undefined ? null : value, (_, part) =>
    part instanceof Set || part instanceof Map ? [...part] : part);
})()`);
const late = (error) => Boolean(error) && error.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT';
function short(text) {
  if (typeof text !== 'string' || text.length > LARGE) return null;
  let depth = 0, deepest = 0;
  for (const sign of text) deepest = Math.max(deepest, depth += sign === '[' || sign === '{' ? 1 : sign === ']' || sign === '}' ? -1 : 0);
  return deepest <= DEEP ? text : null;
}

const used = () => process.cpuUsage().user / 1000;

function passing(context, state, asked) {
  Object.assign(state, { asked: asked.filter((test) => bodies[test] !== 'null'), at: 0, passed: [] });
  let missed = 0, again = 0;
  while (state.at < state.asked.length && missed < MOST_LATE) {
    state.end = Math.min(state.at + PART, state.asked.length);
    try { loop.runInContext(context, TEST); } catch (error) {
      if (!late(error)) return [];
      if (used() - state.begun < BUSY && again < RETRIES) { again += 1; continue; }
      missed += 1;
      state.at += 1;
    }
  }
  return state.passed;
}
function values(context, state, inputs) {
  let missed = 0, again = 0;
  function value(input) {
    if (missed >= MOST_LATE) return null;
    const before = used();
    try {
      state.input = JSON.stringify(input);
      return short(call.runInContext(context, TEST));
    } catch (error) {
      if (late(error) && used() - before < BUSY && again < RETRIES) { again += 1; return value(input); }
      missed += late(error) ? 1 : 0;
      return null;
    }
  }
  return inputs.map(value);
}
function recorder(tried, calls) {
  return (...given) => {
    try {
      const text = calls.length < MOST_CALLS ? short(JSON.stringify(given)) : null;
      if (text !== null) calls.push(JSON.parse(text));
    } catch { /* what JSON has no words for is not varied */ }
    return tried(...given);
  };
}
const out = fs.openSync('said.jsonl', 'a');
const unread = bodies.flatMap((body, number) => (body === 'null' ? [number] : []));
fs.writeSync(out, JSON.stringify({ unread }) + '\n');
for (const [number, { code, expression, tests: asked }] of functions.entries()) {
  const state = { used }, calls = [];
  const context = vm.createContext({ ...outer, codeupState: state }, { microtaskMode: 'afterEvaluate' });
  try {
    ready.runInContext(context);
    state.every = every.runInContext(context);
    const tried = vm.runInContext(`(() => {\n${code}\nreturn (${expression});\n})()`, context, LOAD);
    state.tried = tests[asked[0]].record ? recorder(tried, calls) : tried;
    for (const test of passing(context, state, asked)) {
      const said = { function: number, test, calls: [...calls], values: values(context, state, tests[test].inputs) };
      fs.writeSync(out, JSON.stringify(said) + '\n');
    }
  } catch { /* a text that does not run passes nothing */ }
}
process.exit(0);
