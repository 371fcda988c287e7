#!/usr/bin/env bash
# The next worldpm-135m: its data, its candidates, and how they stand on the validation split.
#
#   recipes/default-2.sh FILES WORK [MINUTES]
#
# FILES and WORK are those of recipes/default.sh, whose folders of data are made here where they are
# not yet. Only what may be shipped is trained on. With MINUTES it stops training after so long with
# exit code 75; then, as after any stop, the same command goes on.
#
# Candidates, each in WORK/default-2:
#   two-stage  default-2-forum.toml, then default-2.toml from its adapter
#   mixed      default-2.toml alone, from the plain base: is the first stage worth its time?
#   mixed-low  the same at a third of the learning rate
# The last lines are their lowest validation losses. The held-out sets are not looked at here: they
# are for the one that was chosen (benchmarks/default_model.py --model WORK/default-2/NAME/model).
set -euo pipefail
files=$1 work=$2 minutes=${3:-}
here=$(cd "$(dirname "$0")" && pwd)
. "$here/data.sh"
out=$work/default-2
mkdir -p "$out"
begun=$SECONDS

stack_exchange
people

train() {  # train NAME RECIPE OPTION...: once, gone on with where it was, within the time left
    local run=$out/$1 recipe=$2 resume=() limit=()
    shift 2
    [ ! -e "$run/model/config.json" ] || return 0
    [ ! -e "$run/run.json" ] || resume=(--resume)
    if [ -n "$minutes" ]; then
        local left=$((60 * minutes - SECONDS + begun))
        [ "$left" -gt 0 ] || exit 75
        limit=(timeout --preserve-status --signal=TERM "$left")
    fi
    ${limit[@]+"${limit[@]}"} worldpm train "$here/$recipe" "$@" \
        --frozen-cache "$out/frozen" ${resume[@]+"${resume[@]}"} -o "$run"
}

data=()
for name in stackexchange hh-rlhf qa-feedback ukpconvarg oasst-zh; do
    data+=(--data "$work/$name")
done
train forum default-2-forum.toml --data "$work/stackexchange"
train two-stage default-2.toml --adapter "$out/forum/adapter" "${data[@]}"
train mixed default-2.toml "${data[@]}"
train mixed-low default-2.toml "${data[@]}" --set optim.lr=1e-4 --set optim.head_lr=2e-4

python "$here/../benchmarks/candidates.py" "$out"/{two-stage,mixed,mixed-low}
