// TypeScript texts as JavaScript, none of which is run. texts.json [text, ...] -> said.jsonl, a line each: JavaScript or null
'use strict';
const fs = require('fs'), ts = require(process.argv[2]);
const compilerOptions = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.CommonJS };
const lines = JSON.parse(fs.readFileSync('texts.json', 'utf8')).map((text) => {
  try {
    const done = ts.transpileModule(text, { fileName: 'text.ts', reportDiagnostics: true, compilerOptions });
    return JSON.stringify(done.diagnostics.length ? null : done.outputText);
  } catch {
    return 'null';
  }
});
fs.writeFileSync('said.jsonl', lines.map((line) => line + '\n').join(''));
