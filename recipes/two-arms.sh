#!/usr/bin/env bash
# Does forum pre-training help a model of 135M? From the authors' files to the table and the figure.
#
#   recipes/two-arms.sh FILES WORK [MINUTES]
#
# FILES holds forum/{stackexchange,reddit,discourse} and preferences/hh_rlhf. WORK is that of
# recipes/default.sh, which may have made some of the same folders. With MINUTES it stops training
# after so long with exit code 75; then, as after any stop, the same command goes on.
#
# Reddit and Discourse state no licence: this measures, and nothing made of it is shipped.
set -euo pipefail
files=$1 work=$2 minutes=${3:-}
here=$(cd "$(dirname "$0")" && pwd)
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
make_once "$work/threads-reddit" worldpm forum reddit "$files"/forum/reddit/R[SC]_*.zst
make_once "$work/reddit" worldpm pairs "$work/threads-reddit" --set split.test=0
make_once "$work/threads-discourse" worldpm forum discourse "$files"/forum/discourse/*.tar.gz
make_once "$work/discourse" worldpm pairs "$work/threads-discourse" --set split.test=0
make_once "$work/hh-rlhf" worldpm import hh-rlhf "$files/preferences/hh_rlhf" --set test=0 \
    --set test_by_subset.harmless-base=1.0 --set test_by_subset.helpful-base=0.5 \
    --set shuffle=false

python "$here/../benchmarks/two_arms.py" --forum-most 4000 \
    --forum "$work/stackexchange" "$work/reddit" "$work/discourse" --human "$work/hh-rlhf" \
    --held-out "hh-rlhf helpful-base=$work/hh-rlhf:test:helpful-base" \
    "Stack Exchange=$work/stackexchange:test" ${minutes:+--minutes "$minutes"} -o "$work/two-arms"
