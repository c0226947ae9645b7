import java.io.File;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Date;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicInteger;

import org.apache.flink.api.common.serialization.SerializerConfigImpl;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.core.execution.SavepointFormatType;
import org.apache.flink.runtime.jobgraph.JobGraph;
import org.apache.flink.runtime.minicluster.MiniCluster;
import org.apache.flink.runtime.minicluster.MiniClusterConfiguration;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.source.legacy.RichParallelSourceFunction;


/**
 * Makes savepoints with a job on a real cluster within this process, and beside each a file
 * "expected.jsonl": what Flink's own views return of all state at that time, a line per value,
 * element, entry and timer.
 *
 * <p>usage: FlinkSavepoints DIR [NAME], where NAME is one of the savepoints below, default all.
 */
public final class FlinkSavepoints extends SavepointValues {

    /** How a savepoint is made. */
    private static final class Made {
        final String name;
        String backend = "hashmap";
        int maxParallelism = 128;
        int parallelism = 1;
        boolean compressed;
        /** State up to this size is inline in the metadata. */
        String inline = "20kb";
        SavepointFormatType format = SavepointFormatType.CANONICAL;
        /** Also values of all types. */
        boolean types;
        /** Only the operator with long keys. */
        boolean small;
        int keys = 8;

        Made(String name) {
            this.name = name;
        }
    }

    private static List<Made> all() {
        List<Made> all = new ArrayList<>();
        Made m = new Made("heap-128");
        m.types = true;
        all.add(m);
        m = new Made("rocksdb-128");
        m.backend = "rocksdb";
        m.inline = "0kb";
        all.add(m);
        m = new Made("heap-200");
        m.maxParallelism = 200;
        m.parallelism = 3;
        m.compressed = true;
        m.inline = "0kb";
        all.add(m);
        m = new Made("rocksdb-200");
        m.types = true;
        m.backend = "rocksdb";
        m.maxParallelism = 200;
        m.parallelism = 3;
        m.compressed = true;
        all.add(m);
        m = new Made("heap-32768");
        m.maxParallelism = 32768;
        m.parallelism = 3;
        m.small = true;
        all.add(m);
        m = new Made("rocksdb-32768");
        m.backend = "rocksdb";
        m.maxParallelism = 32768;
        m.compressed = true;
        m.small = true;
        all.add(m);
        m = new Made("tiny");
        m.small = true;
        m.keys = 4;
        all.add(m);
        m = new Made("tiny-compressed");
        m.small = true;
        m.keys = 4;
        m.compressed = true;
        m.backend = "rocksdb";
        all.add(m);
        m = new Made("native-heap");
        m.format = SavepointFormatType.NATIVE;
        m.small = true;
        all.add(m);
        m = new Made("native-rocksdb");
        m.backend = "rocksdb";
        m.format = SavepointFormatType.NATIVE;
        m.small = true;
        all.add(m);
        return all;
    }

    /** Lines of "expected.jsonl". The cluster runs in this process. */
    static final List<String> LINES = Collections.synchronizedList(new ArrayList<>());

    static final AtomicInteger DONE = new AtomicInteger();
    static volatile boolean stopped;

    public static void main(String[] args) throws Exception {
        Path dir = Path.of(args[0]);
        for (Made m : all()) {
            if (args.length == 1 || m.name.equals(args[1])) {
                make(m, dir);
            }
        }
        System.exit(0);
    }

    private static void make(Made m, Path dir) throws Exception {
        LINES.clear();
        DONE.set(0);
        stopped = false;
        Path work = Files.createTempDirectory("flink-savepoints-");
        Configuration conf = new Configuration();
        conf.setString("state.backend.type", m.backend);
        conf.setString("execution.checkpointing.data-inline-threshold", m.inline);
        conf.setString("execution.checkpointing.snapshot-compression", String.valueOf(m.compressed));
        conf.setString("execution.checkpointing.savepoint-dir", work.toUri().toString());
        conf.setString("state.backend.rocksdb.memory.managed", "false");
        conf.setString("io.tmp.dirs", work.toString());
        conf.setString("rest.port", "0");
        conf.setString("taskmanager.memory.network.max", "64mb");
        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment(conf);
        env.setParallelism(m.parallelism);
        env.setMaxParallelism(m.maxParallelism);
        ((SerializerConfigImpl) env.getConfig().getSerializerConfig()).registerPojoType(Premium.class);
        int operators = job(env, m);
        JobGraph graph = env.getStreamGraph().getJobGraph();
        MiniClusterConfiguration cluster =
                new MiniClusterConfiguration.Builder()
                        .setConfiguration(conf)
                        .setNumTaskManagers(1)
                        .setNumSlotsPerTaskManager(m.parallelism)
                        .build();
        try (MiniCluster mini = new MiniCluster(cluster)) {
            mini.start();
            var job = mini.submitJob(graph).get().getJobID();
            while (DONE.get() < operators * m.keys) {
                if (mini.getJobStatus(job).get().isGloballyTerminalState()) {
                    throw new IllegalStateException(
                            "the job failed", mini.requestJobResult(job).get().getSerializedThrowable().get());
                }
                Thread.sleep(20);
            }
            String made =
                    mini.triggerSavepoint(job, work.toUri().toString(), false, m.format).get();
            stopped = true;
            mini.cancelJob(job).get();
            mini.requestJobResult(job).get();
            Path to = dir.resolve(m.name);
            FlinkHarness.deleteTree(to.toFile());
            Files.createDirectories(to);
            for (File f : new File(java.net.URI.create(made)).listFiles()) {
                Files.copy(f.toPath(), to.resolve(f.getName()), StandardCopyOption.REPLACE_EXISTING);
            }
            List<String> lines = new ArrayList<>(LINES);
            Collections.sort(lines);
            Files.write(to.resolve("expected.jsonl"), lines);
            System.err.println(m.name + ": " + lines.size() + " lines");
        }
        FlinkHarness.deleteTree(work.toFile());
    }

