#!/usr/bin/env node
// node fields.js GRAMMAR: the fields that the dump programs print, one a line: `type name kind`, in the grammar's order.
//
// A kind is param, seq, instance, or `switch TYPE,TYPE...` for an instance that is one of these types; the name of an
// enum stands there with the kind `enum`. The grammar's own types come by their id, the file itself first.
'use strict';
const fs = require('fs');
const yaml = require('js-yaml');

const spec = yaml.load(fs.readFileSync(process.argv[2], 'utf8'), { schema: yaml.CORE_SCHEMA });
const line = (...words) => console.log(words.join(' '));

for (const [type, { params = [], seq = [], instances = {} }] of Object.entries({ [spec.meta.id]: spec, ...spec.types })) {
  for (const { id } of params) line(type, id, 'param');
  for (const { id } of seq) line(type, id, 'seq');
  for (const [id, { type: of }] of Object.entries(instances)) {
    if (type === 'disk_layout' && id === 'table') continue; // the largest of all, and there as block_allocation_table
    const cases = of && of.cases;
    line(type, id, ...(cases ? ['switch', [...new Set(Object.values(cases))]] : ['instance']));
  }
}
for (const name of Object.keys(spec.enums)) line(name, '-', 'enum');
