import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.RunnableFuture;
import java.util.stream.Collectors;
import java.util.stream.Stream;

import org.apache.flink.api.common.state.AggregatingStateDescriptor;
import org.apache.flink.api.common.state.AppendingState;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.state.ReducingStateDescriptor;
import org.apache.flink.api.common.state.State;
import org.apache.flink.api.common.state.StateDescriptor;
import org.apache.flink.api.common.state.StateTtlConfig;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.core.execution.SavepointFormatType;
import org.apache.flink.core.fs.CloseableRegistry;
import org.apache.flink.runtime.checkpoint.CheckpointOptions;
import org.apache.flink.runtime.checkpoint.SavepointType;
import org.apache.flink.runtime.checkpoint.StateAssignmentOperation;
import org.apache.flink.runtime.state.AbstractKeyedStateBackend;
import org.apache.flink.runtime.state.CheckpointStorageLocationReference;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.runtime.state.KeyGroupedInternalPriorityQueue;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.SharedStateRegistryImpl;
import org.apache.flink.runtime.state.SnapshotResult;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.internal.InternalKvState;
import org.apache.flink.runtime.state.internal.InternalMergingState;
import org.apache.flink.streaming.api.operators.StreamOperatorStateHandler;
import org.apache.flink.streaming.api.operators.TimerHeapInternalTimer;
import org.apache.flink.streaming.api.operators.TimerSerializer;
import org.apache.flink.util.CloseableIterator;

/**
 * Runs a script of keyed state operations against a real Flink backend and prints what every read
 * returns, one line each: "LINE_NUMBER TAB RESULT". conformance-tests/README.md describes the language.
 *
 * <p>usage: FlinkOracle KIND [SCRIPT], to standard output (default: stdin); or FlinkOracle KIND
 * --each SCRIPT..., each into a file of its own, SCRIPT.KIND. KIND: heap, rocksdb, rocksdb-full or
 * forst.
 */
@SuppressWarnings({"unchecked", "rawtypes"})
public final class FlinkOracle extends OracleValues {

    // ------------------------------------------------------------------ declarations

    private static final class Declared {
        String kind;
        Type value; // element, map value, input of reduce and agg
        Type mapKey;
        Type namespace = Type.VOID;
        StateDescriptor descriptor;
    }

    private final Map<String, Declared> declared = new HashMap<>();
    private final Map<String, Type> timerQueues = new HashMap<>();

    // ------------------------------------------------------------------ the parallel operator

    private static final class Subtask {
        AbstractKeyedStateBackend backend;
        final Map<String, InternalKvState> states = new HashMap<>();
        final Map<String, KeyGroupedInternalPriorityQueue> queues = new HashMap<>();
    }

    private static final class Snapshot {
        List<KeyedStateHandle> handles = new ArrayList<>();
    }

    private static final class Running {
        long id;
        List<RunnableFuture<SnapshotResult<KeyedStateHandle>>> parts = new ArrayList<>();
    }

    private final FlinkHarness harness;
    private final PrintStream out;
    private SharedStateRegistryImpl sharedState = new SharedStateRegistryImpl();
    private final Map<String, Snapshot> snapshots = new HashMap<>();
    private final Map<String, Running> running = new LinkedHashMap<>();
    private final Map<String, Long> checkpointIds = new HashMap<>();
    private long nextCheckpoint = 1;
    private List<Subtask> subtasks = new ArrayList<>();
    private Type keyType;
    private int maxParallelism;
    private long now;
    private Object key;
    private Subtask current;
    private String namespace = "-";
    private int line;

    private FlinkOracle(FlinkHarness harness, PrintStream out) {
        this.harness = harness;
        this.out = out;
    }

