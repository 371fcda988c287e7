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

make_once() {  # make_once OUTPUT COMMAND...: outputs appear whole, so a present one is complete
    local output=$1
    shift
    [ -e "$output" ] || "$@" -o "$output"
}

make_once "$work/threads" worldpm forum stackexchange "$files"/forum/stackexchange/*.7z
make_once "$work/stackexchange" worldpm pairs "$work/threads" --set split.test=0 \
    --held-out ai.stackexchange.com --held-out bicycles.meta.stackexchange.com \
    --held-out datascience.stackexchange.com
# shuffle=false: the replies in the places in which the model was trained on them.
make_once "$work/hh-rlhf" worldpm import hh-rlhf "$files/preferences/hh_rlhf" --set test=0 \
    --set test_by_subset.harmless-base=1.0 --set test_by_subset.helpful-base=0.5 \
    --set shuffle=false
make_once "$work/qa-feedback" worldpm import qa-feedback \
    "$files/preferences/qa_feedback/dev_feedback.json" --set shuffle=false
make_once "$work/ukpconvarg" worldpm import ukpconvarg \
    "$files/preferences/ukpconvarg/UKPConvArg1Strict-CSV" --set shuffle=false
make_once "$work/oasst-zh" worldpm import oasst-zh \
    "$files/preferences/oasst_zh/oaast_rm_zh.json" --set shuffle=false

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
