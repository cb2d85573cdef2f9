meta:
  id: vhdx
  title: Microsoft Virtual Hard Disk version 2 (VHDX)
  application:
    - Hyper-V
    - Windows
    - QEMU
    - VirtualBox
  file-extension:
    - vhdx
    - avhdx
  tags:
    - filesystem
    - windows
  license: CC0-1.0
  ks-version: 0.11
  encoding: UTF-16LE
  endian: le
  bit-endian: le
doc: |
  VHDX is the virtual disk format of Hyper-V and Windows 8 and later. One file
  holds the contents of a disk in blocks of 1 to 256 MiB, which may be missing
  (a dynamic disk), all there (a fixed disk) or left to a parent image (a
  differencing disk, by convention called `.avhdx` when it is a checkpoint).

  The first MiB has fixed places:

  | offset           | what                               |
  | ---------------- | ---------------------------------- |
  | 0                | file type identifier               |
  | 64 KiB, 128 KiB  | headers 1 and 2, 4 KiB each        |
  | 192 KiB, 256 KiB | region tables 1 and 2, 64 KiB each |
  | 320 KiB          | reserved                           |

  Everything behind it is aligned to 1 MiB and may come in any order: the log
  (found by the header), the metadata region and the block allocation table
  (both found by the region table), sector bitmap blocks and payload blocks
  (both found by the block allocation table).

  Only the file signature is read at once. Everything else is an instance, so
  that a damaged or cut off part fails alone, and nothing large is read before
  it is asked for. Types that decode one structure of the format need neither
  parent nor root nor parameters and work on its bytes alone. Fields have the
  names of the specification; `-orig-id` has those that are not the same.

  What cannot be said in this language is left to the program that uses it:

  * Checksums are not calculated. A header or region table with a wrong
    CRC-32C does not count. The choice made here goes by signature (and
    sequence number) only.
  * The log is shown as it lies in the file and is not applied. If the log
    GUID of the current header is not zero, the log has to be replayed before
    the region tables and what they lead to may be believed.
  * Parents are not opened.
  * Languages whose numbers are 64-bit floats (JavaScript) round numbers above
    2^53, and those without unsigned numbers (Java, PHP, Lua) show 2^63 and
    above as negative. The sequence numbers in the log of images written by
    Windows are such, so their halves are there, too; offsets and sizes of
    sound images are not concerned.
  * After an exception of some languages' parsers (C++, C#, Go, Rust) the same
    object may answer nonsense: start again with a new one.

  Images to try it on: QEMU can make one with
  `qemu-img create -f vhdx test.vhdx 1G`, Windows with `New-VHD`. The QEMU
  source tree has samples in `tests/qemu-iotests/sample_images`, and DiscUtils
  has some in its test data.
doc-ref: https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-vhdx/83e061f8-f6e2-4de1-91bd-5d518a43d477 [MS-VHDX] v20240423
seq:
  - id: identifier
    type: file_type_identifier
    doc: What the file is and what wrote it.
instances:
  header_1:
    pos: 0x10000
    size: 4096
    type: header
    -webide-parse-mode: eager
  header_2:
    pos: 0x20000
    size: 4096
    type: header
    -webide-parse-mode: eager
  region_table_1:
    pos: 0x30000
    size: 0x10000
    type: region_table
    -webide-parse-mode: eager
  region_table_2:
    pos: 0x40000
    size: 0x10000
    type: region_table
    -webide-parse-mode: eager
  current_header_number:
    value: |
      header_1.is_magic_ok and header_2.is_magic_ok
        ? (header_2.sequence_high.as<u4> > header_1.sequence_high.as<u4> or (
          header_2.sequence_high.as<u4> == header_1.sequence_high.as<u4> and
          header_2.sequence_low.as<u4> > header_1.sequence_low.as<u4>) ? 2 : 1)
        : (header_1.is_magic_ok ? 1 : (header_2.is_magic_ok ? 2 : 0))
    doc: |
      Which of the two headers is in force: the one with the greater sequence
      number, if both have the right signature; 0 if neither has. A header
      whose checksum is wrong does not count, which is not checked here.
    doc-ref: '[MS-VHDX] section 2.2.2'
  current_header:
    value: 'current_header_number == 2 ? header_2 : header_1'
    if: current_header_number != 0
    doc: The header in force, as `current_header_number` says.
  current_region_table_number:
    value: 'region_table_1.is_magic_ok ? 1 : (region_table_2.is_magic_ok ? 2 : 0)'
    doc: |
      Which of the two region tables is in force: the first with the right
      signature; 0 if neither has it. The checksum is not checked here, either.
    doc-ref: '[MS-VHDX] section 2.2.3'
  current_region_table:
    value: 'current_region_table_number == 2 ? region_table_2 : region_table_1'
    if: current_region_table_number != 0
    doc: The region table in force, as `current_region_table_number` says.
  log:
    pos: current_header.ofs_log.as<s8>
    size: current_header.len_log
    type: log_region
    if: |
      current_header_number != 0
        ? current_header.ofs_log.as<u8> >= 0x100000.as<u8> and current_header.ofs_log.as<u8> <= _io.size.as<u8>
        : false
    doc: |
      The log, whether there is anything to replay in it (`log_guid` of the
      current header is not zero) or not. None if it begins in the first MiB
      or outside the file.
    -webide-parse-mode: eager
  metadata:
    pos: current_region_table.search.metadata.last.ofs_region.as<s8>
    size: current_region_table.search.metadata.last.len_region
    type: metadata_region
    if: 'current_region_table_number != 0 ? current_region_table.search.has_metadata : false'
    -webide-parse-mode: eager
  layout:
    type: disk_layout
  block_allocation_table:
    value: layout.table
    if: layout.is_complete
    doc: Where each block of the disk is, if that can be known.