    public static void main(String[] args) throws Exception {
        String kind = args.length > 0 ? args[0] : "heap";
        int status = 0;
        if (args.length > 1 && args[1].equals("--each")) {
            for (String script : Arrays.asList(args).subList(2, args.length)) {
                status = Math.max(status, answer(kind, script));
            }
        } else {
            PrintStream out = new PrintStream(System.out, false, "UTF-8");
            try (BufferedReader in =
                    args.length > 1
                            ? Files.newBufferedReader(Path.of(args[1]))
                            : new BufferedReader(
                                    new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
                status = run(kind, in, out);
            }
            out.flush();
        }
        System.exit(status);
    }

    /** Answers a script in a file beside it, which is there when it is whole. */
    private static int answer(String kind, String script) throws Exception {
        Path unfinished = Path.of(script + "." + kind + ".unfinished");
        int status;
        try (BufferedReader in = Files.newBufferedReader(Path.of(script));
                PrintStream out = new PrintStream(unfinished.toFile(), "UTF-8")) {
            status = run(kind, in, out);
            if (out.checkError()) {
                throw new IOException("cannot write " + unfinished);
            }
        }
        if (status == 0) {
            Path whole = Path.of(script + "." + kind);
            Files.move(unfinished, whole, StandardCopyOption.ATOMIC_MOVE);
        }
        return status;
    }

    private static int run(String kind, BufferedReader in, PrintStream out) throws Exception {
        File dir = Files.createTempDirectory("flink-oracle-").toFile();
        int status = 0;
        try (FlinkHarness h = new FlinkHarness(kind, dir, 0)) {
            FlinkOracle oracle = new FlinkOracle(h, out);
            try {
                for (String s = in.readLine(); s != null; s = in.readLine()) {
                    oracle.line(s);
                }
            } catch (ScriptError | NumberFormatException | IndexOutOfBoundsException e) {
                out.flush();
                System.err.println("script line " + oracle.line + ": " + e.getMessage());
                status = 2;
            }
            oracle.stop();
        }
        return status;
    }

    private void line(String text) throws Exception {
        line++;
        String s = text.strip();
        if (s.isEmpty() || s.startsWith("#")) {
            return;
        }
        String[] w = s.split("[ \t]+");
        String result;
        try {
            result = run(w);
        } catch (ScriptError | NumberFormatException | IndexOutOfBoundsException e) {
            throw e;
        } catch (Exception e) {
            result = "! " + e.getClass().getSimpleName();
            if (Boolean.getBoolean("oracle.trace")) {
                e.printStackTrace();
            }
        }
        if (result != null) {
            out.print(line + "\t" + result + "\n");
        }
    }

    /** Returns what to print; null for a command that prints nothing. */
    private String run(String[] w) throws Exception {
        if (keyType == null && !List.of("init", "state", "timers", "backend", "echo").contains(w[0])) {
            throw new ScriptError("init comes first");
        }
        switch (w[0]) {
            case "init":
                keyType = Type.of(w[1]);
                keyType.serializer();
                maxParallelism = Integer.parseInt(w[2]);
                start(w.length > 3 ? Integer.parseInt(w[3]) : 1, null);
                return null;
            case "state":
                declare(w);
                return null;
            case "timers":
                timerQueues.put(w[1], w.length > 2 ? Type.of(option(w[2], "ns")) : Type.VOID);
                return null;
            case "echo":
                return String.join(" ", Arrays.copyOfRange(w, 1, w.length));
            case "key":
                setKey(keyType.parse(w[1]));
                return null;
            case "ns":
                namespace = w[1];
                return null;
            case "now":
                now = Long.parseLong(w[1]);
                return null;
            case "group":
                return KeyGroupRangeAssignment.assignToKeyGroup(key, maxParallelism)
                        + "@"
                        + subtasks.indexOf(current);
            case "backend":
                harness.use(w[1]);
                return null;
            case "fresh":
                start(w.length > 1 ? Integer.parseInt(w[1]) : subtasks.size(), null);
                return null;
            case "restore":
                start(subtasks.size(), snapshot(w[1]));
                return null;
            case "rescale":
                start(Integer.parseInt(w[2]), snapshot(w[1]));
                return null;
            case "snapshot":
                begin(w[1], false);
                end(w[1]);
                complete(w[1]);
                return null;
            case "snapshot.begin":
                begin(w[1], false);
                return null;
            case "snapshot.end":
                end(w[1]);
                return null;
            case "snapshot.cancel":
                for (RunnableFuture<?> f : running.remove(w[1]).parts) {
                    f.cancel(true);
                }
                return null;
            case "savepoint":
                begin(w[1], true);
                end(w[1]);
                return null;
            case "notify.complete":
                complete(w[1]);
                return null;
            case "notify.aborted":
                for (Subtask t : subtasks) {
                    t.backend.notifyCheckpointAborted(checkpointIds.get(w[1]));
                }
                return null;
            case "timer.add":
                queue(current, w[1]).add(timer(w));
                return null;
            case "timer.remove":
                queue(current, w[1]).remove(timer(w));
                return null;
            case "timer.list":
                return timers(w[1], null);
            case "timer.iterate":
                return iterate(w[1]);
            case "timer.fire":
                return timers(w[1], Long.parseLong(w[2]));
            default:
                return stateOperation(w);
        }
    }

    private String stateOperation(String[] w) throws Exception {
        if (w.length < 2) {
            throw new ScriptError("unknown command: " + w[0]);
        }
        Declared d = declared.get(w[1]);
        if (d == null) {
            throw new ScriptError("no such state or command: " + String.join(" ", w));
        }
        int dot = w[0].indexOf('.');
        if (dot > 0 && !w[0].startsWith("foreach.") && !w[0].substring(0, dot).equals(d.kind)) {
            throw new ScriptError(w[1] + " is of kind " + d.kind);
        }
        switch (w[0]) {
            case "value.get":
                return show(this.<ValueState>at(d, w[1]).value());
            case "value.update":
                this.<ValueState>at(d, w[1]).update(d.value.parse(w[2]));
                return null;
            case "list.get":
                return showList((Iterable<?>) this.<ListState>at(d, w[1]).get());
            case "list.add":
                this.<ListState>at(d, w[1]).add(d.value.parse(w[2]));
                return null;
            case "list.addAll":
                this.<ListState>at(d, w[1]).addAll(all(d, w));
                return null;
            case "list.update":
                this.<ListState>at(d, w[1]).update(all(d, w));
                return null;
            case "map.get":
                return show(this.<MapState>at(d, w[1]).get(d.mapKey.parse(w[2])));
            case "map.contains":
                return show(this.<MapState>at(d, w[1]).contains(d.mapKey.parse(w[2])));
            case "map.isEmpty":
                return show(this.<MapState>at(d, w[1]).isEmpty());
            case "map.put":
                this.<MapState>at(d, w[1]).put(d.mapKey.parse(w[2]), d.value.parse(w[3]));
                return null;
            case "map.putAll":
                Map<Object, Object> m = new LinkedHashMap<>();
                for (int i = 2; i < w.length; i += 2) {
                    m.put(d.mapKey.parse(w[i]), d.value.parse(w[i + 1]));
                }
                this.<MapState>at(d, w[1]).putAll(m);
                return null;
            case "map.remove":
                this.<MapState>at(d, w[1]).remove(d.mapKey.parse(w[2]));
                return null;
            case "map.keys":
                return bracket("[", sorted(shown(this.<MapState>at(d, w[1]).keys())), "]");
            case "map.values":
                return bracket("[", sorted(shown(this.<MapState>at(d, w[1]).values())), "]");
            case "map.entries":
                return bracket("{", sorted(shown(this.<MapState>at(d, w[1]).entries())), "}");
            case "reduce.add":
            case "agg.add":
                this.<AppendingState>at(d, w[1]).add(d.value.parse(w[2]));
                return null;
            case "reduce.get":
            case "agg.get":
                return show(this.<AppendingState>at(d, w[1]).get());
            case "clear":
                this.<State>at(d, w[1]).clear();
                return null;
            case "merge":
                List<Object> sources = new ArrayList<>();
                for (int i = 3; i < w.length; i++) {
                    sources.add(d.namespace.parse(w[i]));
                }
                ((InternalMergingState) register(current, w[1]))
                        .mergeNamespaces(d.namespace.parse(w[2]), sources);
                return null;
            case "keys":
                return bracket("[", keys(d, w[1]), "]");
            case "dump":
                return bracket("{", dump(d, w[1]), "}");
            case "foreach.clear":
                for (Subtask t : subtasks) {
                    register(t, w[1]);
                    t.backend.applyToAllKeys(
                            ns(d), d.namespace.serializer(), d.descriptor, (k, s) -> s.clear());
                    rekey(t);
                }
                return null;
            default:
                throw new ScriptError("unknown command: " + w[0]);
        }
    }

    private static String bracket(String open, List<String> items, String close) {
        return open + String.join(",", items) + close;
    }

    private static String option(String token, String name) {
        if (!token.startsWith(name + "=")) {
            throw new ScriptError("expected " + name + "=..., not " + token);
        }
        return token.substring(name.length() + 1);
    }

    // ------------------------------------------------------------------ states

    private void declare(String[] w) {
        Declared d = new Declared();
        String name = w[1];
        d.kind = w[2];
        int next = 4;
        String fn = null;
        switch (d.kind) {
            case "value":
            case "list":
                d.value = Type.of(w[3]);
                break;
            case "map":
                d.mapKey = Type.of(w[3]);
                d.value = Type.of(w[4]);
                next = 5;
                break;
            case "reduce":
                d.value = Type.of(w[3]);
                fn = w[3] + ":" + w[4];
                next = 5;
                break;
            case "agg":
                d.value = Type.LONG;
                fn = w[3];
                break;
            default:
                throw new ScriptError("no such kind of state: " + d.kind);
        }
        Map<String, String> opt = new HashMap<>();
        for (int i = next; i < w.length; i++) {
            int eq = w[i].indexOf('=');
            if (eq < 1) {
                throw new ScriptError("expected OPTION=VALUE, not " + w[i]);
            }
            opt.put(w[i].substring(0, eq), w[i].substring(eq + 1));
        }
        switch (d.kind) {
            case "value":
                d.descriptor =
                        opt.containsKey("default")
                                ? new ValueStateDescriptor(
                                        name, d.value.info(), d.value.parse(opt.get("default")))
                                : new ValueStateDescriptor(name, d.value.info());
                break;
            case "list":
                d.descriptor = new ListStateDescriptor(name, d.value.info());
                break;
            case "map":
                d.descriptor = new MapStateDescriptor(name, d.mapKey.info(), d.value.info());
                break;
            case "reduce":
                if (!REDUCERS.containsKey(fn)) {
                    throw new ScriptError("no such reducer: " + fn);
                }
                d.descriptor = new ReducingStateDescriptor(name, REDUCERS.get(fn), d.value.info());
                break;
            default:
                if (!AGGREGATORS.containsKey(fn)) {
                    throw new ScriptError("no such aggregator: " + fn);
                }
                d.descriptor =
                        new AggregatingStateDescriptor(name, AGGREGATORS.get(fn), ACCUMULATORS.get(fn));
        }
        if (opt.containsKey("ns")) {
            d.namespace = Type.of(opt.get("ns"));
        }
        if (opt.containsKey("ttl")) {
            StateTtlConfig.Builder b =
                    StateTtlConfig.newBuilder(Duration.ofMillis(Long.parseLong(opt.get("ttl"))))
                            .disableCleanupInBackground();
            switch (opt.getOrDefault("update", "write")) {
                case "write":
                    b.updateTtlOnCreateAndWrite();
                    break;
                case "read":
                    b.updateTtlOnReadAndWrite();
                    break;
                default:
                    throw new ScriptError("update: write or read");
            }
            switch (opt.getOrDefault("visibility", "never")) {
                case "never":
                    b.neverReturnExpired();
                    break;
                case "return":
                    b.returnExpiredIfNotCleanedUp();
                    break;
                default:
                    throw new ScriptError("visibility: never or return");
            }
            d.descriptor.enableTimeToLive(b.build());
        }
        declared.put(name, d);
        for (Subtask t : subtasks) {
            t.states.remove(name);
        }
    }

    /** A state is registered with its backend when a subtask first uses it. */
    private InternalKvState register(Subtask t, String name) throws Exception {
        if (t == null) {
            throw new NullPointerException("no key set");
        }
        InternalKvState s = t.states.get(name);
        if (s == null) {
            Declared d = declared.get(name);
            s = (InternalKvState) t.backend.getOrCreateKeyedState(d.namespace.serializer(), d.descriptor);
            t.states.put(name, s);
        }
        return s;
    }

    private Object ns(Declared d) {
        return d.namespace == Type.VOID ? VoidNamespace.INSTANCE : d.namespace.parse(namespace);
    }

    /** The state of the current key and namespace. */
    private <S> S at(Declared d, String name) throws Exception {
        InternalKvState s = register(current, name);
        s.setCurrentNamespace(ns(d));
        return (S) s;
    }

    private static List<Object> all(Declared d, String[] w) {
        List<Object> v = new ArrayList<>();
        for (int i = 2; i < w.length; i++) {
            v.add(d.value.parse(w[i]));
        }
        return v;
    }

    private void setKey(Object k) {
        int i =
                KeyGroupRangeAssignment.assignKeyToParallelOperator(
                        k, maxParallelism, subtasks.size());
        subtasks.get(i).backend.setCurrentKey(k);
        key = k;
        current = subtasks.get(i);
    }

    /** Gives a subtask its key back after a walk over all of its keys. */
    private void rekey(Subtask t) {
        if (t == current && key != null) {
            t.backend.setCurrentKey(key);
        }
    }

    private List<String> keys(Declared d, String name) throws Exception {
        TreeSet<String> found = new TreeSet<>(FlinkOracle::byUtf8);
        for (Subtask t : subtasks) {
            register(t, name);
            try (Stream<Object> s = t.backend.getKeys(name, ns(d))) {
                s.forEach(k -> found.add(show(k)));
            }
        }
        return new ArrayList<>(found);
    }

    private List<String> dump(Declared d, String name) throws Exception {
        List<String> found = new ArrayList<>();
        for (Subtask t : subtasks) {
            InternalKvState s = register(t, name);
            Collection<Tuple2<Object, Object>> all;
            try (Stream<Tuple2<Object, Object>> st = t.backend.getKeysAndNamespaces(name)) {
                all = st.collect(Collectors.toCollection(java.util.LinkedHashSet::new));
            }
            for (Tuple2<Object, Object> kn : all) {
                t.backend.setCurrentKey(kn.f0);
                s.setCurrentNamespace(kn.f1);
                String content = content(d, s);
                if (content != null) {
                    found.add(show(kn.f0) + "@" + show(kn.f1) + ":" + content);
                }
            }
            rekey(t);
        }
        return sorted(found.stream());
    }

    private static String content(Declared d, Object s) throws Exception {
        switch (d.kind) {
            case "value":
                return present(((ValueState) s).value());
            case "list":
                Object list = ((ListState) s).get();
                String shown = showList((Iterable<?>) list);
                return shown.equals("~") || shown.equals("[]") ? null : shown;
            case "map":
                List<String> entries = sorted(shown(((MapState) s).entries()));
                return entries.isEmpty() ? null : bracket("{", entries, "}");
            default:
                return present(((AppendingState) s).get());
        }
    }

    private static String present(Object o) {
        return o == null ? null : show(o);
    }

    // ------------------------------------------------------------------ timers

    private KeyGroupedInternalPriorityQueue queue(Subtask t, String name) {
        Type ns = timerQueues.get(name);
        if (ns == null) {
            throw new ScriptError("no such timer queue: " + name);
        }
        if (t == null) {
            throw new NullPointerException("no key set");
        }
        return t.queues.computeIfAbsent(
                name,
                n ->
                        t.backend.create(
                                n, new TimerSerializer(keyType.serializer(), ns.serializer())));
    }

    private TimerHeapInternalTimer timer(String[] w) {
        Type ns = timerQueues.get(w[1]);
        return new TimerHeapInternalTimer(
                Long.parseLong(w[2]), key, ns == Type.VOID ? VoidNamespace.INSTANCE : ns.parse(namespace));
    }

    /**
     * Polls the timers that are due by "until"; or all of them if that is null, and puts them back.
     * (The queues' own iterator is no way to list them: see "timer.iterate".)
     */
    private String timers(String name, Long until) throws Exception {
        List<TimerHeapInternalTimer> found = new ArrayList<>();
        for (Subtask t : subtasks) {
            KeyGroupedInternalPriorityQueue<TimerHeapInternalTimer> q = queue(t, name);
            List<TimerHeapInternalTimer> mine = new ArrayList<>();
            for (TimerHeapInternalTimer x = q.peek();
                    x != null && (until == null || x.getTimestamp() <= until);
                    x = q.peek()) {
                mine.add(q.poll());
            }
            if (until == null) {
                q.addAll(mine);
            }
            found.addAll(mine);
        }
        return showTimers(found);
    }

    private String iterate(String name) throws Exception {
        List<TimerHeapInternalTimer> found = new ArrayList<>();
        for (Subtask t : subtasks) {
            KeyGroupedInternalPriorityQueue<TimerHeapInternalTimer> q = queue(t, name);
            try (CloseableIterator<TimerHeapInternalTimer> it = q.iterator()) {
                it.forEachRemaining(found::add);
            }
        }
        return showTimers(found);
    }

    private static String showTimers(List<TimerHeapInternalTimer> found) {
        found.sort(
                (a, b) -> {
                    int c = Long.compare(a.getTimestamp(), b.getTimestamp());
                    return c != 0 ? c : byUtf8(keyAndNs(a), keyAndNs(b));
                });
        return bracket(
                "[",
                found.stream()
                        .map(x -> x.getTimestamp() + ":" + keyAndNs(x))
                        .collect(Collectors.toList()),
                "]");
    }

    private static String keyAndNs(TimerHeapInternalTimer t) {
        return show(t.getKey()) + "@" + show(t.getNamespace());
    }

    // ------------------------------------------------------------------ snapshots

    private void begin(String id, boolean savepoint) throws Exception {
        if (running.containsKey(id) || snapshots.containsKey(id)) {
            throw new ScriptError("snapshot " + id + " exists");
        }
        Running r = new Running();
        r.id = nextCheckpoint++;
        checkpointIds.put(id, r.id);
        var target = harness.target(r.id);
        for (Subtask t : subtasks) {
            if (savepoint) {
                r.parts.add(
                        (RunnableFuture)
                                StreamOperatorStateHandler.prepareCanonicalSavepoint(
                                                t.backend, new CloseableRegistry())
                                        .snapshot(
                                                r.id,
                                                r.id,
                                                target,
                                                new CheckpointOptions(
                                                        SavepointType.savepoint(
                                                                SavepointFormatType.CANONICAL),
                                                        CheckpointStorageLocationReference
                                                                .getDefault())));
            } else {
                r.parts.add(
                        t.backend.snapshot(
                                r.id, r.id, target, CheckpointOptions.forCheckpointWithDefaultLocation()));
            }
        }
        running.put(id, r);
    }

    private void end(String id) throws Exception {
        Running r = running.remove(id);
        if (r == null) {
            throw new ScriptError("snapshot " + id + " is not running");
        }
        Snapshot s = new Snapshot();
        for (RunnableFuture<SnapshotResult<KeyedStateHandle>> f : r.parts) {
            f.run();
            KeyedStateHandle h = f.get().getJobManagerOwnedSnapshot();
            if (h != null) {
                h.registerSharedStates(sharedState, r.id);
                s.handles.add(h);
            }
        }
        snapshots.put(id, s);
    }

    private void complete(String id) throws Exception {
        long n = checkpointIds.get(id);
        sharedState.checkpointCompleted(n);
        for (Subtask t : subtasks) {
            t.backend.notifyCheckpointComplete(n);
        }
    }

    private Snapshot snapshot(String id) {
        Snapshot s = snapshots.get(id);
        if (s == null) {
            throw new ScriptError("no such snapshot: " + id);
        }
        return s;
    }

    private void stop() throws Exception {
        for (Running r : running.values()) {
            for (RunnableFuture<?> f : r.parts) {
                f.cancel(true);
            }
        }
        running.clear();
        for (Subtask t : subtasks) {
            t.backend.close();
            t.backend.dispose();
        }
        subtasks = new ArrayList<>();
        current = null;
        key = null;
    }

    /** Starts the operator with this parallelism, empty or from a snapshot of any parallelism. */
    private void start(int parallelism, Snapshot from) throws Exception {
        stop();
        for (KeyGroupRange range :
                StateAssignmentOperation.createKeyGroupPartitions(maxParallelism, parallelism)) {
            List<KeyedStateHandle> mine = new ArrayList<>();
            if (from != null) {
                StateAssignmentOperation.extractIntersectingState(from.handles, range, mine);
            }
            Subtask t = new Subtask();
            t.backend =
                    harness.create(
                            keyType.serializer(),
                            maxParallelism,
                            range,
                            mine.isEmpty() ? Collections.emptyList() : mine,
                            () -> now);
            subtasks.add(t);
        }
    }
}
