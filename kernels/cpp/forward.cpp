// The forward of a layer: three passes, each over tasks that share nothing.
//
//   project  blocks of rows: norm, q/k/v products, bias, head norms, rotation
//   attend   tiles of queries of one segment, for each key-value head
//   finish   blocks of rows: output product, residual, norm, SwiGLU, down product, residual
//
// A row's numbers do not depend on its block: see gemm.inc, rows.inc and attention.inc.
#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "layer.hpp"

namespace worldpm {
namespace {

// Rows of a block, rounded up to whole groups: its activations and one panel of weights share the
// L2 cache.
constexpr int block_rows = 112;
// Columns of the SwiGLU that are computed and consumed at a time.
constexpr int inner_chunk = 256;
// Rows (queries x heads that share keys) of an attention task, over which packing is spread.
constexpr int attention_rows = 256;
enum Shared { query_buffer, key_buffer, value_buffer };
enum Local { operand_buffer, product_buffer, activation_buffer, attention_buffer };

std::size_t padded(int columns) { return std::size_t(columns) + 16; }  // no power of two: L1 sets

}  // namespace

// A block of rows and the memory of the thread that works on it.
struct Layer::Block {
    const Plan& plan;
    int first, rows;
    float *residual, *query, *key, *value;  // of the block's first row
    char *operand, *activation;
    float* product;
};

void Layer::project(const Block& b) const {
    const PackedShape& shape = layout_.qkv;
    const std::size_t stride = padded(shape.panels * kernels_->panel_cols);
    kernels_->norm_rows(b.residual, shape_.hidden, b.rows, shape_.hidden,
                        floats(layout_.input_norm), shape_.eps, b.operand, shape.lines);
    multiply(*kernels_, shape,
             {b.operand, shape.lines, b.rows, data_ + layout_.qkv_at, 0, shape.panels, 0, 0,
              shape.lines, b.product, stride, false});
    const bool norm = shape_.qk_norm;
    kernels_->rotary({b.product, stride, b.rows, shape_.heads, shape_.kv_heads, shape_.head_dim,
                      floats(layout_.qkv_bias), norm ? floats(layout_.query_norm) : nullptr,
                      norm ? floats(layout_.key_norm) : nullptr, shape_.eps,
                      1.0f / std::sqrt(static_cast<float>(shape_.head_dim)), b.plan.cos(b.first),
                      b.plan.sin(b.first), b.query, b.key, b.value});
}

void Layer::finish(const Block& b) const {
    const Kernels& k = *kernels_;
    const PackedShape &output = layout_.output, &gate_up = layout_.gate_up, &down = layout_.down;
    const int hidden = shape_.hidden;
    const std::size_t stride = padded(down.panels * k.panel_cols);
    k.copy_rows(b.query, shape_.queries(), b.rows, shape_.queries(), b.operand, output.lines);
    multiply(k, output,
             {b.operand, output.lines, b.rows, data_ + layout_.output_at, 0, output.panels, 0, 0,
              output.lines, b.product, stride, false});
    k.add_rows(b.product, stride, b.rows, hidden, floats(layout_.output_bias), b.residual);
    k.norm_rows(b.residual, hidden, b.rows, hidden, floats(layout_.post_norm), shape_.eps,
                b.operand, gate_up.lines);

    const int chunk_lines = inner_chunk / k.k_per_line, chunk_pairs = inner_chunk / k.panel_cols;
    const std::size_t chunk_stride = padded(2 * inner_chunk);
    float* gates = b.product + b.rows * stride;
    for (int pair = 0, line = 0; line < down.lines; pair += chunk_pairs, line += chunk_lines) {
        const int pairs = std::min(chunk_pairs, gate_up.panels / 2 - pair);
        const int lines = std::min(chunk_lines, down.lines - line);
        multiply(k, gate_up,
                 {b.operand, gate_up.lines, b.rows, data_ + layout_.gate_up_at, 2 * pair, 2 * pairs,
                  0, 0, gate_up.lines, gates, chunk_stride, false});
        k.swiglu(gates, chunk_stride, b.rows, pairs,
                 floats(layout_.gate_up_bias) + std::size_t(2) * pair * k.panel_cols, b.activation,
                 chunk_lines);
        multiply(k, down,
                 {b.activation, chunk_lines, b.rows, data_ + layout_.down_at, 0, down.panels, line,
                  0, lines, b.product, stride, line > 0});
    }
    k.add_rows(b.product, stride, b.rows, hidden, floats(layout_.down_bias), b.residual);
}

void Layer::attend(Session& session, const Plan& plan, float* query, const float* key,
                   const float* value) const {
    const int group = shape_.heads / shape_.kv_heads;
    const int queries = std::max(1, attention_rows / group);
    const std::vector<Plan::QueryTile> tiles = plan.query_tiles(queries);
    const std::size_t bytes = kernels_->attend_scratch(shape_.head_dim, group, queries);
    for (int t = 0; t < session.threads(); ++t)
        session.local(t, attention_buffer).reserve(bytes);
    std::vector<std::vector<Piece>> pieces(session.threads());
    const int tasks = static_cast<int>(tiles.size()) * shape_.kv_heads;
    session.for_each(tasks, [&](int index, int thread) {
        // From the last: a long segment's last tiles see the most keys.
        const Plan::QueryTile& tile = tiles[(tasks - 1 - index) / shape_.kv_heads];
        std::vector<Piece>& path = pieces[thread];
        const int offset = plan.path(tile.segment, path) + tile.first;
        kernels_->attend({query, key, value, std::size_t(shape_.queries()),
                          std::size_t(shape_.keys()), shape_.head_dim, group,
                          index % shape_.kv_heads, path.data(), static_cast<int>(path.size()),
                          plan.start(tile.segment) + tile.first, tile.count, offset,
                          session.local(thread, attention_buffer).data()});
    });
}

void Layer::run(float* residual, const Plan& plan) const {
    if (plan.head_dim() != shape_.head_dim)
        throw std::invalid_argument("the plan's cos and sin are for head_dim " +
                                    std::to_string(plan.head_dim()) + ", the layer has " +
                                    std::to_string(shape_.head_dim));
    const Kernels& k = *kernels_;
    const int tokens = plan.tokens();
    if (tokens == 0) return;
    Session session;
    const std::size_t queries = shape_.queries(), keys = shape_.keys();
    float* query = session.shared(query_buffer).reserve_floats(tokens * queries);
    float* key = session.shared(key_buffer).reserve_floats(tokens * keys);
    float* value = session.shared(value_buffer).reserve_floats(tokens * keys);

    // As many blocks as divide evenly among the threads, none larger than block_rows.
    const int rounds = ceil_div(tokens, block_rows * session.threads());
    const int even = ceil_div(tokens, rounds * session.threads());
    const int rows = round_up(std::min(even, block_rows), k.group_rows);
    const int blocks = ceil_div(tokens, rows);
    const int lines = std::max({layout_.qkv.lines, layout_.output.lines, layout_.gate_up.lines});
    const std::size_t qkv_floats = rows * padded(layout_.qkv.panels * k.panel_cols);
    const std::size_t finish_floats =
        rows * (padded(layout_.down.panels * k.panel_cols) + padded(2 * inner_chunk));
    for (int t = 0; t < session.threads(); ++t) {
        session.local(t, operand_buffer).reserve(operand_bytes(k, rows, lines));
        session.local(t, product_buffer).reserve_floats(std::max(qkv_floats, finish_floats));
        session.local(t, activation_buffer)
            .reserve(operand_bytes(k, rows, inner_chunk / k.k_per_line));
    }
    const auto block = [&](int index, int thread) -> Block {
        const int first = index * rows;
        const std::size_t at = static_cast<std::size_t>(first);
        return {plan,
                first,
                std::min(rows, tokens - first),
                residual + at * shape_.hidden,
                query + at * queries,
                key + at * keys,
                value + at * keys,
                session.local(thread, operand_buffer).data(),
                session.local(thread, activation_buffer).data(),
                reinterpret_cast<float*>(session.local(thread, product_buffer).data())};
    };
    session.for_each(blocks, [&](int index, int thread) { project(block(index, thread)); });
    attend(session, plan, query, key, value);
    session.for_each(blocks, [&](int index, int thread) { finish(block(index, thread)); });
}

}  // namespace worldpm