    /** Returns the number of operators that write state for each of the numbers. */
    private static int job(StreamExecutionEnvironment env, Made m) {
        DataStream<Integer> numbers = env.addSource(new Numbers(m.keys), "numbers", Types.INT).uid("numbers");
        keyed(numbers, "long-keys", Types.LONG, i -> i * 1_000_000_007L - 3, m.types ? 2 : m.small ? 0 : 1, m);
        if (m.small) {
            return 1;
        }
        keyed(numbers, "int-keys", Types.INT, i -> i - 5, 0, m);
        keyed(numbers, "string-keys", Types.STRING, FlinkSavepoints::string, 0, m);
        keyed(numbers, "short-keys", Types.SHORT, i -> (short) (i * 1000 - 2), 0, m);
        keyed(numbers, "byte-keys", Types.BYTE, i -> (byte) (i * 20 - 100), 0, m);
        keyed(numbers, "double-keys", Types.DOUBLE, i -> i / 4.0 - 1, 0, m);
        keyed(numbers, "boolean-keys", Types.BOOLEAN, i -> i % 2 == 0, 0, m);
        keyed(
                numbers,
                "tuple-keys",
                Types.TUPLE(Types.STRING, Types.LONG),
                i -> Tuple2.of("t" + "x".repeat(i * 20), (long) -i),
                0,
                m);
        keyed(numbers, "pojo-keys", Types.POJO(Address.class), i -> new Address("s" + i, i), 0, m);
        return 9;
    }

    private static <K> void keyed(
            DataStream<Integer> numbers, String uid, TypeInformation<K> type, KeyOf<K> keyOf, int extent, Made m) {
        numbers.keyBy(keyOf::of, type)
                .transform("states of " + uid, Types.INT, new AllStates<>(uid, type, keyOf, extent, m.backend.equals("rocksdb")))
                .uid(uid);
    }

    interface KeyOf<K> extends java.io.Serializable {
        K of(int i);
    }

    /** Numbers once, by one of the subtasks; then nothing, until the job is stopped. */
    static final class Numbers extends RichParallelSourceFunction<Integer> {
        private static final long serialVersionUID = 1L;
        private final int count;

        Numbers(int count) {
            this.count = count;
        }

        @Override
        public void run(SourceContext<Integer> out) throws Exception {
            if (getRuntimeContext().getTaskInfo().getIndexOfThisSubtask() == 0) {
                synchronized (out.getCheckpointLock()) {
                    for (int i = 0; i < count; i++) {
                        out.collect(i);
                    }
                }
            }
            while (!stopped) {
                Thread.sleep(10);
            }
        }

        @Override
        public void cancel() {
            stopped = true;
        }
    }

    // ------------------------------------------------------------------ values

    static String string(int i) {
        switch (i) {
            case 0:
                return "";
            case 1:
                return "\0 and \u00e4\u20ac";
            case 2:
                return "\ud83d\ude00 pair";
            case 3:
                return "low \ude00 alone";
            case 4:
                return "high \ud83d";
            case 5:
                return "l".repeat(300);
            default:
                return "key " + i;
        }
    }

    static Account account(int i, boolean trial) {
        Account a = i % 2 == 0 ? new Account() : trial ? new Trial() : new Premium();
        a.id = i;
        a.owner = i % 4 == 0 ? null : string(i);
        if (a instanceof Premium) {
            ((Premium) a).discount = i / 8.0;
        } else if (a instanceof Trial) {
            ((Trial) a).days = -i;
        }
        return a;
    }

