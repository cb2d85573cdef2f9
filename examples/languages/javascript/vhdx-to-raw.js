#!/usr/bin/env node
// Copies the virtual disk of a fixed or dynamic VHDX image to standard output: vhdx-to-raw.js IMAGE > DISK
//
// The parser is generated from vhdx.ksy. Here is what a grammar cannot say: checksums, which copy counts, and what
// refuses an image. What is written is right, or the exit code is 1. Section numbers are those of [MS-VHDX].
'use strict';
const fs = require('fs');
const { Readable } = require('stream');
const { pipeline } = require('stream/promises');
const { Crc32c } = require('@aws-crypto/crc32c');
const KaitaiStream = require('kaitai-struct/KaitaiStream');
const { Vhdx } = require('./Vhdx.js');

const KB = 2 ** 10;
const MB = 2 ** 20;
const TB = 2 ** 40;
const ZEROS = Buffer.alloc(MB);
const ITEM_SIZES = new Map([ // of the known metadata items, by the grammar's names
  ['file parameters', 8],
  ['virtual disk size', 8],
  ['virtual disk ID', 16],
  ['logical sector size', 4],
  ['physical sector size', 4],
  ['parent locator', 20],
]);

function ensure(holds, why) {
  if (!holds) throw new Error(why);
}

// Stretches of the file by name, from `low` to `high`, which do not overlap.
class Places {
  constructor(low, high) {
    Object.assign(this, { low, high, taken: new Map() });
  }

  check(name, start, length) {
    const fits = this.low <= start && start + length <= this.high;
    ensure(fits, `${name}, ${length} bytes at ${start}, is not between ${this.low} and ${this.high}`);
    for (const [other, there] of this.taken) {
      ensure(start >= there.end || there.start >= start + length, `${name} at ${start} overlaps ${other}`);
    }
    return { start, end: start + length };
  }

  add(name, start, length) {
    ensure(!this.taken.has(name), `${name} is listed twice`);
    this.taken.set(name, this.check(name, start, length));
  }

  get(name) {
    ensure(this.taken.has(name), `there is no ${name}`);
    return this.taken.get(name);
  }
}

class Image {
  constructor(fd) {
    Object.assign(this, { fd, size: fs.fstatSync(fd).size });
  }

  // Exactly these bytes, in a buffer of their own; callers bound the length.
  read(offset, length) {
    ensure(offset + length <= this.size, `${length} bytes wanted at ${offset}, the file ends at ${this.size}`);
    const data = Buffer.alloc(length);
    for (let done = 0; done < length; ) {
      const count = fs.readSync(this.fd, data, done, length - done, offset + done);
      ensure(count > 0, 'the file became shorter');
      done += count;
    }
    return data;
  }

  // Of the valid headers the one with the greater sequence number [2.2.2], which no number of this language can hold.
  currentHeader() {
    const copies = [64 * KB, 128 * KB].map((offset) => this.read(offset, 4 * KB));
    const valid = copies.filter((data) => isValid(data, 'head')).map((data) => new Vhdx.Header(stream(data)));
    ensure(valid.length > 0, 'no header has the right signature and checksum');
    const [current, other] = valid.sort((a, b) => b.sequenceHigh - a.sequenceHigh || b.sequenceLow - a.sequenceLow);
    const isUnique = !other || current.sequenceHigh !== other.sequenceHigh || current.sequenceLow !== other.sequenceLow;
    ensure(isUnique || copies[0].equals(copies[1]), 'two headers have the same sequence number');
    ensure(current.version === 1, `version ${current.version} is not known`);
    const isClean = current.logGuid.raw.every((byte) => byte === 0);
    ensure(isClean, 'the log must be replayed first, which this program cannot do');
    return current;
  }

  // Where BAT and metadata are, by the first valid region table [2.2.3].
  regions() {
    const copies = [192 * KB, 256 * KB].map((offset) => this.read(offset, 64 * KB));
    const valid = copies.find((data) => isValid(data, 'regi'));
    ensure(valid, 'no region table has the right signature and checksum');
    const table = new Vhdx.RegionTable(stream(valid));
    ensure(table.numEntries <= 2047, `${table.numEntries} regions are more than fit in a table`);
    const regions = new Places(MB, this.size);
    for (const { kind, ofsRegion, lenRegion, isRequired } of table.entries) {
      if (kind !== 'unknown') {
        const isAligned = ofsRegion % MB === 0 && lenRegion % MB === 0 && lenRegion > 0;
        ensure(isAligned, 'the place of a region is not aligned');
        regions.add(kind, ofsRegion, lenRegion);
      } else {
        ensure(!isRequired, 'a required region is not known');
      }
    }
    return regions;
  }

