#!/usr/bin/env bash
# The side-by-side tables of docs/results.md, one after the other, on a machine at rest: hours.
#
#   recipes/bench.sh FILES WORK        also: make bench FILES=... WORK=...
#
# FILES and WORK are those of recipes/default.sh. Numbers go to WORK/bench, a file a table; a table
# whose file is there is not made again, so the same command goes on after a stop.
set -euo pipefail
files=$1 work=$2
here=$(cd "$(dirname "$0")" && pwd)
. "$here/data.sh"
mkdir -p "$work/bench"

stack_exchange
people

table() {  # table NAME OPTION...: what it prints is kept beside its numbers
    local name=$1
    shift
    [ -e "$work/bench/$name.json" ] && return
    echo "== $name" >&2
    python "$here/../benchmarks/$name.py" "$@" -o "$work/bench/$name.partial" | tee "$work/bench/$name.txt"
    mv "$work/bench/$name.partial" "$work/bench/$name.json"
}

table forum "$files"/forum/stackexchange/*.7z --clock cpu --rounds 9
table serve --data "$work/stackexchange"
table train --data "$work"
table precision --data "$work" --comparisons 50 --rounds 1
table score --data "$work" --peers loop padded  # vLLM beside them: --vllm-python, see score.py
cat "$work"/bench/*.txt
