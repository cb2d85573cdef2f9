//! Copies the virtual disk of a fixed or dynamic VHDX image to standard output: vhdx-to-raw IMAGE > DISK
//!
//! The parser is generated from vhdx.ksy. Here is what a grammar cannot say: checksums, which copy counts, and what
//! refuses an image. What is written is right, or the exit code is 1. Section numbers are those of [MS-VHDX].

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::process::ExitCode;

use kaitai::{BytesReader, KError, KStruct, OptRc, SharedType};
use vhdx::*;

#[allow(warnings, clippy::all)] // it is as the compiler writes it
#[rustfmt::skip]
#[path = "../../../../generated/rust/vhdx.rs"]
mod vhdx;

const KB: u64 = 1 << 10;
const MB: u64 = 1 << 20;
const TB: u64 = 1 << 40;
static ZEROS: [u8; MB as usize] = [0; MB as usize];

/// What is wrong, in one line.
struct Problem(String);

type Result<T> = std::result::Result<T, Problem>;

impl From<&str> for Problem {
    fn from(why: &str) -> Self {
        Problem(why.to_string())
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Problem(error.to_string())
    }
}

impl From<KError> for Problem {
    fn from(error: KError) -> Self {
        Problem(format!("it cannot be parsed: {error:?}"))
    }
}

macro_rules! ensure {
    ($holds:expr, $($why:tt)+) => { if !$holds { return Err(Problem(format!($($why)+))); } };
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [path] = arguments.as_slice() else {
        eprintln!("usage: vhdx-to-raw IMAGE > DISK");
        return ExitCode::from(64);
    };
    let Err(Problem(why)) = Image::open(path.as_ref()).and_then(|image| image.copy_disk(&mut io::stdout().lock()))
    else {
        return ExitCode::SUCCESS;
    };
    eprintln!("vhdx-to-raw: {}: {why}", path.to_string_lossy());
    ExitCode::FAILURE
}

/// Stretches of the file that have names, lie in `within`, and do not overlap.
struct Places {
    within: Range<u64>,
    taken: Vec<(String, Range<u64>)>,
}

impl Places {
    fn check(&self, name: &str, start: u64, length: u64) -> Result<Range<u64>> {
        let (low, high) = (self.within.start, self.within.end);
        let fits = start >= low && length <= high && start <= high - length;
        ensure!(fits, "{name}, {length} bytes at {start}, is not between {low} and {high}");
        let overlapped = self.taken.iter().find(|(_, other)| start < other.end && other.start < start + length);
        ensure!(overlapped.is_none(), "{name} at {start} overlaps {}", overlapped.unwrap().0);
        Ok(start..start + length)
    }

    fn add(&mut self, name: &str, start: u64, length: u64) -> Result<()> {
        ensure!(self.get(name).is_err(), "{name} is listed twice");
        self.taken.push((name.to_string(), self.check(name, start, length)?));
        Ok(())
    }

    fn get(&self, name: &str) -> Result<Range<u64>> {
        let found = self.taken.iter().find(|(other, _)| other == name);
        Ok(found.ok_or_else(|| Problem(format!("there is no {name}")))?.1.clone())
    }
}

/// The file, and the root that every type of the generated parser asks for.
struct Image {
    file: File,
    size: u64,
    root: OptRc<Vhdx>,
}

impl Image {
    fn open(path: &std::path::Path) -> Result<Image> {
        let mut file = File::open(path)?;
        let size = file.seek(SeekFrom::End(0))?;
        let image = Image { file, size, root: OptRc::default() };
        let signature = BytesReader::from(image.read(0, 8)?);
        let root = Vhdx::read_into::<_, Vhdx>(&signature, None, None).map_err(|_| "not a VHDX image")?;
        Ok(Image { root, ..image })
    }

    fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>> {
        let is_there = length <= self.size && offset <= self.size - length;
        ensure!(is_there, "{length} bytes wanted at {offset}, the file ends at {}", self.size);
        let (mut file, mut bytes) = (&self.file, vec![0; length as usize]);
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn parse<T: KStruct<Root = Vhdx> + 'static>(&self, io: &BytesReader) -> Result<OptRc<T>> {
        Ok(Vhdx::read_into(io, Some(SharedType::new(self.root.get())), None)?)
    }

