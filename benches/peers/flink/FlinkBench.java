import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.Locale;
import java.util.Map;

import com.sun.management.OperatingSystemMXBean;

import org.apache.flink.api.common.state.State;
import org.apache.flink.api.common.state.StateDescriptor;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.runtime.state.AbstractKeyedStateBackend;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.SharedStateRegistryImpl;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.runtime.state.ttl.TtlTimeProvider;
import org.apache.flink.state.rocksdb.RocksDBKeyedStateBackend;

/** Settings, inputs and timing of the measurements. */
abstract class FlinkBench {

    static final int MAX_PARALLELISM = 128;
    static final int MAP_ENTRIES = 10;
    static final int LIST_VALUES = 100;
    static final int BATCH = 1000;

    final String backendName;
    final String label;
    final int keys;
    final int ops;
    final int appKeys;
    final int events;
    final int warmup;
    final int rounds;
    final long seed;
    final boolean compactReads;
    final FlinkHarness harness;
    final SharedStateRegistryImpl sharedState = new SharedStateRegistryImpl();
    long nextCheckpoint = 1;

    /** Everything read ends up in here, so that the JIT cannot drop a read. */
    static volatile long sink;

    final long[] existing;
    final long[] fresh;
    final long[] values;
    final long[] mapKeys;

    FlinkBench(Map<String, String> opt, FlinkHarness harness) {
        this.harness = harness;
        this.backendName = opt.get("backend");
        this.label =
                backendName + (opt.get("managed-mb").equals("0") ? "" : "+" + opt.get("managed-mb") + "mb");
        this.keys = Integer.parseInt(opt.get("keys"));
        this.ops = Math.min(keys, Integer.parseInt(opt.get("ops")));
        this.appKeys = Integer.parseInt(opt.get("app-keys"));
        this.events = Integer.parseInt(opt.get("events"));
        this.warmup = Integer.parseInt(opt.get("warmup"));
        this.rounds = Integer.parseInt(opt.get("rounds"));
        this.seed = Long.parseLong(opt.get("seed"));
        this.compactReads = Boolean.parseBoolean(opt.get("compact-reads"));
        this.existing = Workload.shuffled(0, keys, seed, Workload.STREAM_EXISTING_KEYS);
        this.fresh = Workload.shuffled(keys, keys, seed, Workload.STREAM_NEW_KEYS);
        this.values = Workload.randomLongs(Math.max(keys, 1_000_000), seed, Workload.STREAM_VALUES);
        this.mapKeys = Workload.shuffled(0, MAP_ENTRIES, seed, Workload.STREAM_MAP_KEYS);
    }

    // ------------------------------------------------------------------ measuring

    interface Body {
        /** Does round number r of the work and returns how many operations that was. */
        long run(int r) throws Exception;
    }

    static final Body NOTHING = r -> 0;

    /** Untimed before, timed work, untimed after; warm-up rounds first; median, least and most. */
    void measure(String op, int keyCount, Body before, Body work, Body after) throws Exception {
        double[] rate = new double[rounds];
        double[] perThread = new double[rounds];
        double[] perProcess = new double[rounds];
        for (int r = 0; r < warmup + rounds; r++) {
            before.run(r);
            long p0 = processCpu();
            long c0 = threadCpu();
            long t0 = System.nanoTime();
            long n = work.run(r);
            long t1 = System.nanoTime();
            long c1 = threadCpu();
            long p1 = processCpu();
            after.run(r);
            double perSecond = n * 1e9 / (t1 - t0);
            System.err.printf(
                    Locale.ROOT, "# %s %s round %d%s: %.0f ops/s%n", backendName, op, r,
                    r < warmup ? " (warm-up)" : "", perSecond);
            if (r >= warmup) {
                rate[r - warmup] = perSecond;
                perThread[r - warmup] = n * 1e9 / Math.max(1, c1 - c0);
                perProcess[r - warmup] = n * 1e9 / Math.max(1, p1 - p0);
            }
        }
        report(op, keyCount, "ops/s", rate);
        print(op, keyCount, "ops/cpu-s", median(perThread));
        print(op, keyCount, "ops/proc-cpu-s", median(perProcess));
    }

    static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();
    static final OperatingSystemMXBean PROCESS =
            (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

    /** CPU nanoseconds of this thread. */
    static long threadCpu() {
        return THREADS.getCurrentThreadCpuTime();
    }

    /** CPU nanoseconds of the whole process: garbage collection, JIT and native threads as well. */
    static long processCpu() {
        return PROCESS.getProcessCpuTime();
    }

    static double median(double[] samples) {
        double[] s = samples.clone();
        Arrays.sort(s);
        return s.length % 2 == 1 ? s[s.length / 2] : (s[s.length / 2 - 1] + s[s.length / 2]) / 2;
    }

    /** The median, under the unit's own name, and the extremes as UNIT.min and UNIT.max. */
    void report(String op, int keyCount, String unit, double[] samples) {
        double[] s = samples.clone();
        Arrays.sort(s);
        print(op, keyCount, unit, median(samples));
        if (s.length > 1) {
            print(op, keyCount, unit + ".min", s[0]);
            print(op, keyCount, unit + ".max", s[s.length - 1]);
        }
    }

    void print(String op, int keyCount, String unit, double value) {
        String v =
                unit.startsWith("ms") || unit.equals("cpu-ms")
                        ? String.format(Locale.ROOT, "%.3f", value)
                        : String.format(Locale.ROOT, "%.0f", value);
        System.out.println(label + "\t" + op + "\t" + keyCount + "\t" + unit + "\t" + v);
        System.out.flush();
    }

    // ------------------------------------------------------------------ backends

    <K> AbstractKeyedStateBackend<K> open(TypeSerializer<K> keySerializer) throws Exception {
        return open(keySerializer, new KeyGroupRange(0, MAX_PARALLELISM - 1), Collections.emptyList());
    }

    <K> AbstractKeyedStateBackend<K> open(
            TypeSerializer<K> keySerializer, KeyGroupRange range, Collection<KeyedStateHandle> from)
            throws Exception {
        return harness.create(keySerializer, MAX_PARALLELISM, range, from, TtlTimeProvider.DEFAULT);
    }

    static <S extends State, T> S state(
            AbstractKeyedStateBackend<?> backend, StateDescriptor<S, T> descriptor) throws Exception {
        return backend.getPartitionedState(
                VoidNamespace.INSTANCE, VoidNamespaceSerializer.INSTANCE, descriptor);
    }

    static void close(AbstractKeyedStateBackend<?> backend) throws Exception {
        backend.close();
        backend.dispose();
    }

    /** Leaves one sorted file per column family where the backend can; returns whether it could. */
    static boolean compact(AbstractKeyedStateBackend<?> backend, StateDescriptor<?, ?> descriptor)
            throws Exception {
        if (backend instanceof RocksDBKeyedStateBackend) {
            ((RocksDBKeyedStateBackend<?>) backend).compactState(descriptor);
            return true;
        }
        return false;
    }

    /** Where in the shuffled keys a round begins: each goes on where the last one stopped. */
    int start(int round) {
        return (int) ((long) round * ops % keys);
    }
}
