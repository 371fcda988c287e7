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
. "$here/data.sh"
mkdir -p "$work"

stack_exchange
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