    fn structure<T: KStruct<Root = Vhdx> + 'static>(&self, offset: u64, length: u64) -> Result<OptRc<T>> {
        self.parse(&self.read(offset, length)?.into())
    }

    /// Of the valid headers the one with the greater sequence number [2.2.2].
    fn current_header(&self) -> Result<OptRc<Vhdx_Header>> {
        let mut current: Option<(OptRc<Vhdx_Header>, Vec<u8>)> = None;
        for offset in [64 * KB, 128 * KB] {
            let bytes = self.read(offset, 4 * KB)?;
            let header: OptRc<Vhdx_Header> = self.parse(&bytes.as_slice().into())?;
            if !(*header.magic() == b"head" && *header.checksum() == checksum(&bytes)) {
                continue;
            }
            if let Some((other, other_bytes)) = &current {
                let (one, two) = (*other.sequence_number(), *header.sequence_number());
                ensure!(one != two || bytes == *other_bytes, "two headers have the sequence number {one}");
                if one > two {
                    continue;
                }
            }
            current = Some((header, bytes));
        }
        let (header, _) = current.ok_or("no header has the right signature and checksum")?;
        ensure!(*header.version() == 1, "version {} is not known", header.version());
        ensure!(
            header.log_guid().raw().iter().all(|&byte| byte == 0),
            "the log must be replayed first, which this program cannot do"
        );
        Ok(header)
    }

    /// Where BAT and metadata are, by the first valid region table [2.2.3].
    fn regions(&self) -> Result<Places> {
        let mut table: Option<OptRc<Vhdx_RegionTable>> = None;
        for offset in [256 * KB, 192 * KB] {
            let bytes = self.read(offset, 64 * KB)?;
            let copy: OptRc<Vhdx_RegionTable> = self.parse(&bytes.as_slice().into())?;
            if *copy.magic() == b"regi" && *copy.checksum() == checksum(&bytes) {
                table = Some(copy);
            }
        }
        let table = table.ok_or("no region table has the right signature and checksum")?;
        ensure!(*table.num_entries() <= 2047, "{} regions are more than fit in a table", table.num_entries());
        let mut regions = Places { within: MB..self.size, taken: Vec::new() };
        for entry in table.entries()?.iter() {
            let (start, length) = (*entry.ofs_region(), u64::from(*entry.len_region()));
            if *entry.kind()? != "unknown" {
                ensure!((start | length) % MB == 0 && length > 0, "the place of a region is not aligned");
                regions.add(&entry.kind()?, start, length)?;
            } else {
                ensure!(!*entry.is_required(), "a required region is not known");
            }
        }
        Ok(regions)
    }

    /// Where the known metadata items are [2.6.1].
    fn items(&self, region: Range<u64>) -> Result<Places> {
        let table: OptRc<Vhdx_MetadataTable> = self.structure(region.start, 64 * KB)?;
        ensure!(*table.magic() == b"metadata" && *table.num_entries() <= 2047, "there is no metadata table");
        let mut items = Places { within: region.start + 64 * KB..region.end, taken: Vec::new() };
        for entry in table.entries()?.iter() {
            let (start, length) = (u64::from(*entry.ofs_item()), u64::from(*entry.len_item()));
            let size = match entry.kind()?.as_str() {
                "file parameters" | "virtual disk size" => 8,
                "virtual disk ID" => 16,
                "logical sector size" | "physical sector size" => 4,
                "parent locator" => 20,
                _ => {
                    ensure!(!*entry.is_required(), "a required metadata item is not known");
                    continue;
                }
            };
            ensure!((size..=MB).contains(&length), "{} has {length} bytes", entry.kind()?);
            items.add(&entry.kind()?, region.start + start, length)?;
        }
        Ok(items)
    }

    /// The block allocation table of this disk, whose arithmetic is in the grammar [2.5].
    fn block_allocation_table(&self, regions: &Places) -> Result<OptRc<Vhdx_Bat>> {
        let items = self.items(regions.get("metadata")?)?;
        let parameters: OptRc<Vhdx_FileParametersItem> = self.structure(items.get("file parameters")?.start, 8)?;
        let disk: OptRc<Vhdx_VirtualDiskSizeItem> = self.structure(items.get("virtual disk size")?.start, 8)?;
        let sector: OptRc<Vhdx_LogicalSectorSizeItem> = self.structure(items.get("logical sector size")?.start, 4)?;
        let (block, size) = (u64::from(*parameters.len_block()), *disk.virtual_disk_size());
        let sector = *sector.logical_sector_size();
        ensure!(!*parameters.has_parent(), "a differencing disk needs its parent, which this program does not read");
        ensure!(block.is_power_of_two() && (MB..=256 * MB).contains(&block), "blocks of {block} bytes cannot be");
        ensure!(matches!(sector, 512 | 4096), "sectors of {sector} bytes cannot be");
        ensure!(size <= 64 * TB && size % u64::from(sector) == 0, "a disk of {size} bytes cannot be");
        let start = regions.get("BAT")?.start;
        let set = |bat: &mut Vhdx_Bat| {
            bat.set_params(start, size, block as u32, sector, false);
            Ok(())
        };
        let root = SharedType::new(self.root.get());
        Ok(Vhdx::read_into_with_init(&BytesReader::default(), Some(root), None, &set)?)
    }

    /// Write the whole disk, block by block.
    fn copy_disk(&self, out: &mut impl Write) -> Result<()> {
        let header = self.current_header()?;
        let mut regions = self.regions()?;
        let bat = self.block_allocation_table(&regions)?;
        let bat_end = regions.get("BAT")?.end;
        let (start, length) = (*header.ofs_log(), u64::from(*header.len_log()));
        if (start | length) % MB == 0 && start >= MB && start <= self.size && length <= self.size - start {
            regions.taken.push(("log".into(), start..start + length)); // elsewhere it is in nobody's way
        }
        if let Some(last) = bat.chunks()?.last() {
            let end = *last.ofs_chunk()? + 8 * *last.num_payload_blocks()?;
            ensure!(end <= bat_end, "the BAT region is too small for the disk");
        }
        let mut left = *bat.len_disk();
        for chunk in bat.chunks()?.iter() {
            let entries: BytesReader = self.read(*chunk.ofs_chunk()?, 8 * *chunk.num_payload_blocks()?)?.into();
            for n in 0..*chunk.num_payload_blocks()? {
                let entry: OptRc<Vhdx_BatPayloadEntry> = self.parse(&entries)?;
                let used = left.min((*bat.len_block()).into());
                self.copy_block(&format!("block {}", *chunk.first_block()? + n), &entry, used, &regions, out)?;
                left -= used;
            }
        }
        Ok(out.flush()?)
    }

    /// Write the first `used` bytes of a block: those of the file, or zeros.
    fn copy_block(
        &self,
        name: &str,
        entry: &Vhdx_BatPayloadEntry,
        used: u64,
        regions: &Places,
        out: &mut impl Write,
    ) -> Result<()> {
        use Vhdx_PayloadState::*;
        match *entry.state() {
            NotPresent | Undefined | Zero | Unmapped => {
                for at in (0..used).step_by(ZEROS.len()) {
                    out.write_all(&ZEROS[..MB.min(used - at) as usize])?;
                }
            }
            FullyPresent => {
                let place = regions.check(name, *entry.ofs_block()?, used)?;
                let mut file = &self.file;
                file.seek(SeekFrom::Start(place.start))?;
                ensure!(io::copy(&mut file.take(used), out)? == used, "{name} is no longer whole");
            }
            ref state => ensure!(false, "{name} is in state {state:?}, which no disk without parent has"),
        }
        Ok(())
    }
}

/// CRC-32C of a structure whose checksum, at offset 4, counts as zero.
fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&bytes[..4]), &[0; 4]), &bytes[8..])
}
