import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.RunnableFuture;

import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.api.common.typeutils.base.StringSerializer;
import org.apache.flink.core.execution.SavepointFormatType;
import org.apache.flink.core.fs.CloseableRegistry;
import org.apache.flink.runtime.checkpoint.CheckpointOptions;
import org.apache.flink.runtime.checkpoint.CheckpointType;
import org.apache.flink.runtime.checkpoint.SavepointType;
import org.apache.flink.runtime.state.AbstractKeyedStateBackend;
import org.apache.flink.runtime.state.CheckpointStorageLocationReference;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.SnapshotResult;
import org.apache.flink.streaming.api.operators.StreamOperatorStateHandler;

/** Measures snapshots, restores, rescaling and the footprint of state. */
abstract class FlinkSnapshotBench extends FlinkBench {

    FlinkSnapshotBench(Map<String, String> opt, FlinkHarness harness) {
        super(opt, harness);
    }

    // ------------------------------------------------------------------ snapshots

    private static final CheckpointOptions INCREMENTAL =
            CheckpointOptions.forCheckpointWithDefaultLocation();
    /** Makes an incremental backend write everything anew. */
    private static final CheckpointOptions FULL =
            new CheckpointOptions(
                    CheckpointType.FULL_CHECKPOINT, CheckpointStorageLocationReference.getDefault());

    private static final CheckpointOptions SAVEPOINT =
            new CheckpointOptions(
                    SavepointType.savepoint(SavepointFormatType.CANONICAL),
                    CheckpointStorageLocationReference.getDefault());

    private static final class Checkpoint {
        long id;
        double syncMs;
        double totalMs;
        double cpuMs;
        KeyedStateHandle handle;
    }

    private Checkpoint checkpoint(AbstractKeyedStateBackend<Long> b, CheckpointOptions options)
            throws Exception {
        Checkpoint c = new Checkpoint();
        c.id = nextCheckpoint++;
        var target = harness.target(c.id);
        long p0 = processCpu();
        long t0 = System.nanoTime();
        RunnableFuture<SnapshotResult<KeyedStateHandle>> f = b.snapshot(c.id, c.id, target, options);
        long t1 = System.nanoTime();
        f.run();
        SnapshotResult<KeyedStateHandle> result = f.get();
        long t2 = System.nanoTime();
        c.cpuMs = (processCpu() - p0) / 1e6;
        c.syncMs = (t1 - t0) / 1e6;
        c.totalMs = (t2 - t0) / 1e6;
        complete(b, c, result);
        return c;
    }

    /** What the JobManager does with a finished checkpoint: registers its files and confirms it. */
    private void complete(
            AbstractKeyedStateBackend<Long> b, Checkpoint c, SnapshotResult<KeyedStateHandle> result)
            throws Exception {
        c.handle = result.getJobManagerOwnedSnapshot();
        c.handle.registerSharedStates(sharedState, c.id);
        sharedState.checkpointCompleted(c.id);
        b.notifyCheckpointComplete(c.id);
    }

    /** Deletes a checkpoint's files, which a run with many rounds would pile up otherwise. */
    private void discard(Checkpoint c) throws Exception {
        c.handle.discardState();
        sharedState.unregisterUnusedState(c.id + 1);
    }

    private AbstractKeyedStateBackend<Long> loaded(ValueStateDescriptor<Long> d) throws Exception {
        AbstractKeyedStateBackend<Long> b = open(LongSerializer.INSTANCE);
        ValueState<Long> s = state(b, d);
        for (int i = 0; i < keys; i++) {
            b.setCurrentKey((long) i);
            s.update(values[i]);
        }
        return b;
    }

