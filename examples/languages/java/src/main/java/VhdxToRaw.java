import io.kaitai.struct.ByteBufferKaitaiStream;
import io.kaitai.struct.KaitaiStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.zip.CRC32C;

/**
 * Copies the virtual disk of a fixed or dynamic VHDX image to standard output: java -jar vhdx-to-raw.jar IMAGE > DISK
 *
 * <p>The parser is generated from vhdx.ksy. Here is what a grammar cannot say: checksums, which copy counts, and what
 * refuses an image. What is written is right, or the exit code is 1. Section numbers are those of [MS-VHDX].
 */
public final class VhdxToRaw {
    private static final int KB = 1 << 10;
    private static final int MB = 1 << 20;
    private static final long TB = 1L << 40;
    private static final byte[] ZEROS = new byte[MB];

    /** Sizes of the known metadata items, by the grammar's names. */
    private static final Map<String, Integer> ITEM_SIZES = Map.of(
            "file parameters", 8, "virtual disk size", 8, "virtual disk ID", 16,
            "logical sector size", 4, "physical sector size", 4, "parent locator", 20);

    private final RandomAccessFile file;
    private final OutputStream out;

    private VhdxToRaw(RandomAccessFile file, OutputStream out) {
        this.file = file;
        this.out = out;
    }

    public static void main(String[] arguments) {
        if (arguments.length != 1) {
            System.err.println("usage: java -jar vhdx-to-raw.jar IMAGE > DISK");
            System.exit(64);
        }
        try (RandomAccessFile file = new RandomAccessFile(arguments[0], "r");
                OutputStream out = new FileOutputStream(FileDescriptor.out)) {
            new VhdxToRaw(file, out).copyDisk();
        } catch (IOException | RuntimeException error) { // Kaitai's own errors are RuntimeExceptions
            System.err.println("vhdx-to-raw: " + arguments[0] + ": " + error.getMessage());
            System.exit(1);
        }
    }

    private static void ensure(boolean holds, String why, Object... details) throws IOException {
        if (!holds) {
            throw new IOException(String.format(why, details));
        }
    }

    private record Place(long start, long end) {}

    /** Stretches of the file by name, from low to high, which do not overlap. Offsets of 2^63 and more are negative. */
    private record Places(long low, long high, Map<String, Place> taken) {
        Places(long low, long high) {
            this(low, high, new LinkedHashMap<>());
        }

        Place check(String name, long start, long length) throws IOException {
            boolean fits = start >= low && length <= high && start <= high - length;
            ensure(fits, "%s, %d bytes at %s, is not between %d and %d",
                    name, length, Long.toUnsignedString(start), low, high);
            for (Map.Entry<String, Place> other : taken.entrySet()) {
                boolean apart = start >= other.getValue().end() || other.getValue().start() >= start + length;
                ensure(apart, "%s at %d overlaps %s", name, start, other.getKey());
            }
            return new Place(start, start + length);
        }

        void add(String name, long start, long length) throws IOException {
            ensure(!taken.containsKey(name), "%s is listed twice", name);
            taken.put(name, check(name, start, length));
        }

        Place get(String name) throws IOException {
            ensure(taken.containsKey(name), "there is no %s", name);
            return taken.get(name);
        }
    }

    /** Exactly these bytes of the file; callers bound the length. */
    private byte[] read(long offset, int length) throws IOException {
        ensure(length <= file.length() && offset <= file.length() - length,
                "%d bytes wanted at %d, the file ends at %d", length, offset, file.length());
        byte[] data = new byte[length];
        file.seek(offset);
        file.readFully(data);
        return data;
    }

    private KaitaiStream stream(long offset, int length) throws IOException {
        return new ByteBufferKaitaiStream(read(offset, length));
    }

    /** Whether a structure has this signature and, its checksum at offset 4 as zero, this CRC-32C. */
    private static boolean isValid(byte[] data, String signature, long checksum) {
        CRC32C crc = new CRC32C();
        crc.update(data, 0, 4);
        crc.update(ZEROS, 0, 4);
        crc.update(data, 8, data.length - 8);
        return new String(data, 0, 4, StandardCharsets.ISO_8859_1).equals(signature) && crc.getValue() == checksum;
    }

    /** Of the valid headers the one with the greater sequence number [2.2.2]. */
    private Vhdx.Header currentHeader() throws IOException {
        Vhdx.Header current = null;
        byte[] currentData = null;
        for (long offset : new long[] {64 * KB, 128 * KB}) {
            byte[] data = read(offset, 4 * KB);
            Vhdx.Header header = new Vhdx.Header(new ByteBufferKaitaiStream(data));
            if (!isValid(data, "head", header.checksum())) {
                continue;
            }
            if (current != null) {
                int order = Long.compareUnsigned(header.sequenceNumber(), current.sequenceNumber());
                ensure(order != 0 || Arrays.equals(data, currentData), "two headers have the sequence number %s",
                        Long.toUnsignedString(header.sequenceNumber()));
                if (order < 0) {
                    continue;
                }
            }
            current = header;
            currentData = data;
        }
        ensure(current != null, "no header has the right signature and checksum");
        ensure(current.version() == 1, "version %d is not known", current.version());
        ensure(Arrays.equals(current.logGuid().raw(), new byte[16]), "the log must be replayed first, which this program cannot do");
        return current;
    }

