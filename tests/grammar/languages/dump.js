#!/usr/bin/env node
// node dump.js FIELDS IMAGE: what dump.py does, with the JavaScript parser. The format is described there.
// Numbers above 2^53 are rounded, as JavaScript has them.
'use strict';
const fs = require('fs');
const path = require('path');
const KaitaiStream = require('kaitai-struct/KaitaiStream');
const { Vhdx } = require(path.join(__dirname, '..', '..', '..', 'generated', 'javascript', 'Vhdx.js'));

const [fieldsFile, image] = process.argv.slice(2);
const pascal = (name) => name.split('_').map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('');
const camel = (name) => pascal(name).replace(/^./, (first) => first.toLowerCase());

const fields = {};
for (const line of fs.readFileSync(fieldsFile, 'ascii').trim().split('\n')) {
  const [type, name] = line.split(' ');
  (fields[pascal(type)] ||= []).push(name);
}
const bytes = fs.readFileSync(image);
const data = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
const failed = new Set();

class FailedError extends Error {}

function linesOf(name) {
  for (;;) {
    try {
      const lines = [];
      field(new Vhdx(new KaitaiStream(data)), name, '', lines);
      return lines;
    } catch (error) {
      if (!(error instanceof FailedError)) throw error;
      failed.add(error.message);
    }
  }
}

function field(owner, name, where, lines) {
  where = `${where}/${name}`;
  if (failed.has(where)) {
    lines.push(`${where} error`);
    return;
  }
  let value;
  try {
    value = owner[camel(name)];
  } catch (error) {
    throw new FailedError(where);
  }
  dump(value, where, lines);
}

function dump(value, where, lines) {
  if (Array.isArray(value)) {
    lines.push(`${where} = ${value.length} items`);
    for (let i = 0; i < value.length; i++) {
      if (value.length > 5000 && i === 4) i = value.length - 4;
      dump(value[i], `${where}[${i}]`, lines);
    }
  } else if (typeof value === 'object' && !(value instanceof Uint8Array)) {
    for (const name of fields[value.constructor.name]) field(value, name, where, lines);
  } else {
    lines.push(value === undefined ? `${where} none` : `${where} = ${plain(value)}`);
  }
}

function plain(value) {
  if (typeof value === 'number') return BigInt(value).toString(); // String() would write large ones as 1e+21
  if (typeof value === 'boolean') return String(value);
  if (typeof value === 'string') return `"${[...value].map(character).join('')}"`;
  const text = value.length <= 64 ? Buffer.from(value).toString('hex') : adler32(value);
  return `${value.length} bytes ${text}`;
}

function character(text) {
  return text >= ' ' && text <= '~' && text !== '"' && text !== '\\' ? text : `\\u{${text.codePointAt(0).toString(16)}}`;
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

for (const name of fields.Vhdx) process.stdout.write(linesOf(name).map((line) => `${line}\n`).join(''));