    void snapshots(Set<String> some) throws Exception {
        boolean incremental = backendName.equals("rocksdb") || backendName.equals("forst");
        // ForSt cannot be told to write everything anew: there a backend's first checkpoint is full
        boolean fullOnlyFirst = backendName.equals("forst");
        CheckpointOptions full = incremental && !fullOnlyFirst ? FULL : INCREMENTAL;
        ValueStateDescriptor<Long> d = new ValueStateDescriptor<>("kvState", Long.class);
        AbstractKeyedStateBackend<Long> b = loaded(d);
        ValueState<Long> s = state(b, d);
        Workload.SplitMix64 touch = new Workload.SplitMix64(seed, Workload.STREAM_TOUCH);
        int onePercent = Math.max(1, keys / 100);
        Checkpoint last = null;

        if (some.contains("ckptFull")) {
            Samples samples = new Samples();
            for (int r = 0; r < warmup + rounds; r++) {
                if (fullOnlyFirst && r > 0) {
                    close(b);
                    b = loaded(d);
                    s = state(b, d);
                }
                touchSome(b, s, touch, onePercent);
                Checkpoint c = checkpoint(b, full);
                samples.put(r, c);
                if (last != null) {
                    discard(last);
                }
                last = c;
            }
            report("ckptFull.sync", keys, "ms", samples.sync);
            report("ckptFull.total", keys, "ms", samples.total);
            print("ckptFull.total", keys, "cpu-ms", median(samples.cpu));
            report("ckptFull", keys, "bytes", samples.bytes);
        }
        if (some.contains("ckptIncr") && incremental) {
            // checkpoints one upon the other, each after an update of 1% of the keys
            Samples samples = new Samples();
            if (last == null) {
                last = checkpoint(b, INCREMENTAL);
            }
            for (int r = 0; r < warmup + rounds; r++) {
                touchSome(b, s, touch, onePercent);
                last = checkpoint(b, INCREMENTAL);
                samples.put(r, last);
            }
            report("ckptIncr.sync", keys, "ms", samples.sync);
            report("ckptIncr.total", keys, "ms", samples.total);
            print("ckptIncr.total", keys, "cpu-ms", median(samples.cpu));
            report("ckptIncr.new", keys, "bytes", samples.bytes);
            report("ckptIncr.state", keys, "bytes", samples.state);
        }
        if (some.contains("savepoint") && !fullOnlyFirst) {
            // the canonical format, which every Flink backend can restore: entry by entry
            Samples samples = new Samples();
            for (int r = 0; r < warmup + rounds; r++) {
                touchSome(b, s, touch, onePercent);
                Checkpoint c = new Checkpoint();
                c.id = nextCheckpoint++;
                var target = harness.target(c.id);
                long p0 = processCpu();
                long t0 = System.nanoTime();
                RunnableFuture<SnapshotResult<KeyedStateHandle>> f =
                        StreamOperatorStateHandler.prepareCanonicalSavepoint(b, new CloseableRegistry())
                                .snapshot(c.id, c.id, target, SAVEPOINT);
                long t1 = System.nanoTime();
                f.run();
                c.handle = f.get().getJobManagerOwnedSnapshot();
                long t2 = System.nanoTime();
                c.cpuMs = (processCpu() - p0) / 1e6;
                c.syncMs = (t1 - t0) / 1e6;
                c.totalMs = (t2 - t0) / 1e6;
                samples.put(r, c);
                c.handle.discardState();
            }
            report("savepoint.sync", keys, "ms", samples.sync);
            report("savepoint.total", keys, "ms", samples.total);
            print("savepoint.total", keys, "cpu-ms", median(samples.cpu));
            report("savepoint", keys, "bytes", samples.bytes);
        }
        if (some.contains("snapshotRun")) {
            snapshotRun(b, s, full);
        }
        if (some.contains("restore") || some.contains("rescaleOut") || some.contains("rescaleIn")) {
            last = checkpoint(b, full);
            Map<Long, Long> sample = new HashMap<>();
            for (int i = 0; i < 1000; i++) {
                long k = existing[i % keys];
                b.setCurrentKey(k);
                sample.put(k, s.value());
            }
            KeyGroupRange all = new KeyGroupRange(0, MAX_PARALLELISM - 1);
            KeyGroupRange low = new KeyGroupRange(0, MAX_PARALLELISM / 2 - 1);
            KeyGroupRange high = new KeyGroupRange(MAX_PARALLELISM / 2, MAX_PARALLELISM - 1);
            if (some.contains("restore")) {
                restoring("restore", all, List.of(last.handle), d, sample);
            }
            if (some.contains("rescaleOut")) {
                restoring("rescaleOut", low, List.of(last.handle.getIntersection(low)), d, sample);
            }
            if (some.contains("rescaleIn")) {
                List<KeyedStateHandle> halves = new ArrayList<>();
                for (KeyGroupRange half : List.of(low, high)) {
                    AbstractKeyedStateBackend<Long> h =
                            open(LongSerializer.INSTANCE, half, List.of(last.handle.getIntersection(half)));
                    state(h, d);
                    halves.add(checkpoint(h, full).handle);
                    close(h);
                }
                restoring("rescaleIn", all, halves, d, sample);
            }
        }
        close(b);
    }

