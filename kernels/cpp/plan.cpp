#include "plan.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

namespace worldpm {
namespace {

[[noreturn]] void fail(const std::string& what) { throw std::invalid_argument(what); }

std::string segment_name(std::size_t s) { return "segment " + std::to_string(s); }

}  // namespace

Plan::Plan(std::span<const std::int32_t> positions, std::span<const float> cos,
           std::span<const float> sin, std::size_t half, std::span<const std::int32_t> starts,
           std::span<const std::int32_t> lengths, std::span<const std::int32_t> parents)
    : tokens_(static_cast<int>(positions.size())), half_(static_cast<int>(half)) {
    if (positions.size() > std::numeric_limits<std::int32_t>::max() / 2)
        fail("a plan holds at most 2^30 tokens, not " + std::to_string(positions.size()));
    if (half == 0) fail("cos and sin have no columns; they need head_dim / 2");
    if (cos.size() != positions.size() * half || sin.size() != cos.size())
        fail("cos and sin need a row for each of the " + std::to_string(positions.size()) +
             " positions");
    if (lengths.size() != starts.size() || parents.size() != starts.size())
        fail("starts, lengths and parents differ in length: " + std::to_string(starts.size()) +
             ", " + std::to_string(lengths.size()) + ", " + std::to_string(parents.size()));
    segments_.reserve(starts.size());
    std::int64_t expected = 0;
    for (std::size_t s = 0; s < starts.size(); ++s) {
        if (lengths[s] < 1)
            fail(segment_name(s) + " has length " + std::to_string(lengths[s]) +
                 "; it must be at least 1");
        if (starts[s] != expected)
            fail(segment_name(s) + " starts at " + std::to_string(starts[s]) +
                 ", but the segments before it end at " + std::to_string(expected));
        expected += lengths[s];
        if (expected > tokens_)
            fail(segment_name(s) + " ends at " + std::to_string(expected) + ", after the last of " +
                 std::to_string(tokens_) + " tokens");
        if (parents[s] < -1 || parents[s] >= static_cast<std::int64_t>(s))
            fail(segment_name(s) + " has parent " + std::to_string(parents[s]) +
                 "; parents precede their children, and -1 is a root");
        Segment segment{starts[s], lengths[s], parents[s], 0};
        std::int64_t position = positions[starts[s]];
        if (parents[s] >= 0) {
            const Segment& above = segments_[parents[s]];
            segment.offset = above.offset + above.length;
            position = std::int64_t{positions[above.start]} + above.length;
        } else if (position < 0) {
            fail(segment_name(s) + " starts at the negative position " + std::to_string(position));
        }
        for (std::int32_t i = 0; i < lengths[s]; ++i, ++position)
            if (positions[starts[s] + i] != position)
                fail("token " + std::to_string(starts[s] + i) + " of " + segment_name(s) +
                     " has position " + std::to_string(positions[starts[s] + i]) +
                     "; its path counts to " + std::to_string(position));
        segments_.push_back(segment);
    }
    if (expected != tokens_)
        fail("the segments hold " + std::to_string(expected) + " tokens, but there are " +
             std::to_string(tokens_) + " positions");
    cos_.assign(cos.begin(), cos.end());
    sin_.assign(sin.begin(), sin.end());
}

std::vector<Plan::QueryTile> Plan::query_tiles(int max_queries) const {
    std::vector<QueryTile> tiles;
    for (int s = 0; s < segments(); ++s)
        for (int first = 0; first < segments_[s].length; first += max_queries)
            tiles.push_back({s, first, std::min(max_queries, segments_[s].length - first)});
    return tiles;
}

int Plan::path(int segment, std::vector<Piece>& pieces) const {
    pieces.clear();
    for (int s = segment; s >= 0; s = segments_[s].parent)
        pieces.push_back({segments_[s].start, segments_[s].length});
    std::reverse(pieces.begin(), pieces.end());
    return segments_[segment].offset;
}

}  // namespace worldpm