types:
  guid:
    -webide-representation: '{raw:uuid=ms}'
    doc: |
      A GUID as Microsoft stores it: the first three groups of its text form
      are little-endian numbers, the last two are bytes in the order printed.
      In Python, `uuid.UUID(bytes_le=raw)`.
    seq:
      - id: raw
        size: 16
        doc: The sixteen bytes as they are in the file.
  file_type_identifier:
    -webide-representation: '{creator}'
    doc: Says what the file is, and what wrote it.
    doc-ref: '[MS-VHDX] section 2.2.1'
    seq:
      - id: magic
        -orig-id: Signature
        contents: vhdxfile
        doc: Identifies a VHDX file.
    instances:
      creator:
        -orig-id: Creator
        pos: 8
        size: 'creator_units.last == 0 ? ((creator_units.size.as<u4> - 1.as<u4>).as<u4> * 2.as<u4>).as<u4> : 512.as<u4>'
        type: str
        doc: |
          Name and version of the writer, for people only. May be anything,
          also text that cannot be decoded: `raw_creator` has the bytes.
        -webide-parse-mode: eager
      creator_units:
        pos: 8
        type: u2
        repeat: until
        repeat-until: _ == 0 or _io.pos.as<s8> >= 520.as<s8>
        doc: The code units of `creator`, with the zero that ends it, if any.
      raw_creator:
        pos: 8
        size: 512
        doc: The bytes of `creator`, and of what stands behind it.
  header:
    -webide-representation: 'sequence number {sequence_number:dec}, log to replay: {has_log}, signature ok: {is_magic_ok}'
    doc: |
      The root of everything that changes. There are two, written in turn, so
      that one is whole at any time.
    doc-ref: '[MS-VHDX] section 2.2.2'
    seq:
      - id: magic
        -orig-id: Signature
        size: 4
        doc: The text `head`.
      - id: checksum
        type: u4
        doc: CRC-32C (Castagnoli) of the 4096 bytes, this field taken as zero.
      - id: sequence_number
        type: u8
        doc: Of two valid headers, the one with the greater number is current.
      - id: file_write_guid
        type: guid
        doc: New at the first write of any kind; tells if the file has changed.
      - id: data_write_guid
        type: guid
        doc: |
          Changed before the first write that the user of the disk can see;
          this is what a child image remembers of its parent.
      - id: log_guid
        type: guid
        doc: |
          All zero if there is no log to replay; otherwise only log entries
          that carry the same GUID count.
      - id: log_version
        type: u2
        doc: Version of the log format; 0.
      - id: version
        type: u2
        doc: Version of the VHDX format; 1.
      - id: len_log
        -orig-id: LogLength
        type: u4
        doc: Size of the log in bytes; a multiple of 1 MiB.
      - id: ofs_log
        -orig-id: LogOffset
        type: u8
        doc: Offset of the log in the file; a multiple of 1 MiB, but not 0.
    instances:
      sequence_low:
        pos: 8
        type: u4
        doc: The low half of `sequence_number`, exact in every language.
      sequence_high:
        pos: 12
        type: u4
        doc: The high half of `sequence_number`, exact in every language.
      reserved:
        -orig-id: Reserved
        pos: 80
        size: 4016
        doc: To be ignored, though the checksum covers it.
      is_magic_ok:
        value: magic == [0x68, 0x65, 0x61, 0x64]
        doc: True if the signature is right.
      has_log:
        value: not (log_guid.raw == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        doc: True if there is a log to replay.
  region_table:
    -webide-representation: 'signature ok: {is_magic_ok}; {entries:sep=; }'
    doc: Names the regions of the file, and says where each one is.
    doc-ref: '[MS-VHDX] section 2.2.3.1'
    seq:
      - id: magic
        -orig-id: Signature
        size: 4
        doc: The text `regi`.
      - id: checksum
        type: u4
        doc: CRC-32C (Castagnoli) of the 64 KiB, this field taken as zero.
      - id: num_entries
        -orig-id: EntryCount
        type: u4
        doc: Number of entries; at most 2047.
      - id: reserved
        type: u4
    instances:
      is_magic_ok:
        value: magic == [0x72, 0x65, 0x67, 0x69]
        doc: True if the signature is right.
      entries:
        pos: 16
        type: region_table_entry
        repeat: expr
        repeat-expr: num_entries
        if: num_entries.as<u4> <= 2047.as<u4>
        doc: The regions, in any order. More than the table holds are none.
        -webide-parse-mode: eager
      search:
        pos: 0
        type: region_search
  region_table_entry:
    -webide-representation: '{kind} at {ofs_region}'
    doc: One region of the file.
    doc-ref: '[MS-VHDX] section 2.2.3.2'
    seq:
      - id: guid
        type: guid
        doc: Says what the region is.
      - id: ofs_region
        -orig-id: FileOffset
        type: u8
        doc: Offset of the region in the file; a multiple of 1 MiB, but not 0.
      - id: len_region
        -orig-id: Length
        type: u4
        doc: Size of the region in bytes; a multiple of 1 MiB.
      - id: is_required
        -orig-id: Required
        type: b1
        doc: True if a reader has to know the region to open the image.
      - id: reserved
        type: b31
    instances:
      is_in_file:
        value: ofs_region.as<u8> >= 0x100000.as<u8> and ofs_region.as<u8> <= _root._io.size.as<u8>
        doc: True if the region begins inside the file, behind the first MiB.
      kind:
        value: |
          guid.raw == [0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08] ? "BAT" :
          (guid.raw == [0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e] ? "metadata" :
          "unknown")
        doc: |
          Name of the region: 2DC27766-F623-4200-9D64-115E9BFD4A08 is the block
          allocation table, 8B7CA206-4790-4B9A-B8FE-575F050F886E the metadata
          region.
  region_search:
    doc: |
      The region table once more, read for each known region up to the entry
      that names it, or else to the end. The last entry of each array is the
      one looked for, if the boolean of the same name is true.
    instances:
      ofs_end:
        value: '_parent.num_entries.as<u4> > 2047.as<u4> ? 65520.as<s8> : ((_parent.num_entries.as<s8> * 32.as<s8>).as<s8> + 16.as<s8>).as<s8>'
        doc: Where a search ends if nothing was found.
      bat:
        pos: 16
        type: region_table_entry
        repeat: until
        repeat-until: _.kind == "BAT" or _io.pos.as<s8> >= ofs_end
      has_bat:
        value: _parent.num_entries != 0 and bat.last.kind == "BAT" and bat.last.is_in_file
        doc: True if there is one, and it begins inside the file.
      metadata:
        pos: 16
        type: region_table_entry
        repeat: until
        repeat-until: _.kind == "metadata" or _io.pos.as<s8> >= ofs_end
      has_metadata:
        value: _parent.num_entries != 0 and metadata.last.kind == "metadata" and metadata.last.is_in_file
        doc: True if there is one, and it begins inside the file.
  metadata_region:
    -webide-representation: 'disk of {virtual_disk_size}, {file_parameters}'
    doc: |
      What kind of disk it is, how large, and where its parent is: a table of
      64 KiB, and behind it the items that the table names, at any place and in
      any order. All offsets count from the start of the region.
    doc-ref: '[MS-VHDX] section 2.6'
    instances:
      table:
        pos: 0
        size: 0x10000
        type: metadata_table
        -webide-parse-mode: eager
      file_parameters:
        pos: table.search.file_parameters.last.ofs_item
        size: table.search.file_parameters.last.len_item
        type: file_parameters_item
        if: table.search.file_parameters.last.kind == "file parameters"
        -webide-parse-mode: eager
      virtual_disk_size:
        pos: table.search.virtual_disk_size.last.ofs_item
        size: table.search.virtual_disk_size.last.len_item
        type: virtual_disk_size_item
        if: table.search.virtual_disk_size.last.kind == "virtual disk size"
        -webide-parse-mode: eager
      virtual_disk_id:
        pos: table.search.virtual_disk_id.last.ofs_item
        size: table.search.virtual_disk_id.last.len_item
        type: virtual_disk_id_item
        if: table.search.virtual_disk_id.last.kind == "virtual disk ID"
        -webide-parse-mode: eager
      logical_sector_size:
        pos: table.search.logical_sector_size.last.ofs_item
        size: table.search.logical_sector_size.last.len_item
        type: logical_sector_size_item
        if: table.search.logical_sector_size.last.kind == "logical sector size"
        -webide-parse-mode: eager
      physical_sector_size:
        pos: table.search.physical_sector_size.last.ofs_item
        size: table.search.physical_sector_size.last.len_item
        type: physical_sector_size_item
        if: table.search.physical_sector_size.last.kind == "physical sector size"
        -webide-parse-mode: eager
      parent_locator:
        pos: table.search.parent_locator.last.ofs_item
        size: table.search.parent_locator.last.len_item
        type: parent_locator_item
        if: table.search.parent_locator.last.kind == "parent locator"
        -webide-parse-mode: eager
      is_geometry_ok:
        value: |
          table.search.file_parameters.last.kind == "file parameters" and
          table.search.virtual_disk_size.last.kind == "virtual disk size" and
          table.search.logical_sector_size.last.kind == "logical sector size"
            ? file_parameters.is_len_block_ok and virtual_disk_size.is_size_ok and logical_sector_size.is_size_ok
            : false
        doc: True if sizes of disk, block and sector are within their limits.
  metadata_table:
    -webide-representation: 'signature ok: {is_magic_ok}; {num_entries:dec} items'
    doc: Names the items, and says where each one is.
    doc-ref: '[MS-VHDX] section 2.6.1.1'
    seq:
      - id: magic
        -orig-id: Signature
        size: 8
        doc: The text `metadata`.
      - id: reserved
        type: u2
      - id: num_entries
        -orig-id: EntryCount
        type: u2
        doc: Number of entries; at most 2047.
      - id: reserved1
        -orig-id: Reserved2
        size: 20
    instances:
      is_magic_ok:
        value: magic == [0x6d, 0x65, 0x74, 0x61, 0x64, 0x61, 0x74, 0x61]
        doc: True if the signature is right.
      entries:
        pos: 32
        type: metadata_table_entry
        repeat: expr
        repeat-expr: num_entries
        if: num_entries.as<u4> <= 2047.as<u4>
        doc: The items, in any order. More than the table holds are none.
      search:
        pos: 0
        type: metadata_search
  metadata_table_entry:
    -webide-representation: '{kind}: {len_item:dec} bytes at {ofs_item}'
    doc: |
      One metadata item. Its name is `item_id` together with `is_user`: a user
      item that carries the GUID of a known item is not that item.
    doc-ref: '[MS-VHDX] section 2.6.1.2'
    seq:
      - id: item_id
        type: guid
        doc: Says what the item is.
      - id: ofs_item
        -orig-id: Offset
        type: u4
        doc: Where it is in the region, at least 64 KiB; 0 if it is empty.
      - id: len_item
        -orig-id: Length
        type: u4
        doc: Size of the item in bytes, at most 1 MiB; 0 if it is empty.
      - id: is_user
        type: b1
        doc: True if the item belongs to a user of the image, not the system.
      - id: is_virtual_disk
        type: b1
        doc: True if it describes the virtual disk, false if this file.
      - id: is_required
        type: b1
        doc: True if a reader has to know the item to open the image.
      - id: reserved
        type: b29
      - id: reserved1
        -orig-id: Reserved2
        type: u4
    instances:
      kind:
        value: |
          is_user ? "user item" :
          (item_id.raw == [0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b] ? "file parameters" :
          (item_id.raw == [0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8] ? "virtual disk size" :
          (item_id.raw == [0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45, 0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46] ? "virtual disk ID" :
          (item_id.raw == [0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f] ? "logical sector size" :
          (item_id.raw == [0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44, 0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56] ? "physical sector size" :
          (item_id.raw == [0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c] ? "parent locator" :
          "unknown"))))))
        doc: |
          Name of the item:

          * CAA16737-FA36-4D43-B3B6-33F0AA44E76B are the file parameters,
          * 2FA54224-CD1B-4876-B211-5DBED83BF4B8 is the virtual disk size,
          * BECA12AB-B2E6-4523-93EF-C309E000C746 the virtual disk ID,
          * 8141BF1D-A96F-4709-BA47-F233A8FAAB5F the logical sector size,
          * CDA348C7-445D-4471-9CC9-E9885251C556 the physical sector size,
          * A8D35F2D-B30B-454D-ABF7-D3D84834AB0C the parent locator.
  metadata_search:
    doc: |
      The metadata table once more, read for each known item up to the entry
      that names it, or else to the end. The last entry of each array is the
      one looked for, if its `kind` is. Where a table is empty its header is
      looked at, which is no entry of any such kind.
    instances:
      ofs_first:
        value: '_parent.num_entries == 0 ? 0.as<s8> : 32.as<s8>'
        doc: Where a search begins.
      ofs_end:
        value: '_parent.num_entries.as<u4> > 2047.as<u4> ? 65536.as<s8> : ((_parent.num_entries.as<s8> * 32.as<s8>).as<s8> + 32.as<s8>).as<s8>'
        doc: Where a search ends if nothing was found.
      file_parameters:
        pos: ofs_first
        type: metadata_table_entry
        repeat: until
        repeat-until: _.kind == "file parameters" or _io.pos.as<s8> >= ofs_end
      virtual_disk_size:
        pos: ofs_first
        type: metadata_table_entry
        repeat: until
        repeat-until: _.kind == "virtual disk size" or _io.pos.as<s8> >= ofs_end
      virtual_disk_id:
        pos: ofs_first
        type: metadata_table_entry
        repeat: until
        repeat-until: _.kind == "virtual disk ID" or _io.pos.as<s8> >= ofs_end
      logical_sector_size:
        pos: ofs_first
        type: metadata_table_entry
        repeat: until
        repeat-until: _.kind == "logical sector size" or _io.pos.as<s8> >= ofs_end
      physical_sector_size:
        pos: ofs_first
        type: metadata_table_entry
        repeat: until
        repeat-until: _.kind == "physical sector size" or _io.pos.as<s8> >= ofs_end
      parent_locator:
        pos: ofs_first
        type: metadata_table_entry
        repeat: until
        repeat-until: _.kind == "parent locator" or _io.pos.as<s8> >= ofs_end
  file_parameters_item:
    -webide-representation: 'blocks of {len_block_mib:dec} MiB, {kind}'
    doc: Block size and kind of the disk.
    doc-ref: '[MS-VHDX] section 2.6.2.1'
    seq:
      - id: len_block
        -orig-id: BlockSize
        type: u4
        doc: Size of a block in bytes; a power of two from 1 MiB to 256 MiB.
      - id: leave_block_allocated
        type: b1
        doc: |
          True if blocks stay allocated once they are: a fixed disk. Without
          meaning if `has_parent` is true.
      - id: has_parent
        type: b1
        doc: True for a differencing disk, which has a parent locator.
      - id: reserved
        type: b30
    instances:
      len_block_mib:
        value: (len_block.as<u4> / 0x100000.as<u4>).as<u4>
        doc: Size of a payload block in MiB.
      is_len_block_ok:
        value: len_block.as<u4> >= 0x100000.as<u4> and len_block.as<u4> <= 0x10000000.as<u4>
        doc: True if the block size is within its limits.
      kind:
        value: 'has_parent ? "differencing" : (leave_block_allocated ? "fixed" : "dynamic")'
        doc: Name of the kind of disk; dynamic if neither flag is set.
  virtual_disk_size_item:
    -webide-representation: '{size_mib:dec} MiB'
    doc: Size of the disk.
    doc-ref: '[MS-VHDX] section 2.6.2.2'
    seq:
      - id: virtual_disk_size
        type: u8
        doc: |
          Size of the disk in bytes; a multiple of the logical sector size
          (not of the block size), at most 64 TiB.
    instances:
      size_mib:
        value: (virtual_disk_size.as<u8> / 0x100000.as<u8>).as<u8>
        doc: Size of the disk in MiB, rounded down.
      is_size_ok:
        value: size_high.as<u4> <= 0x4000.as<u4> and virtual_disk_size.as<u8> <= (0x4000000.as<u8> * 0x100000.as<u8>).as<u8>
        doc: True if the size is within its limit.
      size_high:
        pos: 4
        type: u4
        doc: The high half of `virtual_disk_size`, exact in every language.
  virtual_disk_id_item:
    -webide-representation: '{virtual_disk_id}'
    doc: Identity of the disk.
    doc-ref: '[MS-VHDX] section 2.6.2.3'
    seq:
      - id: virtual_disk_id
        type: guid
        doc: Kept by a copy of the file, and shown to the virtual machine.
  logical_sector_size_item:
    -webide-representation: '{logical_sector_size:dec} bytes'
    doc: Sector size that the disk shows.
    doc-ref: '[MS-VHDX] section 2.6.2.4'
    seq:
      - id: logical_sector_size
        type: u4
        doc: In bytes, 512 or 4096; one bit of a sector bitmap covers as much.
    instances:
      is_size_ok:
        value: logical_sector_size == 512 or logical_sector_size == 4096
        doc: True if the size is one of the two.
  physical_sector_size_item:
    -webide-representation: '{physical_sector_size:dec} bytes'
    doc: Sector size that the disk claims to have inside.
    doc-ref: '[MS-VHDX] section 2.6.2.5'
    seq:
      - id: physical_sector_size
        type: u4
        doc: In bytes, 512 or 4096; only a hint for those who use the disk.
  parent_locator_item:
    -webide-representation: '{num_entries:dec} keys'
    doc: |
      Says where the parent of a differencing disk is, as keys with values.
      All offsets count from the start of the item.
    doc-ref: '[MS-VHDX] section 2.6.2.6.1'
    seq:
      - id: locator_type
        type: guid
        doc: B04AEFB7-D19E-4A81-B789-25B8E9445913 if the parent is a VHDX file.
      - id: reserved
        type: u2
      - id: num_entries
        -orig-id: KeyValueCount
        type: u2
        doc: Number of entries.
    instances:
      is_vhdx:
        value: locator_type.raw == [0xb7, 0xef, 0x4a, 0xb0, 0x9e, 0xd1, 0x81, 0x4a, 0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13]
        doc: True if the locator is of the one known type.
      entries:
        pos: 20
        type: parent_locator_entry
        repeat: expr
        repeat-expr: num_entries
        doc: |
          The keys and values, in any order: `parent_linkage` (the parent's
          DataWriteGuid in braces), `parent_linkage2` (a second one that is
          also right), `relative_path`, `volume_path`, `absolute_win32_path`.
        doc-ref: '[MS-VHDX] section 2.6.2.6.3'
        -webide-parse-mode: eager
  parent_locator_entry:
    -webide-representation: '{key} = {value}'
    doc: One key and its value.
    doc-ref: '[MS-VHDX] section 2.6.2.6.2'
    seq:
      - id: ofs_key
        -orig-id: KeyOffset
        type: u4
        doc: Offset of the key from the start of the item.
      - id: ofs_value
        -orig-id: ValueOffset
        type: u4
        doc: Offset of the value from the start of the item.
      - id: len_key
        -orig-id: KeyLength
        type: u2
        doc: Size of the key in bytes.
      - id: len_value
        -orig-id: ValueLength
        type: u2
        doc: Size of the value in bytes.
    instances:
      key:
        pos: ofs_key
        size: len_key
        type: str
        doc: Name of what the value says; case matters.
        -webide-parse-mode: eager
      value:
        pos: ofs_value
        size: len_value
        type: str
        doc: What the key stands for.
        -webide-parse-mode: eager
      raw_key:
        pos: ofs_key
        size: len_key.as<u4>
        doc: The bytes of `key`.
      raw_value:
        pos: ofs_value
        size: len_value.as<u4>
        doc: The bytes of `value`.
  disk_layout:
    doc: |
      What the block allocation table follows from. Each number has an instance
      to itself: Rust cannot ask one structure twice in an expression.
    doc-ref: '[MS-VHDX] section 2.5'
    instances:
      is_complete:
        value: |
          _root.current_region_table_number != 0
            ? (_root.current_region_table.search.has_bat
              ? (_root.current_region_table.search.has_metadata ? _root.metadata.is_geometry_ok : false)
              : false)
            : false
        doc: True if both regions are there, and the sizes within their limits.
      ofs_bat:
        value: _root.current_region_table.search.bat.last.ofs_region
        if: is_complete
        doc: Offset of the block allocation table in the file.
      virtual_disk_size:
        value: _root.metadata.virtual_disk_size.virtual_disk_size
        if: is_complete
        doc: Size of the disk in bytes.
      len_payload_block:
        value: _root.metadata.file_parameters.len_block
        if: is_complete
        doc: Size of a payload block in bytes.
      logical_sector_size:
        value: _root.metadata.logical_sector_size.logical_sector_size
        if: is_complete
        doc: Size of a logical sector in bytes.
      has_parent:
        value: 'is_complete ? _root.metadata.file_parameters.has_parent : false'
        doc: True for a differencing disk.
      table:
        pos: ofs_bat.as<s8>
        type: bat(ofs_bat.as<u8>, virtual_disk_size.as<u8>, len_payload_block.as<u4>, logical_sector_size.as<u4>, has_parent)
        if: is_complete
  bat:
    -webide-representation: '{num_payload_blocks:dec} blocks of {len_block_mib:dec} MiB in {num_chunks:dec} chunks'
    doc: |
      The block allocation table: an array of 64-bit entries in which, after
      the entries of each `chunk_ratio` payload blocks, stands the entry of
      the sector bitmap block that covers them. It is the same for all kinds
      of disks, though only differencing ones use the bitmaps.

      The largest table has more than 67 million entries, so it is shown in
      chunks of `chunk_ratio` payload entries, each read when it is asked for.
    doc-ref: '[MS-VHDX] section 2.5'
    params:
      - id: ofs_bat
        type: u8
        doc: Offset of the table in the file.
      - id: len_disk
        type: u8
        doc: Size of the disk in bytes.
      - id: len_block
        type: u4
        doc: Size of a payload block in bytes.
      - id: len_sector
        type: u4
        doc: Size of a logical sector in bytes.
      - id: is_differencing
        type: bool
        doc: True for a differencing disk.
    instances:
      len_block_mib:
        value: (len_block.as<u4> / 0x100000.as<u4>).as<u4>
        doc: Size of a payload block in MiB.
      chunk_ratio:
        value: (0x800000.as<u4> / (len_block / len_sector).as<u4>).as<u4>
        doc: Number of payload blocks that one sector bitmap block covers.
      num_payload_blocks:
        value: ((len_disk + (len_block.as<u8> - 1.as<u8>).as<u8>).as<u8> / len_block.as<u8>).as<u8>
        doc: Number of payload blocks, the last of which may be partial.
      num_chunks:
        value: ((num_payload_blocks + (chunk_ratio.as<u8> - 1.as<u8>).as<u8>).as<u8> / chunk_ratio.as<u8>).as<u8>
        doc: Number of chunks and of sector bitmap blocks; at most 16384.
      chunks:
        type: bat_chunk(_index.as<u8>)
        repeat: expr
        repeat-expr: num_chunks.as<u4>
        doc: The parts of the table, one for each sector bitmap block.
  bat_chunk:
    -webide-representation: '{num_payload_blocks:dec} blocks from block {first_block:dec} on'
    doc: The entries of a chunk's payload blocks and of its sector bitmap block.
    doc-ref: '[MS-VHDX] section 2.5'
    params:
      - id: chunk_number
        type: u8
        doc: Number of the chunk, from 0.
    instances:
      first_block:
        value: (chunk_number * _parent.chunk_ratio.as<u8>).as<u8>
        doc: Number of the first payload block, from 0.
      num_payload_blocks:
        value: |
          (chunk_number + 1.as<u8>).as<u8> < _parent.num_chunks
            ? _parent.chunk_ratio.as<u8>
            : (_parent.num_payload_blocks - first_block).as<u8>
        doc: Number of payload blocks; fewer in the last chunk.
      ofs_chunk:
        value: (_parent.ofs_bat + ((chunk_number * (_parent.chunk_ratio.as<u8> + 1.as<u8>).as<u8>).as<u8> * 8.as<u8>).as<u8>).as<u8>
        doc: Offset of the first payload entry in the file.
      ofs_sector_bitmap_entry:
        value: (ofs_chunk + (_parent.chunk_ratio.as<u8> * 8.as<u8>).as<u8>).as<u8>
        doc: Offset of the sector bitmap entry in the file.
        -webide-parse-mode: lazy
      has_sector_bitmap_entry:
        value: _parent.is_differencing or (chunk_number + 1.as<u8>).as<u8> < _parent.num_chunks
        doc: False after the last chunk of a disk that is not differencing.
        -webide-parse-mode: lazy
      payload_blocks:
        pos: ofs_chunk.as<s8>
        type: payload_block((first_block + _index.as<u8>).as<u8>)
        repeat: expr
        repeat-expr: num_payload_blocks.as<u4>
        doc: The payload blocks, in the order of the disk.
      sector_bitmap_block:
        pos: ofs_sector_bitmap_entry.as<s8>
        type: bat_sector_bitmap_entry
        if: has_sector_bitmap_entry
        doc: The one whose entry stands behind those of the payload blocks.
  payload_block:
    -webide-representation: 'block {block_number:dec}: {entry}'
    doc: A part of the disk, and where it is in the file, if it is there.
    doc-ref: '[MS-VHDX] section 2.4'
    params:
      - id: block_number
        type: u8
        doc: Number of the block, from 0.
    seq:
      - id: entry
        type: bat_payload_entry
        doc: State and place of the block.
    instances:
      ofs_disk:
        value: (block_number * _parent._parent.len_block.as<u8>).as<u8>
        doc: Where on the disk the block begins.
      len_data:
        value: |
          (_parent._parent.len_disk - ofs_disk).as<u8> < _parent._parent.len_block.as<u8>
            ? (_parent._parent.len_disk - ofs_disk).as<u8>
            : _parent._parent.len_block.as<u8>
        doc: Size of the block in bytes; of the last one, up to the disk's end.
      is_in_file:
        value: |
          entry.file_offset_mb <= (_root._io.size.as<u8> / 0x100000.as<u8>).as<u8>
            ? (_root._io.size.as<u8> - entry.ofs_block).as<u8> >= len_data
            : false
        doc: True if all its bytes are in the file, whatever the state says.
      data:
        io: _root._io
        pos: entry.ofs_block.as<s8>
        size: len_data.as<u4>
        if: entry.is_present and is_in_file
        doc: The bytes of the block; none if absent, or if the file ends before.
  bat_payload_entry:
    -webide-representation: '{state}{place}'
    doc: State and place of one payload block.
    doc-ref: '[MS-VHDX] section 2.5.1'
    seq:
      - id: state
        type: b3
        enum: payload_state
        doc: What a read of the block gives.
        doc-ref: '[MS-VHDX] section 2.5.1.1'
      - id: reserved
        type: b17
      - id: file_offset_mb_lo
        -orig-id: FileOffsetMB
        type: b12
        doc: The low 12 of 44 bits, more than some languages can read at once.
      - id: file_offset_mb_hi
        -orig-id: FileOffsetMB
        type: u4
        doc: The high 32 bits of FileOffsetMB.
    instances:
      file_offset_mb:
        -orig-id: FileOffsetMB
        value: ((file_offset_mb_hi.as<u8> * 0x1000.as<u8>).as<u8> + file_offset_mb_lo.as<u8>).as<u8>
        doc: Place of the block in the file in MiB.
      ofs_block:
        value: (file_offset_mb * 0x100000.as<u8>).as<u8>
        doc: |
          The same in bytes. Means something only if the block is present:
          writers leave old places in the entries of absent ones.
      is_present:
        value: state == payload_state::fully_present or state == payload_state::partially_present
        doc: True if the block, or part of it, is in this file.
      place:
        value: 'is_present ? " at MiB " + file_offset_mb.to_s : ""'
        doc: Where the block is, in words; empty if it is absent.
  bat_sector_bitmap_entry:
    -webide-representation: '{state}{place}'
    doc: |
      State and place of a sector bitmap block: one bit for each logical sector
      of a chunk of a differencing disk, whether it is in this file (1) or has
      to be asked of the parent (0). Only partially present blocks look at it.
    doc-ref: '[MS-VHDX] section 2.5.1'
    seq:
      - id: state
        type: b3
        enum: sector_bitmap_state
        doc: Whether there is a sector bitmap block.
        doc-ref: '[MS-VHDX] section 2.5.1.2'
      - id: reserved
        type: b17
      - id: file_offset_mb_lo
        -orig-id: FileOffsetMB
        type: b12
        doc: The low 12 bits of FileOffsetMB.
      - id: file_offset_mb_hi
        -orig-id: FileOffsetMB
        type: u4
        doc: The high 32 bits of FileOffsetMB.
    instances:
      file_offset_mb:
        -orig-id: FileOffsetMB
        value: ((file_offset_mb_hi.as<u8> * 0x1000.as<u8>).as<u8> + file_offset_mb_lo.as<u8>).as<u8>
        doc: Place of the block in the file in MiB.
      ofs_block:
        value: (file_offset_mb * 0x100000.as<u8>).as<u8>
        doc: The same in bytes; means something only if the block is present.
      place:
        value: 'state == sector_bitmap_state::bitmap_present ? " at MiB " + file_offset_mb.to_s : ""'
        doc: Where the block is, in words; empty if it is absent.
      bitmap:
        io: _root._io
        pos: ofs_block.as<s8>
        size: 0x100000
        if: |
          state == sector_bitmap_state::bitmap_present and
          file_offset_mb < (_root._io.size.as<u8> / 0x100000.as<u8>).as<u8>
        doc: |
          Bit `b` (0 is the least significant) of byte `n` stands for logical
          sector `8 * n + b` of the chunk. None if absent, or if the file ends
          before.
        doc-ref: '[MS-VHDX] section 2.4'
  log_region:
    -webide-representation: 'to replay: {_parent.current_header.has_log}, log GUID {_parent.current_header.log_guid}, {num_sectors:dec} sectors'
    doc: |
      A ring of sectors of 4 KiB. Entries are written one behind the other and
      may go on at the start where the end is reached. What is shown are the
      sectors with what they look like, stale ones included; which entries
      make up the active sequence has to be found out by checksum, log GUID,
      sequence numbers and tail.
    doc-ref: '[MS-VHDX] section 2.3'
    instances:
      num_sectors:
        value: (_io.size.as<u8> / 4096.as<u8>).as<u4>
        doc: Number of sectors.
      sectors:
        pos: 0
        size: 4096
        type: log_sector((_index.as<u8> * 4096.as<u8>).as<u8>)
        repeat: expr
        repeat-expr: num_sectors
        doc: The ring from its beginning in the file, not from its oldest entry.
  log_sector:
    -webide-representation: '{kind} {body}'
    doc: One sector of the log, which may be the first of an entry.
    doc-ref: '[MS-VHDX] section 2.3.1'
    params:
      - id: ofs_sector
        type: u8
        doc: Offset of the sector in the log.
    instances:
      magic:
        pos: 0
        size: 4
        doc: Signature of the structure at the start of the sector.
      kind:
        value: 'magic == [0x6c, 0x6f, 0x67, 0x65] ? "entry" : (magic == [0x64, 0x61, 0x74, 0x61] ? "data sector" : "other")'
        doc: Name of what the sector is.
      body:
        pos: 0
        size: 4096
        type:
          switch-on: kind
          cases:
            '"entry"': log_entry_header
            '"data sector"': log_data_sector
            _: other_bytes
        doc: |
          What the sector begins with. Sectors that were never used, and the
          later descriptor sectors of an entry, have no signature.
        -webide-parse-mode: eager
      len_entry:
        pos: 8
        type: u4
        doc: Size in bytes of the entry, if the sector begins one.
      len_wrapped:
        value: |
          (ofs_sector + len_entry.as<u8>).as<u8> > _parent._io.size.as<u8>
            ? ((ofs_sector + len_entry.as<u8>).as<u8> - _parent._io.size.as<u8>).as<u8>
            : 0.as<u8>
        doc: Number of bytes of the entry that are at the start of the log.
        -webide-parse-mode: lazy
      entry:
        io: _parent._io
        pos: ofs_sector.as<s8>
        size: len_entry.as<u4>
        type: log_entry
        if: kind == "entry" and len_wrapped == 0.as<u8>
        doc: |
          The entry that begins here. One that goes on at the start of the log
          cannot be shown: join its bytes and read them as `log_entry`.
  other_bytes:
    doc: What is none of the structures that may be in its place.
    seq:
      - id: raw
        size-eos: true
        doc: The bytes.
  log_entry:
    -webide-representation: '{header}'
    doc: |
      One entry of the log, all its sectors joined: the header, followed by
      the descriptors, which fill up whole sectors, and one data sector for
      each data descriptor, in the same order.
    doc-ref: '[MS-VHDX] section 2.3.1'
    seq:
      - id: header
        type: log_entry_header
        doc: Size, identity and place in the sequence.
    instances:
      descriptors:
        pos: 64
        size: 32
        type: log_descriptor
        repeat: expr
        repeat-expr: header.num_descriptors
        doc: What is to be written where.
      num_descriptor_sectors:
        value: (((header.num_descriptors.as<u8> * 32.as<u8>).as<u8> + 4159.as<u8>).as<u8> / 4096.as<u8>).as<u8>
        doc: Number of sectors that header and descriptors fill.
      num_data_sectors:
        value: |
          (header.len_entry.as<u8> / 4096.as<u8>).as<u8> > num_descriptor_sectors
            ? ((header.len_entry.as<u8> / 4096.as<u8>).as<u8> - num_descriptor_sectors).as<u8>
            : 0.as<u8>
        doc: Number of data sectors that the entry has room for.
      data_sectors:
        pos: (num_descriptor_sectors * 4096.as<u8>).as<s8>
        size: 4096
        type: log_data_sector
        repeat: expr
        repeat-expr: num_data_sectors.as<u4>
        doc: What the data descriptors write, in their order.
  log_entry_header:
    -webide-representation: 'sequence {sequence_high}:{sequence_low}, log GUID {session}, {num_descriptors:dec} descriptors'
    doc: The first 64 bytes of a log entry.
    doc-ref: '[MS-VHDX] section 2.3.1.1'
    seq:
      - id: magic
        -orig-id: Signature
        contents: loge
        doc: Identifies an entry.
      - id: checksum
        type: u4
        doc: CRC-32C (Castagnoli) of the entry, this field taken as zero.
      - id: len_entry
        -orig-id: EntryLength
        type: u4
        doc: Size of the entry in bytes; a multiple of 4 KiB.
      - id: tail
        type: u4
        doc: |
          Offset in the log of the oldest entry that was still needed when
          this one was written; a multiple of 4 KiB.
      - id: sequence_number
        type: u8
        doc: Greater by one than that of the entry before; never 0.
      - id: num_descriptors
        -orig-id: DescriptorCount
        type: u4
        doc: Number of descriptors; may be 0.
      - id: reserved
        type: u4
      - id: log_guid
        type: guid
        doc: The log GUID of the header that was current at the time.
      - id: flushed_file_offset
        type: u8
        doc: |
          Size in bytes that the file had safely reached when the entry was
          written; a shorter file has lost data.
      - id: last_file_offset
        type: u8
        doc: Size in bytes that holds all that was allocated at the time.
    instances:
      sequence_low:
        pos: 16
        type: u4
        doc: The low half of `sequence_number`, exact in every language.
        -webide-parse-mode: eager
      sequence_high:
        pos: 20
        type: u4
        doc: The high half of `sequence_number`, exact in every language.
        -webide-parse-mode: eager
      session:
        value: 'log_guid.raw == _root.current_header.log_guid.raw ? "current" : "other"'
        doc: Whether the log GUID is the current header's; others do not count.
  log_descriptor:
    -webide-representation: '{body}'
    doc: One write to be replayed, in 32 bytes.
    doc-ref: '[MS-VHDX] section 2.3.1'
    instances:
      magic:
        pos: 0
        size: 4
        doc: Signature of the descriptor.
      kind:
        value: 'magic == [0x7a, 0x65, 0x72, 0x6f] ? "zero" : (magic == [0x64, 0x65, 0x73, 0x63] ? "data" : "unknown")'
        doc: Name of the kind of descriptor.
      body:
        pos: 0
        size: 32
        type:
          switch-on: kind
          cases:
            '"zero"': log_zero_descriptor
            '"data"': log_data_descriptor
            _: other_bytes
        doc: The descriptor. An entry that has an unknown one is not valid.
        -webide-parse-mode: eager
  log_zero_descriptor:
    -webide-representation: 'zeros at {ofs_file}, {len_zero:dec} bytes'
    doc: Zeros to be written to the file.
    doc-ref: '[MS-VHDX] section 2.3.1.2'
    seq:
      - id: magic
        -orig-id: ZeroSignature
        contents: zero
        doc: Identifies a zero descriptor.
      - id: reserved
        type: u4
      - id: len_zero
        -orig-id: ZeroLength
        type: u8
        doc: Number of bytes; a multiple of 4 KiB.
      - id: ofs_file
        -orig-id: FileOffset
        type: u8
        doc: Where in the file they go; a multiple of 4 KiB.
      - id: sequence_number
        type: u8
        doc: That of the entry.
    instances:
      target:
        io: _root._io
        pos: ofs_file.as<s8>
        size: len_zero.as<s8>
        if: |
          len_zero.as<u8> > 0.as<u8> and len_zero.as<u8> <= _root._io.size.as<u8> and
          ofs_file.as<u8> > 0.as<u8> and ofs_file.as<u8> <= (_root._io.size.as<u8> - len_zero.as<u8>).as<u8>
        doc: The bytes of the file that are to become zeros, if it has them.
  log_data_descriptor:
    -webide-representation: '4096 bytes at {ofs_file}'
    doc: |
      4 KiB to be written to the file: `leading_bytes`, then the 4084 bytes of
      the data sector that belongs to the descriptor, then `trailing_bytes`.
    doc-ref: '[MS-VHDX] section 2.3.1.3'
    seq:
      - id: magic
        -orig-id: DataSignature
        contents: desc
        doc: Identifies a data descriptor.
      - id: trailing_bytes
        size: 4
        doc: The last 4 bytes, whose place in the data sector is taken.
      - id: leading_bytes
        size: 8
        doc: The first 8 bytes, whose place in the data sector is taken.
      - id: ofs_file
        -orig-id: FileOffset
        type: u8
        doc: Where in the file they go; a multiple of 4 KiB.
      - id: sequence_number
        type: u8
        doc: That of the entry.
    instances:
      target:
        io: _root._io
        pos: ofs_file.as<s8>
        size: 4096
        if: ofs_file.as<u8> > 0.as<u8> and ofs_file.as<u8> <= (_root._io.size.as<u8> - 4096.as<u8>).as<u8>
        doc: The bytes of the file that are to be replaced, if it has them.
  log_data_sector:
    -webide-representation: 'sequence {sequence_high}:{sequence_low}'
    doc: |
      The data of one data descriptor. Both halves of the sequence number have
      to be those of the entry, or the sector was not written completely.
    doc-ref: '[MS-VHDX] section 2.3.1.4'
    seq:
      - id: magic
        -orig-id: DataSignature
        size: 4
        doc: The text `data`.
      - id: sequence_high
        type: u4
        doc: The high 32 bits of the sequence number of the entry.
      - id: data
        size: 4084
        doc: What is to be written, without the first 8 and the last 4 bytes.
      - id: sequence_low
        type: u4
        doc: The low 32 bits of the sequence number of the entry.
    instances:
      is_magic_ok:
        value: magic == [0x64, 0x61, 0x74, 0x61]
        doc: True if the signature is right.
      sequence_number:
        value: (((sequence_high.as<u8> * 0x10000.as<u8>).as<u8> * 0x10000.as<u8>).as<u8> + sequence_low.as<u8>).as<u8>
        doc: The two halves put together.
enums:
  payload_state:
    0:
      id: not_present
      -orig-id: PAYLOAD_BLOCK_NOT_PRESENT
      doc: Zeros, or in a differencing disk what the parent has.
    1:
      id: undefined
      -orig-id: PAYLOAD_BLOCK_UNDEFINED
      doc: Anything; zeros are best.
    2:
      id: zero
      -orig-id: PAYLOAD_BLOCK_ZERO
      doc: Zeros.
    3:
      id: unmapped
      -orig-id: PAYLOAD_BLOCK_UNMAPPED
      doc: Given up by the user of the disk; zeros are best.
    6:
      id: fully_present
      -orig-id: PAYLOAD_BLOCK_FULLY_PRESENT
      doc: The block is in this file.
    7:
      id: partially_present
      -orig-id: PAYLOAD_BLOCK_PARTIALLY_PRESENT
      doc: |
        The sector bitmap says which sectors are in this file and which in the
        parent; only in differencing disks.
  sector_bitmap_state:
    0:
      id: bitmap_not_present
      -orig-id: SB_BLOCK_NOT_PRESENT
      doc: There is no sector bitmap block.
    6:
      id: bitmap_present
      -orig-id: SB_BLOCK_PRESENT
      doc: The sector bitmap block is in this file.
