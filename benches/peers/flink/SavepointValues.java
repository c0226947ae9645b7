import java.math.BigDecimal;
import java.math.BigInteger;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Date;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;

import org.apache.flink.api.java.tuple.Tuple;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.types.Row;

/** The types of the states in FlinkSavepoints, and how their values are written as JSON. */
public abstract class SavepointValues {

    public enum Color {
        RED,
        GREEN,
        BLUE
    }

    /** A POJO as a field of another. */
    public static class Address {
        public String street;
        public int number;

        public Address() {}

        public Address(String street, int number) {
            this.street = street;
            this.number = number;
        }

        @Override
        public int hashCode() {
            return 31 * street.hashCode() + number;
        }

        @Override
        public boolean equals(Object o) {
            return o instanceof Address
                    && ((Address) o).street.equals(street)
                    && ((Address) o).number == number;
        }
    }

    /** Has a subclass that is registered and one that is not. */
    public static class Account {
        public long id;
        public String owner;

        public Account() {}
    }

    public static class Premium extends Account {
        public double discount;

        public Premium() {}
    }

    public static class Trial extends Account {
        public int days;

        public Trial() {}
    }

    private static final int JSON_START = 32;

    /** One tag per type, as the tests of the reader write them too. */
    static String json(Object o) throws Exception {
        if (o == null || o instanceof VoidNamespace) {
            return "null";
        }
        if (o instanceof Boolean) {
            return tagged("boolean", o);
        }
        if (o instanceof Byte) {
            return tagged("byte", o);
        }
        if (o instanceof Short) {
            return tagged("short", o);
        }
        if (o instanceof Integer) {
            return tagged("int", o);
        }
        if (o instanceof Long) {
            return tagged("long", o);
        }
        if (o instanceof Character) {
            return tagged("char", (int) (Character) o);
        }
        if (o instanceof Float) {
            return tagged("float", Float.floatToRawIntBits((Float) o));
        }
        if (o instanceof Double) {
            return tagged("double", Double.doubleToRawLongBits((Double) o));
        }
        if (o instanceof String) {
            return text((String) o);
        }
        if (o instanceof byte[]) {
            return tagged("bytes", quoted(HexFormat.of().formatHex((byte[]) o)));
        }
        if (o instanceof BigInteger) {
            return tagged("bigInteger", quoted(o.toString()));
        }
        if (o instanceof BigDecimal) {
            BigDecimal d = (BigDecimal) o;
            return tagged("bigDecimal", "[" + quoted(d.unscaledValue().toString()) + "," + d.scale() + "]");
        }
        if (o instanceof java.sql.Timestamp) {
            java.sql.Timestamp t = (java.sql.Timestamp) o;
            return tagged("timestamp", "[" + t.getTime() + "," + t.getNanos() + "]");
        }
        if (o instanceof Date) { // java.sql.Date and java.sql.Time too
            return tagged("date", ((Date) o).getTime());
        }
        if (o instanceof Instant) {
            return tagged(
                    "instant", "[" + ((Instant) o).getEpochSecond() + "," + ((Instant) o).getNano() + "]");
        }
        if (o instanceof LocalDate) {
            return tagged("localDate", quoted(o.toString()));
        }
        if (o instanceof LocalTime) {
            LocalTime t = (LocalTime) o;
            return tagged("localTime", time(t));
        }
        if (o instanceof LocalDateTime) {
            LocalDateTime t = (LocalDateTime) o;
            return tagged(
                    "localDateTime", "[" + quoted(t.toLocalDate().toString()) + "," + time(t.toLocalTime()) + "]");
        }
        if (o instanceof Enum) {
            return tagged("enum", quoted(((Enum<?>) o).name()));
        }
        if (o instanceof TimeWindow) {
            return tagged("window", "[" + ((TimeWindow) o).getStart() + "," + ((TimeWindow) o).getEnd() + "]");
        }
        if (o instanceof Tuple) {
            List<Object> fields = new ArrayList<>();
            for (int i = 0; i < ((Tuple) o).getArity(); i++) {
                fields.add(((Tuple) o).getField(i));
            }
            return tagged("tuple", list(fields));
        }
        if (o instanceof Row) {
            List<Object> fields = new ArrayList<>();
            for (int i = 0; i < ((Row) o).getArity(); i++) {
                fields.add(((Row) o).getField(i));
            }
            return tagged("row", list(fields));
        }
        if (o instanceof Map) {
            TreeMap<String, String> sorted = new TreeMap<>();
            for (Map.Entry<?, ?> e : ((Map<?, ?>) o).entrySet()) {
                sorted.put(json(e.getKey()), json(e.getValue()));
            }
            StringBuilder out = new StringBuilder();
            for (Map.Entry<String, String> e : sorted.entrySet()) {
                out.append(out.length() == 0 ? "" : ",")
                        .append("[" + e.getKey() + "," + e.getValue() + "]");
            }
            return tagged("map", "[" + out + "]");
        }
        if (o instanceof Collection) {
            return tagged("list", list((Collection<?>) o));
        }
        if (o.getClass().isArray()) {
            List<Object> elements = new ArrayList<>();
            for (int i = 0; i < java.lang.reflect.Array.getLength(o); i++) {
                elements.add(java.lang.reflect.Array.get(o, i));
            }
            return tagged("list", list(elements));
        }
        if (o instanceof UUID) { // goes through Kryo
            return tagged("opaque", quoted(o.toString()));
        }
        return tagged("pojo", pojo(o));
    }

    private static String pojo(Object o) throws Exception {
        TreeMap<String, String> fields = new TreeMap<>();
        for (java.lang.reflect.Field f : o.getClass().getFields()) {
            fields.put(f.getName(), json(f.get(o)));
        }
        StringBuilder out = new StringBuilder("{\"class\":" + quoted(o.getClass().getName()));
        for (Map.Entry<String, String> e : fields.entrySet()) {
            out.append(",").append(quoted(e.getKey())).append(":").append(e.getValue());
        }
        return out + "}";
    }

    private static String list(Collection<?> elements) throws Exception {
        StringBuilder out = new StringBuilder();
        for (Object e : elements) {
            out.append(out.length() == 0 ? "" : ",").append(json(e));
        }
        return "[" + out + "]";
    }

    private static String time(LocalTime t) {
        return "[" + t.getHour() + "," + t.getMinute() + "," + t.getSecond() + "," + t.getNano() + "]";
    }

    private static String text(String s) {
        boolean unpaired = false;
        StringBuilder units = new StringBuilder();
        for (int i = 0; i < s.length(); i++) {
            units.append(i == 0 ? "" : ",").append((int) s.charAt(i));
            int c = s.codePointAt(i);
            unpaired |=
                    Character.isSurrogate((char) c)
                            && c < 0x10000
                            && !(i > 0
                                    && Character.isLowSurrogate(s.charAt(i))
                                    && Character.isHighSurrogate(s.charAt(i - 1)));
        }
        return unpaired ? tagged("utf16", "[" + units + "]") : tagged("string", quoted(s));
    }

    static String tagged(String tag, Object value) {
        return "{" + quoted(tag) + ":" + value + "}";
    }

    static String quoted(String s) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : s.toCharArray()) {
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < JSON_START || c > 126) {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        return out.append('"').toString();
    }
}
