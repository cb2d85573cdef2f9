#!/usr/bin/env node
// node compile.js GRAMMAR FOLDER TARGET...
//
// Compiles GRAMMAR to each TARGET language into FOLDER/<target>. `all` stands for every language the compiler has.
// The compiler and js-yaml come from node_modules beside this file, at the versions of the lock.
'use strict';
const fs = require('fs');
const path = require('path');
const yaml = require('js-yaml');
const compiler = require('kaitai-struct-compiler');

async function main(grammar, folder, ...targets) {
  const spec = yaml.load(fs.readFileSync(grammar, 'utf8'), { schema: yaml.CORE_SCHEMA });
  const known = compiler.languages;
  const unknown = targets.filter((target) => target !== 'all' && !known.includes(target));
  if (unknown.length) throw new Error(`no such target: ${unknown.join(', ')}; there are ${known.join(', ')}, all`);
  for (const target of targets.includes('all') ? known : targets) {
    const files = await compiler.compile(target, spec, null, false);
    for (const [name, text] of Object.entries(files)) {
      const file = path.join(folder, target, name); // Go's and Java's names start with a slash: join keeps them inside
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.writeFileSync(file, text.endsWith('\n') ? text : text + '\n');
    }
  }
}

const args = process.argv.slice(2);
if (args.length < 3) {
  console.error('usage: node compile.js GRAMMAR FOLDER TARGET...');
  process.exit(64);
}
main(...args).catch((error) => {
  const cause = error.jl_Throwable__f_e || error; // the compiler's own errors arrive boxed
  console.error(String(cause.message || cause));
  process.exit(1);
});