  // Where the known metadata items are [2.6.1].
  items(region) {
    const table = new Vhdx.MetadataTable(stream(this.read(region.start, 64 * KB)));
    const isThere = Buffer.from(table.magic).equals(Buffer.from('metadata')) && table.numEntries <= 2047;
    ensure(isThere, 'there is no metadata table');
    const items = new Places(region.start + 64 * KB, region.end);
    for (const { kind, ofsItem, lenItem, isRequired } of table.entries) {
      if (ITEM_SIZES.has(kind)) {
        ensure(ITEM_SIZES.get(kind) <= lenItem && lenItem <= MB, `${kind} has ${lenItem} bytes`);
        items.add(kind, region.start + ofsItem, lenItem);
      } else {
        ensure(!isRequired, 'a required metadata item is not known');
      }
    }
    return items;
  }

  // That of this disk, whose arithmetic is in the grammar [2.5].
  blockAllocationTable(regions) {
    const items = this.items(regions.get('metadata'));
    const item = (Type, kind) => new Type(stream(this.read(items.get(kind).start, ITEM_SIZES.get(kind))));
    const { lenBlock, hasParent } = item(Vhdx.FileParametersItem, 'file parameters');
    const { virtualDiskSize: size } = item(Vhdx.VirtualDiskSizeItem, 'virtual disk size');
    const { logicalSectorSize: sector } = item(Vhdx.LogicalSectorSizeItem, 'logical sector size');
    ensure(!hasParent, 'a differencing disk needs its parent, which this program does not read');
    const isBlock = MB <= lenBlock && lenBlock <= 256 * MB && Number.isInteger(Math.log2(lenBlock));
    ensure(isBlock, `blocks of ${lenBlock} bytes cannot be`);
    ensure(sector === 512 || sector === 4096, `sectors of ${sector} bytes cannot be`);
    ensure(size <= 64 * TB && size % sector === 0, `a disk of ${size} bytes cannot be`);
    return new Vhdx.Bat(stream(Buffer.alloc(0)), null, null, regions.get('BAT').start, size, lenBlock, sector, false);
  }

  // The whole disk, in pieces of at most 1 MB.
  *disk() {
    ensure(this.read(0, 8).equals(Buffer.from('vhdxfile')), 'not a VHDX image');
    const { ofsLog, lenLog } = this.currentHeader();
    const regions = this.regions();
    const bat = this.blockAllocationTable(regions);
    const batEnd = regions.get('BAT').end;
    if (ofsLog % MB === 0 && lenLog % MB === 0 && ofsLog >= MB && ofsLog + lenLog <= this.size) {
      regions.taken.set('log', { start: ofsLog, end: ofsLog + lenLog }); // elsewhere it is in nobody's way
    }
    for (const chunk of bat.chunks.slice(-1)) {
      const fits = chunk.ofsChunk + 8 * chunk.numPayloadBlocks <= batEnd;
      ensure(fits, 'the BAT region is too small for the disk');
    }
    let left = bat.lenDisk;
    for (const chunk of bat.chunks) {
      const entries = stream(this.read(chunk.ofsChunk, 8 * chunk.numPayloadBlocks));
      for (let n = 0; n < chunk.numPayloadBlocks; n++) {
        const used = Math.min(left, bat.lenBlock);
        yield* this.block(`block ${chunk.firstBlock + n}`, new Vhdx.BatPayloadEntry(entries), used, regions);
        left -= used;
      }
    }
  }

  // The first `used` bytes of a block: those of the file, or zeros.
  *block(name, entry, used, regions) {
    const { NOT_PRESENT, UNDEFINED, ZERO, UNMAPPED, FULLY_PRESENT } = Vhdx.PayloadState;
    if (entry.state === FULLY_PRESENT) {
      const { start, end } = regions.check(name, entry.ofsBlock, used);
      for (let at = start; at < end; at += MB) yield this.read(at, Math.min(MB, end - at));
    } else {
      const isAbsent = [NOT_PRESENT, UNDEFINED, ZERO, UNMAPPED].includes(entry.state);
      ensure(isAbsent, `${name} is in state ${entry.state}, which no disk without parent has`);
      for (let at = 0; at < used; at += MB) yield ZEROS.subarray(0, Math.min(MB, used - at));
    }
  }
}

function stream(data) {
  return new KaitaiStream(data.buffer);
}

// Whether a structure has this signature and, its checksum at offset 4 as zero, the CRC-32C it says.
function isValid(data, signature) {
  const crc = new Crc32c().update(data.subarray(0, 4)).update(ZEROS.subarray(0, 4)).update(data.subarray(8));
  return data.toString('latin1', 0, 4) === signature && crc.digest() === data.readUInt32LE(4);
}

async function main(args) {
  if (args.length !== 1) {
    console.error('usage: vhdx-to-raw.js IMAGE > DISK');
    return 64;
  }
  try {
    const image = new Image(fs.openSync(args[0]));
    await pipeline(Readable.from(image.disk()), process.stdout);
    return 0;
  } catch (error) {
    console.error(`vhdx-to-raw.js: ${args[0]}: ${error.message}`);
    return 1;
  }
}

main(process.argv.slice(2)).then((code) => (process.exitCode = code));
