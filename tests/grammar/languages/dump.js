#!/usr/bin/env node
// node dump.js GRAMMAR.json IMAGE: what dump.py does, with the JavaScript parser. The format is described there.
// Numbers above 2^53 are rounded, as JavaScript has them.
'use strict';
const fs = require('fs');
const path = require('path');
const KaitaiStream = require('kaitai-struct/KaitaiStream');
const { Vhdx } = require(path.join(__dirname, '..', '..', '..', 'generated', 'javascript', 'Vhdx.js'));

const pascal = (name) => name.split('_').map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('');
const camel = (name) => pascal(name).replace(/^./, (first) => first.toLowerCase());

function fieldsByClass(spec) {
  const types = { [spec.meta.id]: spec, ...spec.types };
  return Object.fromEntries(Object.entries(types).map(([name, type]) => [
    pascal(name),
    [...[...(type.params || []), ...(type.seq || [])].map((field) => field.id), ...Object.keys(type.instances || {})],
  ]));
}

function* dump(value, where, fields) {
  if (Array.isArray(value)) {
    yield `${where} = ${value.length} items`;
    for (let i = 0; i < value.length; i++) {
      if (value.length > 5000 && i === 4) i = value.length - 4;
      yield* dump(value[i], `${where}[${i}]`, fields);
    }
  } else if (typeof value === 'object' && !(value instanceof Uint8Array)) {
    for (const name of fields[value.constructor.name]) {
      let child;
      try {
        child = value[camel(name)];
      } catch (error) {
        yield `${where}/${name} error`;
        continue;
      }
      yield* dump(child, `${where}/${name}`, fields);
    }
  } else {
    yield value === undefined ? `${where} none` : `${where} = ${plain(value)}`;
  }
}

function plain(value) {
  if (typeof value === 'number') return BigInt(value).toString(); // String() would write large ones as 1e+21
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'boolean') return String(value);
  const text = value.length <= 64 ? Buffer.from(value).toString('hex') : adler32(value);
  return `${value.length} bytes ${text}`;
}

function adler32(bytes) {
  let a = 1, b = 0;
  for (let at = 0; at < bytes.length; ) {
    const end = Math.min(at + 3800, bytes.length); // so many that the sums stay exact
    for (; at < end; at++) b += a += bytes[at];
    a %= 65521;
    b %= 65521;
  }
  return b * 65536 + a;
}

const [grammar, image] = process.argv.slice(2);
const data = fs.readFileSync(image);
const stream = new KaitaiStream(data.buffer.slice(data.byteOffset, data.byteOffset + data.length));
const lines = [...dump(new Vhdx(stream), '', fieldsByClass(JSON.parse(fs.readFileSync(grammar, 'utf8'))))];
process.stdout.write(lines.join('\n') + '\n');