    private final class Samples {
        final double[] sync = new double[rounds];
        final double[] total = new double[rounds];
        final double[] cpu = new double[rounds];
        final double[] bytes = new double[rounds];
        final double[] state = new double[rounds];

        void put(int round, Checkpoint c) {
            int i = round - warmup;
            if (i >= 0) {
                sync[i] = c.syncMs;
                total[i] = c.totalMs;
                cpu[i] = c.cpuMs;
                bytes[i] = c.handle.getCheckpointedSize();
                state[i] = c.handle.getStateSize();
            }
        }
    }

    private void touchSome(
            AbstractKeyedStateBackend<Long> b, ValueState<Long> s, Workload.SplitMix64 touch, int n)
            throws Exception {
        for (int i = 0; i < n; i++) {
            b.setCurrentKey((long) touch.below(keys));
            s.update(touch.next());
        }
    }

    /** From handles to a backend that has answered its first read. */
    private void restoring(
            String op,
            KeyGroupRange range,
            List<KeyedStateHandle> from,
            ValueStateDescriptor<Long> d,
            Map<Long, Long> sample)
            throws Exception {
        double[] ms = new double[rounds];
        double[] cpu = new double[rounds];
        for (int r = 0; r < warmup + rounds; r++) {
            long p0 = processCpu();
            long t0 = System.nanoTime();
            AbstractKeyedStateBackend<Long> b = open(LongSerializer.INSTANCE, range, from);
            ValueState<Long> s = state(b, d);
            b.setCurrentKeyAndKeyGroup(0L, range.getStartKeyGroup());
            sink = s.value() == null ? 0 : 1;
            long t1 = System.nanoTime();
            if (r >= warmup) {
                ms[r - warmup] = (t1 - t0) / 1e6;
                cpu[r - warmup] = (processCpu() - p0) / 1e6;
            }
            for (Map.Entry<Long, Long> e : sample.entrySet()) {
                int group = KeyGroupRangeAssignment.assignToKeyGroup(e.getKey(), MAX_PARALLELISM);
                if (!range.contains(group)) {
                    continue;
                }
                b.setCurrentKey(e.getKey());
                if (!e.getValue().equals(s.value())) {
                    throw new IllegalStateException(op + " lost key " + e.getKey());
                }
            }
            close(b);
        }
        report(op, keys, "ms", ms);
        print(op, keys, "cpu-ms", median(cpu));
    }

