import java.lang.reflect.Field;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.functions.ReduceFunction;
import org.apache.flink.api.common.state.AggregatingState;
import org.apache.flink.api.common.state.AggregatingStateDescriptor;
import org.apache.flink.api.common.state.BroadcastState;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.state.ReducingState;
import org.apache.flink.api.common.state.ReducingStateDescriptor;
import org.apache.flink.api.common.state.State;
import org.apache.flink.api.common.state.StateDescriptor;
import org.apache.flink.api.common.state.StateTtlConfig;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.api.common.typeutils.base.StringSerializer;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.runtime.state.StateInitializationContext;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.runtime.state.internal.InternalKvState;
import org.apache.flink.runtime.state.ttl.TtlValue;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.InternalTimer;
import org.apache.flink.streaming.api.operators.InternalTimerService;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.streaming.api.operators.Triggerable;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;

/** An operator with state of every kind, which reports what its views return to FlinkSavepoints. */
final class AllStates<K> extends AbstractStreamOperator<Integer>
        implements OneInputStreamOperator<Integer, Integer>, Triggerable<K, Object> {
    private static final long serialVersionUID = 1L;

    private final String uid;
    private final TypeInformation<K> keyType;
    private final FlinkSavepoints.KeyOf<K> keyOf;
    /** 0: the kinds. 1: also namespaces, TTL and operator state. 2: also all types of values. */
    private final int extent;

    /** False on the heap, whose savepoints cannot have nulls that the value's serializer cannot write. */
    private final boolean nulls;

    private transient int maxParallelism;
    private transient ListState<Long> split;
    private transient ListState<String> union;
    private transient BroadcastState<String, Long> broadcast;
    private transient K key;

    AllStates(String uid, TypeInformation<K> keyType, FlinkSavepoints.KeyOf<K> keyOf, int extent, boolean nulls) {
        this.uid = uid;
        this.keyType = keyType;
        this.keyOf = keyOf;
        this.extent = extent;
        this.nulls = nulls;
    }

    @Override
    public void initializeState(StateInitializationContext context) throws Exception {
        super.initializeState(context);
        if (extent == 0) {
            return;
        }
        split = context.getOperatorStateStore().getListState(new ListStateDescriptor<>("split", Types.LONG));
        union = context.getOperatorStateStore().getUnionListState(new ListStateDescriptor<>("union", Types.STRING));
        broadcast =
                context.getOperatorStateStore()
                        .getBroadcastState(new MapStateDescriptor<>("broadcast", Types.STRING, Types.LONG));
    }

    @Override
    public void open() throws Exception {
        super.open();
        maxParallelism = getRuntimeContext().getTaskInfo().getMaxNumberOfParallelSubtasks();
        if (extent == 0) {
            return;
        }
        int subtask = getRuntimeContext().getTaskInfo().getIndexOfThisSubtask();
        for (int i = 0; i < 3; i++) {
            split.add(subtask * 100L + i);
            union.add("u" + subtask + FlinkSavepoints.string(i));
            broadcast.put("b" + i, (long) i);
        }
        int index = 0;
        for (Long element : split.get()) {
            operatorState("split", subtask, index++, null, element);
        }
        index = 0;
        for (String element : union.get()) {
            operatorState("union", subtask, index++, null, element);
        }
        for (Map.Entry<String, Long> e : broadcast.entries()) {
            operatorState("broadcast", subtask, -1, e.getKey(), e.getValue());
        }
    }

    private void operatorState(String state, int subtask, int index, Object mapKey, Object value) throws Exception {
        FlinkSavepoints.LINES.add(
                "{\"operator\":" + FlinkSavepoints.quoted(uid)
                        + ",\"state\":" + FlinkSavepoints.quoted(state)
                        + ",\"subtask\":" + subtask
                        + (index >= 0 ? ",\"index\":" + index : ",\"mapKey\":" + FlinkSavepoints.json(mapKey))
                        + ",\"value\":" + FlinkSavepoints.json(value) + "}");
    }

    @Override
    public void processElement(StreamRecord<Integer> record) throws Exception {
        int i = record.getValue();
        key = keyOf.of(i);
        if (!(key instanceof Boolean) || i < 2) {
            kinds(i);
            if (extent > 0) {
                namespaces(i);
                ttl(i);
            }
            if (extent > 1) {
                types(i);
            }
        }
        FlinkSavepoints.DONE.incrementAndGet();
    }

    private void kinds(int i) throws Exception {
        inNamespace("", VoidNamespace.INSTANCE, VoidNamespaceSerializer.INSTANCE, i);
        inNamespace("-by-string", "n" + i, StringSerializer.INSTANCE, i);
        inNamespace("-by-string", FlinkSavepoints.string(i % 6), StringSerializer.INSTANCE, i + 1);
        InternalTimerService<String> named =
                getInternalTimerService("named", StringSerializer.INSTANCE, (Triggerable) this);
        timer(named, "named", "n" + i, true, Long.MAX_VALUE - i);
        timer(named, "named", "n" + i, false, 7_000_000_000_000L + i);
    }

    private void namespaces(int i) throws Exception {
        inNamespace("-by-window", new TimeWindow(i * 1000L, i * 1000L + 999), new TimeWindow.Serializer(), i);
        inNamespace("-by-window", new TimeWindow(-5, 5), new TimeWindow.Serializer(), i + 1);
        inNamespace("-by-long", -1L - i, LongSerializer.INSTANCE, i);
        InternalTimerService<VoidNamespace> plain =
                getInternalTimerService("plain", VoidNamespaceSerializer.INSTANCE, (Triggerable) this);
        timer(plain, "plain", VoidNamespace.INSTANCE, true, 1000L * i);
        timer(plain, "plain", VoidNamespace.INSTANCE, true, -1L - i + 1_000_000);
        timer(plain, "plain", VoidNamespace.INSTANCE, false, 6_000_000_000_000L + i);
    }

    private <N> void timer(InternalTimerService<N> timers, String name, N namespace, boolean eventTime, long at)
            throws Exception {
        if (eventTime) {
            timers.registerEventTimeTimer(namespace, at);
        } else {
            timers.registerProcessingTimeTimer(namespace, at);
        }
        String state = (eventTime ? "_timer_state/event_" : "_timer_state/processing_") + name;
        line(state, "timer", namespace, ",\"time\":" + at);
    }

    /** A state of each kind. Every third key has none of the lists. */
    private <N> void inNamespace(String suffix, N namespace, TypeSerializer<N> serializer, int i) throws Exception {
        ValueState<Long> value = state(new ValueStateDescriptor<>("value" + suffix, Types.LONG), namespace, serializer);
        value.update((long) i);
        line("value" + suffix, "value", namespace, ",\"value\":" + FlinkSavepoints.json(value.value()));

        if (i % 3 != 0) {
            ListState<String> list = state(new ListStateDescriptor<>("list" + suffix, Types.STRING), namespace, serializer);
            for (int n = 0; n < i; n++) {
                list.add(FlinkSavepoints.string(n) + ",");
            }
            list(list.get(), "list" + suffix, namespace);
        }

        MapState<String, String> map =
                state(new MapStateDescriptor<>("map" + suffix, Types.STRING, Types.STRING), namespace, serializer);
        for (int n = 0; n < i % 5; n++) {
            map.put(FlinkSavepoints.string(n + 1), n == 2 ? null : "v" + n);
        }
        for (Map.Entry<String, String> e : map.entries()) {
            entry("map" + suffix, namespace, e.getKey(), e.getValue(), "");
        }

        ReducingState<Long> reducing =
                state(new ReducingStateDescriptor<>("reducing" + suffix, new Sum(), Types.LONG), namespace, serializer);
        reducing.add(1L);
        reducing.add((long) i);
        line("reducing" + suffix, "reducing", namespace, ",\"value\":" + FlinkSavepoints.json(reducing.get()));

        AggregatingState<Long, Tuple2<Long, Long>> aggregating =
                state(
                        new AggregatingStateDescriptor<>(
                                "aggregating" + suffix, new CountAndSum(), Types.TUPLE(Types.LONG, Types.LONG)),
                        namespace,
                        serializer);
        aggregating.add((long) i);
        aggregating.add(10L);
        line("aggregating" + suffix, "aggregating", namespace, ",\"value\":" + FlinkSavepoints.json(aggregating.get()));
    }

    private void ttl(int i) throws Exception {
        VoidNamespace none = VoidNamespace.INSTANCE;
        VoidNamespaceSerializer serializer = VoidNamespaceSerializer.INSTANCE;
        StateTtlConfig config = StateTtlConfig.newBuilder(java.time.Duration.ofDays(30)).build();

        ValueStateDescriptor<String> v = new ValueStateDescriptor<>("ttl-value", Types.STRING);
        v.enableTimeToLive(config);
        ValueState<String> value = state(v, none, serializer);
        value.update(FlinkSavepoints.string(i));
        TtlValue<String> stamped = ((ValueState<TtlValue<String>>) original(value)).value();
        line("ttl-value", "value", none, stamped(stamped));

        ListStateDescriptor<Long> l = new ListStateDescriptor<>("ttl-list", Types.LONG);
        l.enableTimeToLive(config);
        ListState<Long> list = state(l, none, serializer);
        list.addAll(Arrays.asList((long) i, -1L));
        int index = 0;
        for (TtlValue<Long> element : ((ListState<TtlValue<Long>>) original(list)).get()) {
            line("ttl-list", "list", none, ",\"index\":" + index++ + stamped(element));
        }

        MapStateDescriptor<String, String> m = new MapStateDescriptor<>("ttl-map", Types.STRING, Types.STRING);
        m.enableTimeToLive(config);
        MapState<String, String> map = state(m, none, serializer);
        map.put("a", "v" + i);
        map.put("n", null);
        for (Map.Entry<String, TtlValue<String>> e : ((MapState<String, TtlValue<String>>) original(map)).entries()) {
            line("ttl-map", "map", none, ",\"mapKey\":" + FlinkSavepoints.json(e.getKey()) + stamped(e.getValue()));
        }

        ReducingStateDescriptor<Long> r = new ReducingStateDescriptor<>("ttl-reducing", new Sum(), Types.LONG);
        r.enableTimeToLive(config);
        ReducingState<Long> reducing = state(r, none, serializer);
        reducing.add((long) i);
        line("ttl-reducing", "reducing", none, stamped(((ReducingState<TtlValue<Long>>) original(reducing)).get()));
    }

    private static String stamped(TtlValue<?> value) throws Exception {
        return ",\"value\":" + FlinkSavepoints.json(value.getUserValue())
                + ",\"lastAccess\":" + value.getLastAccessTimestamp();
    }

    /** The state that a view with a time to live wraps. */
    private static Object original(Object view) throws Exception {
        for (Class<?> c = view.getClass(); c != null; c = c.getSuperclass()) {
            for (Field f : c.getDeclaredFields()) {
                if (f.getName().equals("original")) {
                    f.setAccessible(true);
                    return f.get(view);
                }
            }
        }
        throw new IllegalStateException(view + " wraps nothing");
    }

    @SuppressWarnings("unchecked")
    private void types(int i) throws Exception {
        VoidNamespace none = VoidNamespace.INSTANCE;
        for (Map.Entry<String, Tuple2<TypeInformation<?>, Object>> e : FlinkSavepoints.values(i).entrySet()) {
            TypeInformation<Object> type = (TypeInformation<Object>) e.getValue().f0;
            Object written = e.getValue().f1;
            String name = "type-" + e.getKey();
            ValueState<Object> value =
                    state(new ValueStateDescriptor<>(name, type), none, VoidNamespaceSerializer.INSTANCE);
            value.update(written);
            line(name, "value", none, ",\"value\":" + FlinkSavepoints.json(value.value()));
            if (i % 3 != 1) {
                continue;
            }
            ListState<Object> list =
                    state(new ListStateDescriptor<>("list-" + name, type), none, VoidNamespaceSerializer.INSTANCE);
            list.addAll(Arrays.asList(written, written));
            list(list.get(), "list-" + name, none);
            MapState<Integer, Object> map =
                    state(new MapStateDescriptor<>("map-" + name, Types.INT, type), none, VoidNamespaceSerializer.INSTANCE);
            map.put(i, written);
            if (nulls || e.getKey().equals("string")) {
                map.put(-1, null);
            }
            for (Map.Entry<Integer, Object> entry : map.entries()) {
                entry("map-" + name, none, entry.getKey(), entry.getValue(), "");
            }
        }
    }

    private void list(Iterable<?> elements, String state, Object namespace) throws Exception {
        int index = 0;
        for (Object element : elements) {
            line(state, "list", namespace, ",\"index\":" + index++ + ",\"value\":" + FlinkSavepoints.json(element));
        }
    }

    private void entry(String state, Object namespace, Object mapKey, Object value, String more) throws Exception {
        line(
                state,
                "map",
                namespace,
                ",\"mapKey\":" + FlinkSavepoints.json(mapKey) + ",\"value\":" + FlinkSavepoints.json(value) + more);
    }

    private void line(String state, String kind, Object namespace, String rest) throws Exception {
        FlinkSavepoints.LINES.add(
                "{\"operator\":" + FlinkSavepoints.quoted(uid)
                        + ",\"state\":" + FlinkSavepoints.quoted(state)
                        + ",\"kind\":" + FlinkSavepoints.quoted(kind)
                        + ",\"keyGroup\":" + FlinkSavepoints.group(key, maxParallelism)
                        + ",\"key\":" + FlinkSavepoints.json(key)
                        + ",\"namespace\":" + FlinkSavepoints.json(namespace)
                        + rest + "}");
    }

    private <S extends State, N> S state(StateDescriptor<S, ?> descriptor, N namespace, TypeSerializer<N> serializer)
            throws Exception {
        descriptor.initializeSerializerUnlessSet(getExecutionConfig());
        return getPartitionedState(namespace, serializer, descriptor);
    }

    @Override
    public void onEventTime(InternalTimer<K, Object> timer) {
        throw new IllegalStateException("a timer fired: " + timer);
    }

    @Override
    public void onProcessingTime(InternalTimer<K, Object> timer) {
        throw new IllegalStateException("a timer fired: " + timer);
    }

    static final class Sum implements ReduceFunction<Long> {
        private static final long serialVersionUID = 1L;

        @Override
        public Long reduce(Long a, Long b) {
            return a + b;
        }
    }

    static final class CountAndSum implements AggregateFunction<Long, Tuple2<Long, Long>, Tuple2<Long, Long>> {
        private static final long serialVersionUID = 1L;

        @Override
        public Tuple2<Long, Long> createAccumulator() {
            return Tuple2.of(0L, 0L);
        }

        @Override
        public Tuple2<Long, Long> add(Long value, Tuple2<Long, Long> a) {
            return Tuple2.of(a.f0 + 1, a.f1 + value);
        }

        @Override
        public Tuple2<Long, Long> getResult(Tuple2<Long, Long> a) {
            return a;
        }

        @Override
        public Tuple2<Long, Long> merge(Tuple2<Long, Long> a, Tuple2<Long, Long> b) {
            return Tuple2.of(a.f0 + b.f0, a.f1 + b.f1);
        }
    }
}
