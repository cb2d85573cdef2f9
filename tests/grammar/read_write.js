#!/usr/bin/env node
// node read_write.js GRAMMAR FOLDER TARGET...: compile in read-write mode, as the gallery's build does with every file.
//
// The npm compiler has no option for it. Its settings are made in one place: there they are changed while it is loaded.
'use strict';
const fs = require('fs');
const path = require('path');
const Module = require('module');
const yaml = require('js-yaml');

const READ_ONLY = 'RuntimeConfig((!debug), debug, false, true, false,'; // reads at once, ..., no copies, does not write
const READ_WRITE = 'RuntimeConfig(false, debug, false, false, true,';

function load() {
  const file = require.resolve('kaitai-struct-compiler');
  const parts = fs.readFileSync(file, 'utf8').split(READ_ONLY);
  if (parts.length !== 2) throw new Error('the compiler makes its settings in another way now');
  const compiler = new Module(file);
  compiler.paths = module.paths;
  compiler._compile(parts.join(READ_WRITE), file);
  return compiler.exports;
}

async function main(grammar, folder, ...targets) {
  const spec = yaml.load(fs.readFileSync(grammar, 'utf8'), { schema: yaml.CORE_SCHEMA });
  for (const target of targets) {
    const files = await load().compile(target, spec, null, false);
    for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(folder, path.basename(name)), text);
  }
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(String((error.jl_Throwable__f_e || error).message || error));
  process.exit(1);
});
