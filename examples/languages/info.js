#!/usr/bin/env node
// What a VHDX image is, by its grammar alone: NODE_PATH=ksc/node_modules node examples/languages/info.js IMAGE
//
// Needs `make languages` and the runtime, `npm install kaitai-struct` (ksc/node_modules has it). Checksums are not
// verified and a log is not replayed: for that there is the library.
'use strict';
const fs = require('fs');
const KaitaiStream = require('kaitai-struct/KaitaiStream');
const { Vhdx } = require('../../generated/javascript/Vhdx.js');

function main(path) {
  const { buffer } = new Uint8Array(fs.readFileSync(path));
  const image = new Vhdx(new KaitaiStream(buffer));
  console.log(`creator: ${image.identifier.creator}`);
  console.log(`current header: ${image.currentHeaderNumber}, log to replay: ${image.currentHeader.hasLog}`);
  const { metadata } = image;
  const parameters = metadata.fileParameters;
  const kind = parameters.hasParent ? 'differencing' : parameters.leaveBlockAllocated ? 'fixed' : 'dynamic';
  console.log(`disk: ${kind}, ${metadata.virtualDiskSize.virtualDiskSize} bytes, blocks of ${parameters.lenBlock}`);
  if (parameters.hasParent) {
    for (const entry of metadata.parentLocator.entries) console.log(`parent: ${entry.key} = ${entry.value}`);
  }
  for (const [state, count] of [...countStates(image.blockAllocationTable)].sort()) {
    console.log(`blocks: ${count} ${state}`);
  }
}

// How many payload blocks are in which state, by name, or by number where it has none.
function countStates(bat) {
  const counts = new Map();
  for (const chunk of bat.chunks) {
    for (const { entry } of chunk.payloadBlocks) {
      const state = Vhdx.PayloadState[entry.state] || String(entry.state);
      counts.set(state, (counts.get(state) || 0) + 1);
    }
  }
  return counts;
}

main(process.argv[2]);
