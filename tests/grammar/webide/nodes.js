// What the Web IDE's worker does: makes tree nodes of parsed objects, evaluating no more than the IDE would.
//
// A node is {name, path, kind, start, end, error, ...} with kind one of object (class, type, fields), array (items),
// bytes (value), value (value, enumName), none (an `if` that does not hold) and lazy (owner: nothing read yet).
'use strict';

const pascal = (id) => id.split('_').map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('');
const camel = (id) => pascal(id).replace(/^./, (first) => first.toLowerCase());

class Nodes {
  // `spec` is the grammar as data, `module` what the compiler made of it in debug mode.
  constructor(spec, module) {
    this.module = module;
    this.count = 0; // nodes made, lazy ones not counted: what the IDE would send from its worker
    this.types = new Map();
    this.addType(spec.meta.id, spec);
  }

  addType(id, type) {
    const instances = Object.entries(type.instances || {}).map(([name, instance]) => [camel(name), instance]);
    this.types.set(pascal(id), { representation: type['-webide-representation'], instances: new Map(instances) });
    for (const [name, inner] of Object.entries(type.types || {})) this.addType(name, inner);
  }

  make(name, value, debug, path, parent) {
    this.count++;
    const node = { name, path, parent };
    if (debug && debug.start !== undefined && debug.end !== undefined) {
      node.start = debug.ioOffset + debug.start;
      node.end = debug.ioOffset + debug.end;
    }
    if (value === undefined) return { ...node, kind: 'none' };
    if (value instanceof Uint8Array) return { ...node, kind: 'bytes', value };
    if (Array.isArray(value)) return this.fillArray({ ...node, kind: 'array', object: value }, debug);
    if (value !== null && typeof value === 'object') return this.fillObject({ ...node, kind: 'object', object: value });
    return { ...node, kind: 'value', value, enumName: debug && debug.enumName && this.enumName(debug.enumName, value) };
  }

  fillArray(node, debug) {
    const places = (debug && debug.arr) || [];
    node.items = node.object.map((item, i) => this.make(String(i), item, places[i], [...node.path, i], node.parent));
    return node;
  }

  fillObject(node) {
    const { object } = node;
    node.class = object.constructor.name;
    node.type = this.types.get(node.class);
    node.fields = new Map();
    for (const name of new Set([...Object.keys(object), ...Object.keys(object._debug || {})])) {
      if (!name.startsWith('_')) node.fields.set(name, this.make(name, object[name], object._debug[name], [...node.path, name], node));
    }
    const lazy = [];
    for (const name of Object.getOwnPropertyNames(object.constructor.prototype)) {
      if (name.startsWith('_') || name === 'constructor') continue;
      if (this.isEager(node, name)) node.fields.set(name, this.instance(node, name));
      else lazy.push(name);
    }
    for (const name of lazy) node.fields.set(name, { name, path: [...node.path, name], parent: node, kind: 'lazy' });
    return node;
  }

  // A value instance is evaluated at once, one with a position when it is opened, unless the grammar says otherwise;
  // one that something else has already asked for is shown at once.
  isEager(node, name) {
    const instance = (node.type && node.type.instances.get(name)) || {};
    const mode = instance['-webide-parse-mode'];
    return mode === 'eager' || (mode !== 'lazy' && 'value' in instance) || Object.hasOwn(node.object, `_m_${name}`);
  }

  // An instance that fails is a node with an error; everything beside it stays.
  instance(owner, name) {
    let value, error;
    try {
      value = owner.object[name];
    } catch (problem) {
      error = problem;
      value = owner.object[`_m_${name}`]; // as far as it came
    }
    const node = this.make(name, value, owner.object._debug[`_m_${name}`], [...owner.path, name], owner);
    return error === undefined ? node : { ...node, error: error.message };
  }

  enumName(path, value) {
    const [module, ...rest] = path.split('.');
    return rest.reduce((scope, part) => scope[part], this.module[module])[value];
  }
}

// The text that the IDE shows for an object: `-webide-representation` with its fields filled in.
function representation(node) {
  const pattern = node.type && node.type.representation;
  return pattern ? pattern.replace(/{(.*?)}/g, (_, field) => represented(node, field)) : '';
}

function represented(node, field) {
  const [path, options = ''] = field.split(':');
  const option = new Map(options.split(',').map((text) => text.split('=')));
  for (const id of path.split('.')) {
    if (id === '_parent') node = node && node.parent;
    else if (id !== 'this') node = node && node.fields && node.fields.get(camel(id));
  }
  if (!node || node.kind === 'lazy') return '';
  if (node.kind === 'object') return representation(node);
  if (node.kind === 'array') return node.items.map(representation).join(option.get('sep') || ', ');
  if (node.kind === 'bytes' && option.get('uuid') === 'ms') return microsoftGuid(node.value);
  if (node.kind === 'value' && option.has('dec')) return String(node.value);
  return shortText(node);
}

function shortText(node) {
  if (node.kind === 'none') return '<no value>';
  if (node.kind === 'bytes') return `[${[...node.value.slice(0, 8)].join(', ')}${node.value.length > 8 ? ', ...' : ''}]`;
  if (node.enumName) return node.enumName;
  return Number.isInteger(node.value) ? `0x${node.value.toString(16).toUpperCase()}` : String(node.value);
}

function microsoftGuid(raw) {
  const hex = (from, to) => [...raw.slice(from, to)].map((byte) => byte.toString(16).padStart(2, '0'));
  const little = (from, to) => hex(from, to).reverse().join('');
  return [little(0, 4), little(4, 6), little(6, 8), hex(8, 10).join(''), hex(10, 16).join('')].join('-');
}