    /** Where BAT and metadata are, by the first valid region table [2.2.3]. */
    private Places regions() throws IOException {
        Vhdx.RegionTable table = null;
        for (long offset : new long[] {256 * KB, 192 * KB}) {
            byte[] data = read(offset, 64 * KB);
            Vhdx.RegionTable copy = new Vhdx.RegionTable(new ByteBufferKaitaiStream(data));
            if (isValid(data, "regi", copy.checksum())) {
                table = copy;
            }
        }
        ensure(table != null, "no region table has the right signature and checksum");
        ensure(table.numEntries() <= 2047, "%d regions are more than fit in a table", table.numEntries());
        Places regions = new Places(MB, file.length());
        for (Vhdx.RegionTableEntry entry : table.entries()) {
            if (!entry.kind().equals("unknown")) {
                boolean isAligned = entry.ofsRegion() % MB == 0 && entry.lenRegion() % MB == 0;
                ensure(isAligned && entry.lenRegion() > 0, "the place of a region is not aligned");
                regions.add(entry.kind(), entry.ofsRegion(), entry.lenRegion());
            } else {
                ensure(!entry.isRequired(), "a required region is not known");
            }
        }
        return regions;
    }

    /** Where the known metadata items are [2.6.1]. */
    private Places items(Place region) throws IOException {
        Vhdx.MetadataTable table = new Vhdx.MetadataTable(stream(region.start(), 64 * KB));
        boolean isThere = new String(table.magic(), StandardCharsets.ISO_8859_1).equals("metadata");
        ensure(isThere && table.numEntries() <= 2047, "there is no metadata table");
        Places items = new Places(region.start() + 64 * KB, region.end());
        for (Vhdx.MetadataTableEntry entry : table.entries()) {
            Integer size = ITEM_SIZES.get(entry.kind());
            if (size != null) {
                boolean fits = size <= entry.lenItem() && entry.lenItem() <= MB;
                ensure(fits, "%s has %d bytes", entry.kind(), entry.lenItem());
                items.add(entry.kind(), region.start() + entry.ofsItem(), entry.lenItem());
            } else {
                ensure(!entry.isRequired(), "a required metadata item is not known");
            }
        }
        return items;
    }

    /** The table of this disk, whose arithmetic is in the grammar [2.5]. */
    private Vhdx.Bat blockAllocationTable(Places regions) throws IOException {
        Places items = items(regions.get("metadata"));
        var parameters = new Vhdx.FileParametersItem(stream(items.get("file parameters").start(), 8));
        var disk = new Vhdx.VirtualDiskSizeItem(stream(items.get("virtual disk size").start(), 8));
        var logical = new Vhdx.LogicalSectorSizeItem(stream(items.get("logical sector size").start(), 4));
        long block = parameters.lenBlock();
        long size = disk.virtualDiskSize();
        long sector = logical.logicalSectorSize();
        ensure(!parameters.hasParent(), "a differencing disk needs its parent, which this program does not read");
        ensure(MB <= block && block <= 256 * MB && Long.bitCount(block) == 1, "blocks of %d bytes cannot be", block);
        ensure(sector == 512 || sector == 4096, "sectors of %d bytes cannot be", sector);
        boolean isSize = 0 <= size && size <= 64 * TB && size % sector == 0;
        ensure(isSize, "a disk of %s bytes cannot be", Long.toUnsignedString(size));
        return new Vhdx.Bat(stream(0, 0), regions.get("BAT").start(), size, block, sector, false);
    }

    /** Write the whole disk, block by block. */
    private void copyDisk() throws IOException {
        ensure(Arrays.equals(read(0, 8), "vhdxfile".getBytes(StandardCharsets.ISO_8859_1)), "not a VHDX image");
        Vhdx.Header header = currentHeader();
        Places regions = regions();
        Vhdx.Bat bat = blockAllocationTable(regions);
        long batEnd = regions.get("BAT").end();
        long log = header.ofsLog();
        boolean isAligned = log % MB == 0 && header.lenLog() % MB == 0;
        if (isAligned && log >= MB && log <= file.length() - header.lenLog()) {
            regions.taken().put("log", new Place(log, log + header.lenLog())); // elsewhere it is in nobody's way
        }
        if (!bat.chunks().isEmpty()) {
            Vhdx.BatChunk last = bat.chunks().get(bat.chunks().size() - 1);
            boolean fits = last.ofsChunk() + 8 * last.numPayloadBlocks() <= batEnd;
            ensure(fits, "the BAT region is too small for the disk");
        }
        long left = bat.lenDisk();
        for (Vhdx.BatChunk chunk : bat.chunks()) {
            KaitaiStream entries = stream(chunk.ofsChunk(), Math.toIntExact(8 * chunk.numPayloadBlocks()));
            for (long n = 0; n < chunk.numPayloadBlocks(); n++) {
                long used = Math.min(left, bat.lenBlock());
                copyBlock("block " + (chunk.firstBlock() + n), new Vhdx.BatPayloadEntry(entries), used, regions);
                left -= used;
            }
        }
    }

    /** Write the first bytes of a block: those of the file, or zeros. */
    private void copyBlock(String name, Vhdx.BatPayloadEntry entry, long used, Places regions) throws IOException {
        ensure(entry.state() != null, "%s is in a reserved state", name); // Java has no number for what has no name
        switch (entry.state()) {
            case NOT_PRESENT, UNDEFINED, ZERO, UNMAPPED -> {
                for (long at = 0; at < used; at += MB) {
                    out.write(ZEROS, 0, (int) Math.min(MB, used - at));
                }
            }
            case FULLY_PRESENT -> {
                Place place = regions.check(name, entry.ofsBlock(), used);
                for (long at = place.start(); at < place.end(); at += MB) {
                    out.write(read(at, (int) Math.min(MB, place.end() - at)));
                }
            }
            default -> ensure(false, "%s is in state %s, which no disk without parent has", name, entry.state());
        }
    }
}
