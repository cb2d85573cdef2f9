// The tree: a node is made when its parent is opened, as in the Web IDE. Which bytes it stands for is shown beside.
'use strict';

const GROUP = 100; // arrays of more than 1000 items are shown in groups of 100, or 10000, or ...
const inputs = ['grammar', 'image'].map((id) => document.getElementById(id));
let buffer, nodes, compiled;
for (const input of inputs) input.addEventListener('change', load);

async function load() {
  const [grammar, image] = inputs.map((input) => input.files[0]);
  if (!grammar || !image) return;
  say('loading');
  try {
    if (!compiled || compiled.grammar !== grammar) compiled = { grammar, ...(await compile(await grammar.text())) };
    nodes = new Nodes(compiled.spec, compiled.module);
    buffer = await image.arrayBuffer();
    const Root = compiled.module[pascal(compiled.spec.meta.id)];
    const root = new Root(new KaitaiStream(buffer, 0));
    root._read();
    const top = nodes.make(image.name, root, { start: 0, end: buffer.byteLength, ioOffset: 0 }, [], null);
    document.getElementById('tree').replaceChildren(list(children(top)));
    document.getElementById('bytes').textContent = '';
    say('ready');
  } catch (error) {
    say(String(error.message || error));
  }
}

async function compile(text) {
  const spec = jsyaml.load(text, { schema: jsyaml.CORE_SCHEMA });
  const files = await KaitaiStructCompiler.compile('javascript', spec, null, true);
  const module = {};
  for (const code of Object.values(files)) new Function('exports', 'require', code)(module, () => KaitaiStream);
  return { spec, module };
}

function say(text) {
  document.getElementById('status').textContent = text;
}

function children(node) {
  if (node.kind === 'array') return grouped(node, 0, node.items.length);
  return [...node.fields.values()];
}

function grouped(node, from, to) {
  if (to - from <= 1000) return node.items.slice(from, to);
  let size = GROUP;
  while ((to - from) / size > GROUP) size *= GROUP;
  const groups = [];
  for (let at = from; at < to; at += size) {
    const end = Math.min(at + size, to);
    groups.push({ name: `[${at} … ${end - 1}]`, path: [...node.path, `${at}-${end - 1}`], kind: 'group', array: node, from: at, to: end });
  }
  return groups;
}

function list(shown) {
  const ul = document.createElement('ul');
  ul.append(...shown.map(item));
  return ul;
}

function item(node) {
  const li = document.createElement('li');
  li.dataset.path = node.path.join('/');
  li.append(document.createElement('span'));
  label(li, node);
  li.firstChild.addEventListener('click', () => toggle(li, node));
  return li;
}

function label(li, node) {
  const span = li.firstChild;
  const text = { object: `: ${representation(node)}`, value: ` = ${valueText(node)}`, bytes: ` = ${valueText(node)}`, none: ` = ${valueText(node)}` }[node.kind];
  const error = node.error ? ` ⚠ ${node.error}` : '';
  span.replaceChildren(part('name', node.name), part('class', node.class ? ` [${node.class}]` : ''));
  span.append(part('value', text && text !== ': ' ? text : ''), part('error', error));
  li.className = ['object', 'array', 'group', 'lazy'].includes(node.kind) ? 'closed' : '';
}

function part(name, text) {
  const span = document.createElement('span');
  span.className = name;
  span.textContent = text;
  return span;
}

function valueText(node) {
  const text = shortText(node);
  if (node.kind !== 'value' || !Number.isInteger(node.value)) return text;
  return node.enumName ? `${text} (0x${node.value.toString(16).toUpperCase()} = ${node.value})` : `${text} = ${node.value}`;
}

function toggle(li, node) {
  if (node.kind === 'lazy') {
    Object.assign(node, nodes.instance(node.parent, node.name));
    label(li, node);
  }
  if (li.classList.contains('open')) {
    li.lastChild.remove();
    li.className = 'closed';
  } else if (li.classList.contains('closed')) {
    li.append(list(node.kind === 'group' ? grouped(node.array, node.from, node.to) : children(node)));
    li.className = 'open';
  }
  for (const old of document.querySelectorAll('.selected')) old.classList.remove('selected');
  li.classList.add('selected');
  document.getElementById('bytes').textContent = bytes(node);
}

function bytes(node) {
  if (node.start === undefined || node.start === node.end) return 'calculated: no bytes of its own';
  const lines = [`${node.end - node.start} bytes at 0x${node.start.toString(16)}`, ''];
  const shown = new Uint8Array(buffer, node.start, Math.min(node.end - node.start, 512));
  for (let at = 0; at < shown.length; at += 16) {
    const row = [...shown.slice(at, at + 16)];
    const hex = row.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const text = row.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '.')).join('');
    lines.push(`${(node.start + at).toString(16).padStart(10, '0')}  ${hex.padEnd(47)}  ${text}`);
  }
  return lines.join('\n');
}
