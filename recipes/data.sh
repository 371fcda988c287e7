# What the recipes' scripts share: data made from $files into $work. To be sourced, not run.

make_once() {  # make_once OUTPUT COMMAND...: outputs appear whole, so a present one is complete
    local output=$1
    shift
    [ -e "$output" ] || "$@" -o "$output"
}

stack_exchange() {  # three sites are held out whole
    make_once "$work/threads" worldpm forum stackexchange "$files"/forum/stackexchange/*.7z
    make_once "$work/stackexchange" worldpm pairs "$work/threads" --set split.test=0 \
        --held-out ai.stackexchange.com --held-out bicycles.meta.stackexchange.com \
        --held-out datascience.stackexchange.com
}

people() {  # the human sets that may be shipped
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
}
