#!/usr/bin/env bash
# Runs random scripts on Apache Flink and on our backends, and compares what they answer line by line.
#   diff.sh [SEEDS [FIRST]]     so many seeds (200), from that one on (1)
# Environment: COMMANDS (of a script: 2000), BACKENDS (memory fs fs-incremental bytes; rocksdb and its kin too), KINDS (of Flink: heap rocksdb),
# ORACLE (a built `oracle`), OUT (a folder for scripts and answers, which are not made again if they are there);
# FLINK_DIR and others of ../../benches/peers/flink/run.sh. Needs Java 17 and Python 3.
set -euo pipefail
BACKENDS="${BACKENDS:-memory fs fs-incremental bytes}"
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
seeds="${1:-200}"
first="${2:-1}"
OUT="${OUT:-$(mktemp -d)}"
mkdir -p "$OUT"
if [ -z "${ORACLE:-}" ]; then
    features=()
    [[ "$BACKENDS" != *rocksdb* ]] || features=(--features rocksdb)
    cargo build --release --locked -q -p conformance-tests --bin oracle "${features[@]}"
    ORACLE="${CARGO_TARGET_DIR:-$here/../../target}/release/oracle"
fi
scripts=()
for seed in $(seq "$first" $((first + seeds - 1))); do
    script="$OUT/$seed.txt"
    scripts+=("$script")
    [ -e "$script" ] ||
        python3 "$here/gen_script.py" "$seed" "${COMMANDS:-2000}" nosavepoints >"$script"
done
# We have no empty lists. Flink returns one the first time that it finds all elements of a list expired.
answers() { sed 's/\t\[\]$/\t~/' "$1"; }
different=0
for kind in ${KINDS:-heap rocksdb}; do
    missing=()
    for script in "${scripts[@]}"; do
        [ -s "$script.$kind" ] || missing+=("$script")
    done
    [ ${#missing[@]} = 0 ] || "$here/../../benches/peers/flink/run.sh" oracle "$kind" --each "${missing[@]}"
done
for backend in $BACKENDS; do
    compared=0
    for script in "${scripts[@]}"; do
        status=0
        # Not the name of an answer of Flink's, of which one is called rocksdb too.
        ours="$script.ours-$backend"
        "$ORACLE" --backend "$backend" "$script" >"$ours" || status=$?
        for kind in ${KINDS:-heap rocksdb}; do
            compared=$((compared + 1))
            if [ "$status" != 0 ] || ! cmp -s <(answers "$script.$kind") <(answers "$ours"); then
                different=$((different + 1))
                echo "DIFFERENT: $backend and Flink's $kind, $script (exit status $status)"
                diff <(answers "$script.$kind") <(answers "$ours") | head -4 || true
            fi
        done
        rm -f "$ours"
    done
    echo "$backend: $compared answers of Flink compared"
done
echo "$different different"
[ "$different" = 0 ]
