// Vhdx-to-raw copies the virtual disk of a fixed or dynamic VHDX image to standard output: vhdx-to-raw IMAGE > DISK
//
// The parser is generated from vhdx.ksy. Here is what a grammar cannot say: checksums, which copy counts, and what
// refuses an image. What is written is right, or the exit code is 1. Section numbers are those of [MS-VHDX].
package main

//go:generate mkdir -p vhdx
//go:generate cp ../../../generated/go/vhdx.go vhdx/

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/kaitai-io/kaitai_struct_go_runtime/kaitai"

	"example/vhdx-to-raw/vhdx"
)

const (
	kb = 1 << 10
	mb = 1 << 20
	tb = 1 << 40
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	zeros      [mb]byte
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: vhdx-to-raw IMAGE > DISK")
		os.Exit(64)
	}
	if err := run(os.Args[1], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "vhdx-to-raw: %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

// run does it all. Whatever is wrong further down panics, and becomes an error here.
func run(path string, out io.Writer) (err error) {
	defer func() {
		if problem := recover(); problem != nil {
			err = fmt.Errorf("%v", problem)
		}
	}()
	file := must(os.Open(path))
	defer file.Close()
	image{file, uint64(must(file.Seek(0, io.SeekEnd)))}.copyDisk(out)
	return nil
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func require(holds bool, format string, details ...any) {
	if !holds {
		panic(fmt.Errorf(format, details...))
	}
}

// places are stretches of the file that have names, lie from low to high, and do not overlap.
type places struct {
	low, high uint64
	taken     map[string]place
}

type place struct{ start, end uint64 }

func (p places) check(name string, start, length uint64) place {
	fits := start >= p.low && length <= p.high && start <= p.high-length
	require(fits, "%s, %d bytes at %d, is not between %d and %d", name, length, start, p.low, p.high)
	for other, there := range p.taken {
		require(start >= there.end || there.start >= start+length, "%s at %d overlaps %s", name, start, other)
	}
	return place{start, start + length}
}

func (p places) add(name string, start, length uint64) {
	_, isThere := p.taken[name]
	require(!isThere, "%s is listed twice", name)
	p.taken[name] = p.check(name, start, length)
}

func (p places) get(name string) place {
	found, isThere := p.taken[name]
	require(isThere, "there is no %s", name)
	return found
}

type image struct {
	file io.ReaderAt
	size uint64
}

func (i image) read(offset, length uint64) []byte {
	require(length <= i.size && offset <= i.size-length,
		"%d bytes wanted at %d, the file ends at %d", length, offset, i.size)
	data := make([]byte, length)
	must(i.file.ReadAt(data, int64(offset)))
	return data
}

// structure is what every generated type is; P is the type of its parent, of which none here has need.
type structure[P any] interface {
	Read(stream *kaitai.Stream, parent P, root *vhdx.Vhdx) error
}

func parse[P any, T structure[P]](stream *kaitai.Stream, structure T) T {
	var none P
	return must(structure, structure.Read(stream, none, nil))
}

func decode[P any, T structure[P]](data []byte, structure T) T {
	return parse(kaitai.NewStream(bytes.NewReader(data)), structure)
}

// isValid says whether a structure has this signature and, its checksum at offset 4 as zero, this CRC-32C.
func isValid(data []byte, signature string, checksum uint32) bool {
	crc := crc32.Update(crc32.Checksum(data[:4], castagnoli), castagnoli, make([]byte, 4))
	return string(data[:4]) == signature && crc32.Update(crc, castagnoli, data[8:]) == checksum
}

// currentHeader is of the valid headers the one with the greater sequence number [2.2.2].
func (i image) currentHeader() *vhdx.Vhdx_Header {
	var current *vhdx.Vhdx_Header
	var currentData []byte
	for _, offset := range []uint64{64 * kb, 128 * kb} {
		data := i.read(offset, 4*kb)
		header := decode(data, vhdx.NewVhdx_Header())
		if !isValid(data, "head", header.Checksum) {
			continue
		}
		if current != nil {
			require(header.SequenceNumber != current.SequenceNumber || bytes.Equal(data, currentData),
				"two headers have the sequence number %d", header.SequenceNumber)
			if header.SequenceNumber < current.SequenceNumber {
				continue
			}
		}
		current, currentData = header, data
	}
	require(current != nil, "no header has the right signature and checksum")
	require(current.Version == 1, "version %d is not known", current.Version)
	require(bytes.Equal(current.LogGuid.Raw, make([]byte, 16)), "the log must be replayed first, which this program cannot do")
	return current
}

// regions says where BAT and metadata are, by the first valid region table [2.2.3].
func (i image) regions() places {
	var table *vhdx.Vhdx_RegionTable
	for _, offset := range []uint64{256 * kb, 192 * kb} {
		data := i.read(offset, 64*kb)
		if one := decode(data, vhdx.NewVhdx_RegionTable()); isValid(data, "regi", one.Checksum) {
			table = one
		}
	}
	require(table != nil, "no region table has the right signature and checksum")
	require(table.NumEntries <= 2047, "%d regions are more than fit in a table", table.NumEntries)
	regions := places{mb, i.size, map[string]place{}}
	for _, entry := range must(table.Entries()) {
		if kind := must(entry.Kind()); kind != "unknown" {
			start, length := entry.OfsRegion, uint64(entry.LenRegion)
			require((start|length)%mb == 0 && length > 0, "the place of a region is not aligned")
			regions.add(kind, start, length)
		} else {
			require(!entry.IsRequired, "a required region is not known")
		}
	}
	return regions
}

// itemSizes are the sizes of the known metadata items, by the grammar's names.
var itemSizes = map[string]uint64{
	"file parameters": 8, "virtual disk size": 8, "virtual disk ID": 16,
	"logical sector size": 4, "physical sector size": 4, "parent locator": 20,
}

// items says where the known metadata items are [2.6.1].
func (i image) items(region place) places {
	table := decode(i.read(region.start, 64*kb), vhdx.NewVhdx_MetadataTable())
	require(string(table.Magic) == "metadata" && table.NumEntries <= 2047, "there is no metadata table")
	items := places{region.start + 64*kb, region.end, map[string]place{}}
	for _, entry := range must(table.Entries()) {
		kind, length := must(entry.Kind()), uint64(entry.LenItem)
		if size, isKnown := itemSizes[kind]; isKnown {
			require(size <= length && length <= mb, "%s has %d bytes", kind, length)
			items.add(kind, region.start+uint64(entry.OfsItem), length)
		} else {
			require(!entry.IsRequired, "a required metadata item is not known")
		}
	}
	return items
}

// blockAllocationTable is that of this disk, whose arithmetic is in the grammar [2.5].
func (i image) blockAllocationTable(regions places) *vhdx.Vhdx_Bat {
	items := i.items(regions.get("metadata"))
	parameters := decode(i.read(items.get("file parameters").start, 8), vhdx.NewVhdx_FileParametersItem())
	disk := decode(i.read(items.get("virtual disk size").start, 8), vhdx.NewVhdx_VirtualDiskSizeItem())
	logical := decode(i.read(items.get("logical sector size").start, 4), vhdx.NewVhdx_LogicalSectorSizeItem())
	block, size, sector := parameters.LenBlock, disk.VirtualDiskSize, logical.LogicalSectorSize
	require(!parameters.HasParent, "a differencing disk needs its parent, which this program does not read")
	require(mb <= block && block <= 256*mb && block&(block-1) == 0, "blocks of %d bytes cannot be", block)
	require(sector == 512 || sector == 4096, "sectors of %d bytes cannot be", sector)
	require(size <= 64*tb && size%uint64(sector) == 0, "a disk of %d bytes cannot be", size)
	return decode(nil, vhdx.NewVhdx_Bat(regions.get("BAT").start, size, block, sector, false))
}

// copyDisk writes the whole disk, block by block.
func (i image) copyDisk(out io.Writer) {
	require(string(i.read(0, 8)) == "vhdxfile", "not a VHDX image")
	header, regions := i.currentHeader(), i.regions()
	bat, batEnd := i.blockAllocationTable(regions), regions.get("BAT").end
	start, length := header.OfsLog, uint64(header.LenLog)
	if (start|length)%mb == 0 && start >= mb && start <= i.size && length <= i.size-start {
		regions.taken["log"] = place{start, start + length} // elsewhere it is in nobody's way: nothing is replayed
	}
	chunks := must(bat.Chunks())
	if len(chunks) > 0 {
		last := chunks[len(chunks)-1]
		fits := must(last.OfsChunk())+8*must(last.NumPayloadBlocks()) <= batEnd
		require(fits, "the BAT region is too small for the disk")
	}
	left := bat.LenDisk
	for _, chunk := range chunks {
		count := must(chunk.NumPayloadBlocks())
		entries := kaitai.NewStream(bytes.NewReader(i.read(must(chunk.OfsChunk()), 8*count)))
		for n := range count {
			entry := parse(entries, vhdx.NewVhdx_BatPayloadEntry())
			used := min(left, uint64(bat.LenBlock))
			i.copyBlock(fmt.Sprintf("block %d", must(chunk.FirstBlock())+n), entry, used, regions, out)
			left -= used
		}
	}
}

// copyBlock writes the first bytes of a block: those of the file, or zeros.
func (i image) copyBlock(
	name string, entry *vhdx.Vhdx_BatPayloadEntry, used uint64, regions places, out io.Writer,
) {
	switch entry.State {
	case vhdx.Vhdx_PayloadState__NotPresent, vhdx.Vhdx_PayloadState__Undefined,
		vhdx.Vhdx_PayloadState__Zero, vhdx.Vhdx_PayloadState__Unmapped:
		for ; used > 0; used -= min(used, mb) {
			must(out.Write(zeros[:min(used, mb)]))
		}
	case vhdx.Vhdx_PayloadState__FullyPresent:
		start := regions.check(name, must(entry.OfsBlock()), used).start
		must(io.CopyN(out, io.NewSectionReader(i.file, int64(start), int64(used)), int64(used)))
	default:
		require(false, "%s is in state %d, which no disk without parent has", name, entry.State)
	}
}