    /** A value of each type that Flink has a serializer of its own for, and one that it has none for. */
    static Map<String, Tuple2<TypeInformation<?>, Object>> values(int i) {
        Map<String, Tuple2<TypeInformation<?>, Object>> v = new LinkedHashMap<>();
        v.put("boolean", Tuple2.of(Types.BOOLEAN, i % 2 == 0));
        v.put("byte", Tuple2.of(Types.BYTE, (byte) (i * 23 - 128)));
        v.put("short", Tuple2.of(Types.SHORT, (short) (Short.MIN_VALUE + i)));
        v.put("int", Tuple2.of(Types.INT, Integer.MAX_VALUE - i));
        v.put("long", Tuple2.of(Types.LONG, Long.MIN_VALUE + i));
        v.put("char", Tuple2.of(Types.CHAR, (char) (0xd7f8 + i)));
        v.put("float", Tuple2.of(Types.FLOAT, i == 0 ? Float.NaN : i / -3f));
        v.put("double", Tuple2.of(Types.DOUBLE, i == 0 ? -0.0 : Math.exp(i * 50)));
        v.put("string", Tuple2.of(Types.STRING, string(i)));
        v.put("bytes", Tuple2.of(Types.PRIMITIVE_ARRAY(Types.BYTE), new byte[] {0, (byte) i, -1}));
        v.put("ints", Tuple2.of(Types.PRIMITIVE_ARRAY(Types.INT), new int[] {i, -i}));
        v.put("longs", Tuple2.of(Types.PRIMITIVE_ARRAY(Types.LONG), new long[i % 3]));
        v.put("shorts", Tuple2.of(Types.PRIMITIVE_ARRAY(Types.SHORT), new short[] {(short) i}));
        v.put("floats", Tuple2.of(Types.PRIMITIVE_ARRAY(Types.FLOAT), new float[] {i}));
        v.put("doubles", Tuple2.of(Types.PRIMITIVE_ARRAY(Types.DOUBLE), new double[] {i}));
        v.put("booleans", Tuple2.of(Types.PRIMITIVE_ARRAY(Types.BOOLEAN), new boolean[] {true, i > 5}));
        v.put("chars", Tuple2.of(Types.PRIMITIVE_ARRAY(Types.CHAR), new char[] {'a', (char) i}));
        v.put("strings", Tuple2.of(org.apache.flink.api.common.typeinfo.BasicArrayTypeInfo.STRING_ARRAY_TYPE_INFO, new String[] {string(i), null}));
        v.put("objects", Tuple2.of(Types.OBJECT_ARRAY(Types.LONG), new Long[] {null, (long) i}));
        v.put("bigInteger", Tuple2.of(Types.BIG_INT, BigInteger.valueOf(7).pow(i * 5).negate()));
        v.put("bigZero", Tuple2.of(Types.BIG_INT, BigInteger.valueOf(i % 12)));
        v.put("bigDecimal", Tuple2.of(Types.BIG_DEC, new BigDecimal("123456789.25").movePointLeft(i)));
        v.put("date", Tuple2.of(TypeInformation.of(Date.class), new Date(1_700_000_000_000L + i)));
        v.put("sqlDate", Tuple2.of(Types.SQL_DATE, new java.sql.Date(86_400_000L * i)));
        v.put("sqlTime", Tuple2.of(Types.SQL_TIME, new java.sql.Time(1000L * i)));
        java.sql.Timestamp t = new java.sql.Timestamp(1_700_000_000_123L + i);
        t.setNanos(123_456_000 + i);
        v.put("sqlTimestamp", Tuple2.of(Types.SQL_TIMESTAMP, t));
        v.put("instant", Tuple2.of(Types.INSTANT, Instant.ofEpochSecond(i * -1_000_000_000L, i)));
        v.put("localDate", Tuple2.of(Types.LOCAL_DATE, LocalDate.of(1999 + i, 1 + i % 12, 28)));
        v.put("localTime", Tuple2.of(Types.LOCAL_TIME, LocalTime.of(i, 59, 58, 999_999_999)));
        v.put("localDateTime", Tuple2.of(Types.LOCAL_DATE_TIME, LocalDateTime.of(2024, 2, 29, i, 1, 2, i)));
        v.put("enum", Tuple2.of(Types.ENUM(Color.class), Color.values()[i % 3]));
        v.put("tuple", Tuple2.of(Types.TUPLE(Types.LONG, Types.STRING), Tuple2.of((long) i, "f" + i)));
        v.put("pojo", Tuple2.of(Types.POJO(Account.class), account(i, false)));
        v.put("unregistered", Tuple2.of(Types.POJO(Account.class), account(i, true)));
        v.put("list", Tuple2.of(Types.LIST(Types.STRING), new ArrayList<>(Arrays.asList("a", string(i), "")).subList(0, i % 4)));
        Map<String, Long> map = new LinkedHashMap<>();
        for (int n = 0; n < i % 4; n++) {
            map.put("k" + n, n == 1 ? null : (long) n);
        }
        v.put("map", Tuple2.of(Types.MAP(Types.STRING, Types.LONG), map));
        v.put("row", Tuple2.of(Types.ROW(Types.INT, Types.STRING), org.apache.flink.types.Row.of(i % 2 == 0 ? i : null, "r")));
        v.put("kryo", Tuple2.of(TypeInformation.of(UUID.class), new UUID(i, -i)));
        return v;
    }

    static int group(Object key, int maxParallelism) {
        return KeyGroupRangeAssignment.assignToKeyGroup(key, maxParallelism);
    }
}
