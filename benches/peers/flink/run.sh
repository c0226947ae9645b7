#!/usr/bin/env bash
# Compiles and runs the Flink peer.
#   run.sh bench OPTIONS...         FlinkStateBench
#   run.sh timers KIND uniform|clustered NUMBER   FlinkTimerBench
#   run.sh oracle KIND [SCRIPT]     FlinkOracle: what Flink answers to a script of state operations (conformance-tests/README.md);
#   run.sh oracle KIND --each SCRIPT...  to many, each into SCRIPT.KIND; KIND: heap, rocksdb, rocksdb-full or forst
#   run.sh savepoints DIR [NAME]   FlinkSavepoints: savepoints with state of every kind and type, and what Flink says is in them
#   run.sh workload [SEED [KEYS]]   check sums of the generated inputs
# Environment: FLINK_DIR (where get-flink.sh put lib/; default: a folder of its own in the
# user's cache), BUILD_DIR, JAVA_OPTS (default: -Xms3g -Xmx3g), FLINK_CONF ("key=value;key=value": any Flink option).
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/flink-peer"
FLINK_DIR="${FLINK_DIR:-$CACHE/2.3.0}"
BUILD_DIR="${BUILD_DIR:-$CACHE/build}"
JAVA_OPTS="${JAVA_OPTS:--Xms3g -Xmx3g}"
CP="$FLINK_DIR/lib/*"

build() {
    compgen -G "$FLINK_DIR/lib/flink-dist-*.jar" >/dev/null || "$here/get-flink.sh" "$FLINK_DIR"
    mkdir -p "$BUILD_DIR"
    local stale=0 f
    for f in "$here"/*.java; do
        [ "$f" -nt "$BUILD_DIR/.built" ] && stale=1
    done
    if [ "$stale" = 1 ]; then
        javac -nowarn -cp "$CP" -d "$BUILD_DIR" "$here"/*.java 2> >(grep -v '^Note:' >&2)
        touch "$BUILD_DIR/.built"
    fi
}

run() { # CLASS ARGS...
    # shellcheck disable=SC2086
    java $JAVA_OPTS -Dlog4j2.configurationFile="$here/log4j2.properties" -cp "$BUILD_DIR:$CP" "$@"
}

cmd="${1:-}"
[ $# -gt 0 ] && shift
case "$cmd" in
bench)
    build
    run FlinkStateBench "$@"
    ;;
timers)
    build
    run FlinkTimerBench "$@"
    ;;
oracle)
    build
    JAVA_OPTS="-Xmx512m -XX:+UseSerialGC ${ORACLE_OPTS:-}" run FlinkOracle "$@"
    ;;
savepoints)
    build
    # A job on a cluster in the process; Kryo looks into classes of Java.
    opens=(--add-opens=java.base/java.{lang,util,time,math}=ALL-UNNAMED)
    JAVA_OPTS="-Xmx700m -XX:+UseSerialGC ${opens[*]}" run FlinkSavepoints "$@"
    ;;
workload)
    build
    JAVA_OPTS="-Xmx1g" run Workload "$@"
    ;;
*)
    sed -n '2,11p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
