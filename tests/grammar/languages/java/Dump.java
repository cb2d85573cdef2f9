import io.kaitai.struct.KaitaiStruct;
import io.kaitai.struct.RandomAccessFileKaitaiStream;
import java.io.IOException;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.zip.Adler32;

/** {@code java -jar dump.jar FIELDS IMAGE}: what dump.py does, with the Java parser. The format is described there. */
public final class Dump {
    private final Map<String, List<String>> fields = new HashMap<>();
    private final Set<String> failed = new HashSet<>();
    private final String image;
    private List<String> lines;

    /** A value cannot be had; its path. */
    private static final class Failed extends Exception {
        private static final long serialVersionUID = 1L;

        Failed(String path) {
            super(path);
        }
    }

    private Dump(Path fieldsFile, String image) throws IOException {
        this.image = image;
        for (String line : Files.readAllLines(fieldsFile)) {
            String[] words = line.split(" ");
            fields.computeIfAbsent(pascal(words[0]), type -> new ArrayList<>()).add(words[1]);
        }
    }

    public static void main(String[] arguments) throws Exception {
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        Dump dump = new Dump(Path.of(arguments[0]), arguments[1]);
        for (String name : dump.fields.get("Vhdx")) {
            for (String line : dump.linesOf(name)) {
                out.print(line + "\n");
            }
        }
        out.flush();
    }

    private List<String> linesOf(String name) throws Exception {
        while (true) {
            lines = new ArrayList<>();
            try (RandomAccessFileKaitaiStream stream = new RandomAccessFileKaitaiStream(image)) {
                field(new Vhdx(stream), name, "");
                return lines;
            } catch (Failed error) {
                failed.add(error.getMessage());
            }
        }
    }

    private void field(KaitaiStruct owner, String name, String where) throws Exception {
        String path = where + "/" + name;
        if (failed.contains(path)) {
            lines.add(path + " error");
            return;
        }
        Object value;
        try {
            value = owner.getClass().getMethod(camel(name)).invoke(owner);
        } catch (InvocationTargetException error) {
            throw new Failed(path);
        }
        value(value, path);
    }

    private void value(Object value, String path) throws Exception {
        if (value instanceof KaitaiStruct) {
            for (String name : fields.get(value.getClass().getSimpleName())) {
                field((KaitaiStruct) value, name, path);
            }
        } else if (value instanceof List) {
            List<?> items = (List<?>) value;
            lines.add(path + " = " + items.size() + " items");
            for (int i = 0; i < items.size(); i++) {
                if (items.size() > 5000 && i == 4) {
                    i = items.size() - 4;
                }
                value(items.get(i), path + "[" + i + "]");
            }
        } else {
            lines.add(value == null ? path + " none" : path + " = " + plain(value));
        }
    }

    private static String plain(Object value) throws Exception {
        if (value instanceof byte[]) {
            byte[] bytes = (byte[]) value;
            return bytes.length + " bytes " + (bytes.length <= 64 ? HexFormat.of().formatHex(bytes) : adler32(bytes));
        }
        if (value instanceof String) {
            StringBuilder text = new StringBuilder("\"");
            ((String) value).codePoints().forEach(c -> text.append(character(c)));
            return text.append('"').toString();
        }
        return String.valueOf(value instanceof Enum ? value.getClass().getMethod("id").invoke(value) : value);
    }

    private static String character(int c) {
        boolean isPlain = c >= ' ' && c <= '~' && c != '"' && c != '\\';
        return isPlain ? Character.toString(c) : "\\u{" + Integer.toHexString(c) + "}";
    }

    private static String adler32(byte[] bytes) {
        Adler32 sum = new Adler32();
        sum.update(bytes);
        return Long.toString(sum.getValue());
    }

    private static String pascal(String name) {
        StringBuilder found = new StringBuilder();
        for (String word : name.split("_")) {
            found.append(word.substring(0, 1).toUpperCase()).append(word.substring(1));
        }
        return found.toString();
    }

    private static String camel(String name) {
        String text = pascal(name);
        return text.substring(0, 1).toLowerCase() + text.substring(1);
    }
}
