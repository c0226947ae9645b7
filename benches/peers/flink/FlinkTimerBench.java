import java.io.File;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.file.Files;
import java.util.List;

import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.runtime.state.AbstractKeyedStateBackend;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyGroupedInternalPriorityQueue;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.runtime.state.ttl.TtlTimeProvider;
import org.apache.flink.streaming.api.operators.TimerHeapInternalTimer;
import org.apache.flink.streaming.api.operators.TimerSerializer;

/**
 * Registers timers, and fires half of them: the inputs of benches/examples/timer_costs.rs. Arguments: heap or rocksdb,
 * uniform or clustered, number of timers.
 */
final class FlinkTimerBench {

    private static final long KEYS = 1_000_000;
    private static final long CLUSTERS = 1_000;
    private static final int GROUPS = 128;
    private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();

    private FlinkTimerBench() {}

    private static TimerHeapInternalTimer<Long, VoidNamespace> timer(boolean clustered, long n) {
        long key = n % KEYS;
        long at =
                clustered
                        ? (Long.remainderUnsigned(Workload.mix64(key), CLUSTERS) + 37 * (n / KEYS)) % CLUSTERS * 60_000
                        : Workload.mix64(n) >>> 20;
        return new TimerHeapInternalTimer<>(at, key, VoidNamespace.INSTANCE);
    }

    private static void print(String backend, String times, String what, long nanos, long number, String unit) {
        System.out.printf("%s %s %s %.3f ns %s%n", backend, times, what, (double) nanos / number, unit);
    }

    public static void main(String[] args) throws Exception {
        String kind = args[0];
        boolean clustered = args[1].equals("clustered");
        long number = Long.parseLong(args[2]);
        File dir = Files.createTempDirectory("flink-timers").toFile();
        try (FlinkHarness harness = new FlinkHarness(kind, dir, 0)) {
            AbstractKeyedStateBackend<Long> backend =
                    harness.create(
                            LongSerializer.INSTANCE,
                            GROUPS,
                            KeyGroupRange.of(0, GROUPS - 1),
                            List.of(),
                            TtlTimeProvider.DEFAULT);
            KeyGroupedInternalPriorityQueue<TimerHeapInternalTimer<Long, VoidNamespace>> queue =
                    backend.create(
                            "timers",
                            new TimerSerializer<>(LongSerializer.INSTANCE, VoidNamespaceSerializer.INSTANCE));
            long cpu = THREADS.getCurrentThreadCpuTime();
            long wall = System.nanoTime();
            for (long n = 0; n < number; n++) {
                queue.add(timer(clustered, n));
            }
            print(kind, args[1], "register", THREADS.getCurrentThreadCpuTime() - cpu, number, "CPU");
            print(kind, args[1], "register", System.nanoTime() - wall, number, "wall");

            cpu = THREADS.getCurrentThreadCpuTime();
            wall = System.nanoTime();
            long fired = 0;
            long last = Long.MIN_VALUE;
            while (fired < number / 2) {
                var head = queue.peek();
                if (head.getTimestamp() < last) {
                    throw new IllegalStateException("out of order");
                }
                last = head.getTimestamp();
                queue.poll();
                fired++;
            }
            print(kind, args[1], "fire", THREADS.getCurrentThreadCpuTime() - cpu, fired, "CPU");
            print(kind, args[1], "fire", System.nanoTime() - wall, fired, "wall");
            backend.dispose();
        } finally {
            FlinkHarness.deleteTree(dir);
        }
    }
}
