// Runs one program and its tests (languages/javascript.py). @SHIELD@ are the standard names that the tests use.
'use strict';
const fs = require('fs'), vm = require('vm'), { format } = require('util'), { createRequire } = require('module');
const write = fs.writeSync, read = fs.readFileSync, define = Object.defineProperty;
const exit = process.reallyExit.bind(process);
const secret = read(0, 'utf8').trim();
let program = read('program.txt', 'utf8'), tests = read('tests.txt', 'utf8');
fs.unlinkSync('program.txt'); fs.unlinkSync('tests.txt');
let checks = 0;
function fail(words) { write(2, words + '\n'); exit(97); }
function counted(original, name) {
  return function (...given) { const back = original.apply(this, given); checks += 1; return back; };
}
// Two modules that are slow to load are loaded before the program runs where either text names them, else when asked for.
let asserts = null, createHash = null;
function loadAssert() {
  const assert = require('assert'), ownAssert = {};
  for (const name of Object.keys(assert))
    ownAssert[name] = typeof assert[name] === 'function' && !/Error$|strict$|CallTracker/.test(name)
      ? counted(assert[name], name) : assert[name];
  const called = counted(assert, 'assert');
  Object.assign(called, ownAssert);
  const strict = counted(assert.strict, 'assert');
  for (const name of Object.keys(assert.strict))
    if (typeof assert.strict[name] === 'function' && !/Error$|strict$|CallTracker/.test(name))
      strict[name] = counted(assert.strict[name], name);
  called.strict = strict; strict.strict = strict;
  return { called, strict };
}
if (/\bassert\b(?!\s*\()/.test((program + tests).replace(/console\s*\.\s*assert/g, ''))) asserts = loadAssert();
if (/js-md5/.test(program + tests)) createHash = require('crypto').createHash;
class AssertionError extends Error { }
define(AssertionError.prototype, 'name', { value: 'AssertionError' });
const ownConsole = Object.assign(Object.create(console), {
  assert(condition, ...words) {
    if (!condition) throw new AssertionError('console.assert: ' + format(...words));
    checks += 1;
  },
});
// lodash's isEqual: values of one kind with equal parts; NaN is NaN, 0 is -0, the order of sets and keys does not count.
const tagOf = Function.prototype.call.bind(Object.prototype.toString), same = (a, b) => a === b || (a !== a && b !== b);
const { isArray } = Array, { keys: ownKeys, getPrototypeOf } = Object, { isView } = ArrayBuffer;
function isEqual(a, b, seen = []) {
  if (same(a, b)) return true;
  if (a === null || b === null || typeof a !== 'object' || typeof b !== 'object') return false;
  const tag = tagOf(a);
  if (tag !== tagOf(b) || isArray(a) !== isArray(b) || getPrototypeOf(a) !== getPrototypeOf(b)) return false;
  for (let i = 0; i < seen.length; i += 2) if (seen[i] === a) return seen[i + 1] === b;
  seen = [...seen, a, b];
  if (/Date|Number|Boolean/.test(tag)) return same(+a, +b);
  if (/RegExp|String/.test(tag)) return String(a) === String(b);
  if (/Error/.test(tag)) return a.name === b.name && a.message === b.message;
  if (/Map|Set/.test(tag)) {
    const left = [...b];
    return a.size === b.size && [...a].every((part) => {
      const at = left.findIndex((other) => isEqual(part, other, seen));
      return at >= 0 && left.splice(at, 1).length === 1;
    });
  }
  if ((isArray(a) || isView(a)) && a.length !== b.length) return false;
  const names = ownKeys(a);
  return names.length === ownKeys(b).length
    && names.every((name) => Object.hasOwn(b, name) && isEqual(a[name], b[name], seen));
}
const lodash = new Proxy({ isEqual: counted((a, b) => isEqual(a, b), 'isEqual') }, {
  get(known, name) {
    if (name in known || typeof name === 'symbol') return known[name];
    throw new Error(`lodash is not installed here, only its isEqual is known: _.${name}`);
  },
});
const plainRequire = createRequire(process.cwd() + '/program.js');
function ownRequire(name) {
  const bare = String(name).replace(/^node:/, '');
  if (bare === 'js-md5') return (text) => (createHash || require('crypto').createHash)('md5').update(text).digest('hex');
  if (bare === 'lodash') return lodash;
  if (bare !== 'assert' && bare !== 'assert/strict') return plainRequire(name);
  asserts = asserts || loadAssert();
  return bare === 'assert' ? asserts.called : asserts.strict;
}
const kept = [];
for (const holder of [JSON, Math, Object, Array, String, Number, Boolean, Set, Map, RegExp, Symbol, Date, Reflect,
  Array.prototype, String.prototype, Number.prototype, Boolean.prototype, Object.prototype, Set.prototype,
  Map.prototype, Function.prototype, RegExp.prototype, Date.prototype, Symbol.prototype])
  kept.push([holder, Object.getOwnPropertyDescriptors(holder)]);
const keys = Reflect.ownKeys, descriptorOf = Object.getOwnPropertyDescriptor;
function putBack() {
  for (let i = 0; i < kept.length; i += 1) {
    const holder = kept[i][0], descriptors = kept[i][1], names = keys(descriptors);
    for (let j = 0; j < names.length; j += 1) {
      const key = names[j], now = descriptorOf(holder, key), was = descriptors[key];
      if (now === undefined || now.value !== was.value || now.get !== was.get) define(holder, key, was);
    }
  }
}
const standard = { __proto__: null, JSON, Math, Object, Array, String, Number, Boolean, Set, Map, Date, RegExp, Symbol,
  BigInt, Error, isNaN, parseInt, parseFloat, console: ownConsole, require: ownRequire };
const module_ = { exports: {} };
for (const [name, value] of Object.entries({ require: ownRequire, module: module_, exports: module_.exports,
  __filename: process.cwd() + '/program.js', __dirname: process.cwd() }))
  define(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
define(globalThis, 'CODEUP_NAME', { value: Object.freeze(standard), enumerable: false });
function compiled(text, filename) {
  try { return new vm.Script(text, { filename }); }
  catch (error) { write(2, String(error && error.stack).split('\n').slice(0, 5).join('\n') + '\n'); exit(98); }
}
const Script = vm.Script, run = Script.prototype.runInThisContext, apply = Reflect.apply;
//@TRANSLATE@
tests = '{ const { @SHIELD@ } = CODEUP_NAME;\n' + tests + '\n}';
try {
  apply(run, compiled(program, 'program.js'), []);
  const second = compiled(tests, 'tests.js');
  putBack();
  apply(run, second, []);
} catch (error) {
  let words = 'something that is not an error was thrown';
  try { words = String(error && error.stack || error); } catch { }
  fail(words);
}
write(1, '\n' + secret + ' ' + checks + '\n');
