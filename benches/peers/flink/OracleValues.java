import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;

import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.functions.ReduceFunction;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.base.IntSerializer;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.api.common.typeutils.base.StringSerializer;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;

/** What a script is made of: its errors, types, user functions, and how values are printed. */
@SuppressWarnings({"unchecked", "rawtypes"})
abstract class OracleValues {

    /** The script itself is wrong; as opposed to an error which Flink reports. */
    static final class ScriptError extends RuntimeException {
        private static final long serialVersionUID = 1L;

        ScriptError(String message) {
            super(message);
        }
    }

    // ------------------------------------------------------------------ types

    enum Type {
        LONG, INT, STRING, DOUBLE, BOOL, VOID;

        static Type of(String s) {
            for (Type t : values()) {
                if (t.name().toLowerCase().equals(s)) {
                    return t;
                }
            }
            throw new ScriptError("no such type: " + s);
        }

        TypeInformation info() {
            switch (this) {
                case LONG:
                    return Types.LONG;
                case INT:
                    return Types.INT;
                case STRING:
                    return Types.STRING;
                case DOUBLE:
                    return Types.DOUBLE;
                case BOOL:
                    return Types.BOOLEAN;
                default:
                    throw new ScriptError("void is a namespace type only");
            }
        }

        /** For keys and namespaces. */
        TypeSerializer serializer() {
            switch (this) {
                case LONG:
                    return LongSerializer.INSTANCE;
                case INT:
                    return IntSerializer.INSTANCE;
                case STRING:
                    return StringSerializer.INSTANCE;
                case VOID:
                    return VoidNamespaceSerializer.INSTANCE;
                default:
                    throw new ScriptError("keys and namespaces are long, int or string");
            }
        }

        Object parse(String token) {
            if (token.equals("~")) {
                return null;
            }
            switch (this) {
                case LONG:
                    return Long.parseLong(token);
                case INT:
                    return Integer.parseInt(token);
                case STRING:
                    return Tokens.unescape(token);
                case DOUBLE:
                    return token.startsWith("f64:")
                            ? Double.longBitsToDouble(Long.parseUnsignedLong(token.substring(4), 16))
                            : Double.parseDouble(token);
                case BOOL:
                    return Boolean.parseBoolean(token);
                default:
                    return VoidNamespace.INSTANCE;
            }
        }
    }

    static String show(Object o) {
        if (o == null) {
            return "~";
        }
        if (o instanceof String) {
            return Tokens.escape((String) o);
        }
        if (o instanceof Double) {
            return String.format("f64:%016x", Double.doubleToRawLongBits((Double) o));
        }
        if (o instanceof VoidNamespace) {
            return "-";
        }
        if (o instanceof Map.Entry) {
            return show(((Map.Entry) o).getKey()) + "=" + show(((Map.Entry) o).getValue());
        }
        return o.toString();
    }

    static String showList(Iterable<?> it) {
        if (it == null) {
            return "~";
        }
        List<String> out = new ArrayList<>();
        for (Object o : it) {
            out.add(show(o));
        }
        return "[" + String.join(",", out) + "]";
    }

    /** Sorted by the UTF-8 bytes of what is printed. */
    static List<String> sorted(Stream<String> tokens) {
        return tokens.sorted(OracleValues::byUtf8).collect(Collectors.toList());
    }

    static int byUtf8(String a, String b) {
        return Arrays.compareUnsigned(
                a.getBytes(StandardCharsets.UTF_8), b.getBytes(StandardCharsets.UTF_8));
    }

    static Stream<String> shown(Iterable<?> it) {
        List<String> out = new ArrayList<>();
        if (it != null) {
            for (Object o : it) {
                out.add(show(o));
            }
        }
        return out.stream();
    }

    // ------------------------------------------------------------------ user functions

    static final Map<String, ReduceFunction> REDUCERS = new HashMap<>();
    static final Map<String, AggregateFunction> AGGREGATORS = new HashMap<>();
    static final Map<String, TypeInformation> ACCUMULATORS = new HashMap<>();

    static {
        REDUCERS.put("long:sum", (ReduceFunction<Long>) (a, b) -> a + b);
        REDUCERS.put("long:min", (ReduceFunction<Long>) Math::min);
        REDUCERS.put("long:max", (ReduceFunction<Long>) Math::max);
        REDUCERS.put("double:sum", (ReduceFunction<Double>) (a, b) -> a + b);
        REDUCERS.put("string:concat", (ReduceFunction<String>) (a, b) -> a + b);
        AGGREGATORS.put("avg", new FlinkStateBench.Average());
        ACCUMULATORS.put("avg", Types.TUPLE(Types.LONG, Types.LONG));
        AGGREGATORS.put("count", new Count());
        ACCUMULATORS.put("count", Types.LONG);
    }

    static final class Count implements AggregateFunction<Long, Long, Long> {
        private static final long serialVersionUID = 1L;

        @Override
        public Long createAccumulator() {
            return 0L;
        }

        @Override
        public Long add(Long value, Long n) {
            return n + 1;
        }

        @Override
        public Long getResult(Long n) {
            return n;
        }

        @Override
        public Long merge(Long a, Long b) {
            return a + b;
        }
    }
}
