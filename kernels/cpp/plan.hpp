// The layout of a batch: token trees laid end to end, as segments with parents.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "kernels.hpp"

namespace worldpm {

class Plan {
public:
    // positions (tokens), cos and sin (tokens, half), starts, lengths and parents (segments; parent
    // -1: a root). Throws std::invalid_argument, naming the fault, unless segments follow each
    // other without a gap, parents precede their children and positions count on along each path.
    Plan(std::span<const std::int32_t> positions, std::span<const float> cos,
         std::span<const float> sin, std::size_t half, std::span<const std::int32_t> starts,
         std::span<const std::int32_t> lengths, std::span<const std::int32_t> parents);

    int tokens() const { return tokens_; }
    int segments() const { return static_cast<int>(segments_.size()); }
    int head_dim() const { return 2 * half_; }
    const float* cos(int token) const { return cos_.data() + std::size_t(token) * half_; }
    const float* sin(int token) const { return sin_.data() + std::size_t(token) * half_; }

    // At most `max_queries` tokens of one segment.
    struct QueryTile {
        int segment, first, count;
    };
    std::vector<QueryTile> query_tiles(int max_queries) const;
    // The segments from the root to `segment`; returns how many keys precede it on its path.
    int path(int segment, std::vector<Piece>& pieces) const;
    int start(int segment) const { return segments_[segment].start; }

private:
    struct Segment {
        std::int32_t start, length, parent, offset;
    };
    int tokens_, half_;
    std::vector<Segment> segments_;
    std::vector<float> cos_, sin_;
};

}  // namespace worldpm
