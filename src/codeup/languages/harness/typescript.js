const ts = globalThis.ts || require('@TYPESCRIPT@');
delete globalThis.ts;
function translated(text, fileName) {
  const compilerOptions = { target: ts.ScriptTarget.@TARGET@, module: ts.ModuleKind.CommonJS, removeComments: false };
  const done = ts.transpileModule(text, { fileName, reportDiagnostics: true, compilerOptions });
  if (done.diagnostics.length) {
    const first = done.diagnostics[0];
    const line = text.slice(0, first.start).split('\n').length;
    write(2, fileName + ' line ' + line + ': error: ' + ts.flattenDiagnosticMessageText(first.messageText, ' ') + '\n');
    exit(98);
  }
  return done.outputText;
}
program = translated(program, 'program.ts');
tests = translated(tests, 'tests.ts');
