#!/usr/bin/env bash
# Everything behind worldpm-135m, from the authors' files to the adapter.
#
#   recipes/default.sh FILES WORK
#
# FILES holds forum/stackexchange/*.7z and preferences/{hh_rlhf,qa_feedback,ukpconvarg,oasst_zh}.
# The same command goes on where it was stopped.
set -euo pipefail
files=$1 work=$2
recipes=$(dirname "$0")
mkdir -p "$work"

. "$recipes/data.sh"

stack_exchange
people

# The second stage rehearses hh-rlhf by the half of helpful-base that may be trained on.
make_once "$work/hh-helpful-base" worldpm import hh-rlhf "$files/preferences/hh_rlhf" \
    --set test=0 --set test_by_subset.harmless-base=1.0 --set test_by_subset.helpful-base=0.5 \
    --set test_by_subset.helpful-online=1.0 --set test_by_subset.helpful-rejection-sampled=1.0 \
    --set shuffle=false

train() {  # train RUN RECIPE.toml OPTION...
    local run=$1
    shift
    local resume=()
    [ ! -e "$run" ] || resume=(--resume)
    worldpm train "$@" ${resume[@]+"${resume[@]}"} -o "$run"
}

train "$work/run" "$recipes/default.toml" --data "$work/hh-rlhf" --data "$work/stackexchange" \
    --data "$work/qa-feedback" --data "$work/ukpconvarg" --data "$work/oasst-zh"
train "$work/run-votes" "$recipes/default-votes.toml" --adapter "$work/run/adapter" \
    --data "$work/stackexchange" --data "$work/hh-helpful-base"
