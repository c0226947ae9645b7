#!/bin/sh
# Shows what the library is for: a job is killed, resumed with another number of subtasks, and compared with an undisturbed run.
# Usage: demo.sh PROGRAM [LINES], where PROGRAM is the compiled example `access_log`.
set -eu

program=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
lines=${2:-1000000}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
cd "$folder"

say() { printf '\n%s\n' "$*"; }
job() {
    set -- --generate "$lines" --backend fs --incremental --checkpoint-every "$((lines / 10))" "$@"
    echo "\$ access_log $*"
    "$program" "$@"
}

say "1. A job counts $lines lines of an access log. It has 2 subtasks and takes incremental checkpoints."
job --parallelism 2 --checkpoint-dir undisturbed --output undisturbed.tsv --top 3

say "2. The same job again. This time it is killed on the way, as by a crash."
status=0
job --parallelism 2 --checkpoint-dir checkpoints --output resumed.tsv --crash-at "$((lines * 13 / 20))" || status=$?
[ "$status" -gt 128 ] || { echo "demo: the job was not killed: exit status $status" >&2; exit 1; }

say "3. It resumes from its last checkpoint. It has 3 subtasks now: each restores the key groups that it owns."
job --parallelism 3 --checkpoint-dir checkpoints --output resumed.tsv --resume --top 3

say "4. Both results, compared byte by byte:"
cmp undisturbed.tsv resumed.tsv
echo "equal: $(($(wc -l < resumed.tsv))) paths, no line lost and none counted twice"