    /** Updates go on while a snapshot's asynchronous part runs in another thread. */
    private void snapshotRun(AbstractKeyedStateBackend<Long> b, ValueState<Long> s, CheckpointOptions options)
            throws Exception {
        ExecutorService pool =
                Executors.newSingleThreadExecutor(
                        r -> {
                            Thread t = new Thread(r, "async-checkpoint");
                            t.setDaemon(true);
                            return t;
                        });
        double[] baseRate = new double[rounds];
        double[] baseWorst = new double[rounds];
        double[] rate = new double[rounds];
        double[] worst = new double[rounds];
        double[] sync = new double[rounds];
        double[] async = new double[rounds];
        int[] at = {0};
        int baseBatches = Math.max(1, keys / BATCH);
        for (int r = 0; r < warmup + rounds; r++) {
            long max = 0;
            long t0 = System.nanoTime();
            for (int i = 0; i < baseBatches; i++) {
                max = Math.max(max, updateBatch(b, s, at));
            }
            long t1 = System.nanoTime();

            Checkpoint c = new Checkpoint();
            c.id = nextCheckpoint++;
            var target = harness.target(c.id);
            long t2 = System.nanoTime();
            RunnableFuture<SnapshotResult<KeyedStateHandle>> f = b.snapshot(c.id, c.id, target, options);
            long t3 = System.nanoTime();
            long[] done = new long[1];
            Future<?> running = pool.submit(() -> {
                f.run();
                done[0] = System.nanoTime();
            });
            long maxDuring = 0;
            long batches = 0;
            do {
                maxDuring = Math.max(maxDuring, updateBatch(b, s, at));
                batches++;
            } while (!running.isDone());
            long t4 = System.nanoTime();
            running.get();
            complete(b, c, f.get());
            if (!backendName.equals("forst")) { // where the next one builds upon this one
                discard(c);
            }
            if (r >= warmup) {
                int i = r - warmup;
                baseRate[i] = baseBatches * (double) BATCH * 1e9 / (t1 - t0);
                baseWorst[i] = max / 1e6;
                rate[i] = batches * (double) BATCH * 1e9 / (t4 - t3);
                worst[i] = maxDuring / 1e6;
                sync[i] = (t3 - t2) / 1e6;
                async[i] = (done[0] - t3) / 1e6;
            }
        }
        pool.shutdown();
        report("snapshotRun.before", keys, "ops/s", baseRate);
        report("snapshotRun.during", keys, "ops/s", rate);
        report("snapshotRun.before.worstBatch", keys, "ms", baseWorst);
        report("snapshotRun.during.worstBatch", keys, "ms", worst);
        report("snapshotRun.sync", keys, "ms", sync);
        report("snapshotRun.async", keys, "ms", async);
    }

    private long updateBatch(AbstractKeyedStateBackend<Long> b, ValueState<Long> s, int[] at) throws Exception {
        int p = at[0];
        long t0 = System.nanoTime();
        for (int i = 0; i < BATCH; i++) {
            b.setCurrentKey(existing[p]);
            s.update(values[p]);
            p = p + 1 == keys ? 0 : p + 1;
        }
        long t1 = System.nanoTime();
        at[0] = p;
        return t1 - t0;
    }

    // ------------------------------------------------------------------ footprint

    /** Memory (Java heap after a collection) and disk (the database's files) per state. */
    void footprint() throws Exception {
        long before = usedHeap();
        AbstractKeyedStateBackend<Long> b = open(LongSerializer.INSTANCE);
        ValueState<Long> s = state(b, new ValueStateDescriptor<>("kvState", Long.class));
        for (int i = 0; i < keys; i++) {
            b.setCurrentKey((long) i);
            s.update(values[i]);
        }
        if (backendName.equals("heap")) {
            print("footprint.longLong.heap", keys, "bytes", Math.max(0, usedHeap() - before));
        } else {
            checkpoint(b, INCREMENTAL); // flushes
            print("footprint.longLong.disk", keys, "bytes", harness.databaseBytes());
        }
        close(b);
        b = null;
        s = null;

        before = usedHeap();
        AbstractKeyedStateBackend<String> w = open(StringSerializer.INSTANCE);
        ValueState<Long> count = state(w, new ValueStateDescriptor<>("count", Long.class));
        for (int i = 0; i < appKeys; i++) {
            w.setCurrentKey(Workload.urlKey(i));
            count.update((long) i);
        }
        if (backendName.equals("heap")) {
            print("footprint.urlLong.heap", appKeys, "bytes", Math.max(0, usedHeap() - before));
        } else {
            w.snapshot(nextCheckpoint, nextCheckpoint, harness.target(nextCheckpoint), INCREMENTAL).run();
            nextCheckpoint++;
            print("footprint.urlLong.disk", appKeys, "bytes", harness.databaseBytes());
        }
        close(w);
    }

    private static long usedHeap() throws InterruptedException {
        for (int i = 0; i < 3; i++) {
            System.gc();
            Thread.sleep(50);
        }
        Runtime r = Runtime.getRuntime();
        return r.totalMemory() - r.freeMemory();
    }
}
