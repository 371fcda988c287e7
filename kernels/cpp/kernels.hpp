// What an instruction set has to provide: one table of functions for each (precision, storage).
//
// Two packed forms are shared by every table.
//   Operand: activations, rows x k. Rows come in groups of `group_rows`; within a group 64-byte
//     lines follow each other by k and then by row, so element (row, k) lies at
//     ((row / G) * lines + k / L) * G * 64 + (row % G) * 64, L = k_per_line (16 or 32 elements).
//   Panel: `panel_cols` rows of a weight matrix (columns of the product), line by line of k, in
//     whatever order the table's own gemm reads. Both are padded with zeros.
#pragma once
#include <cstddef>
#include <cstdint>

namespace worldpm {

enum class Precision : std::int32_t { float32 = 0, bfloat16 = 1 };
enum class Storage : std::int32_t { float32 = 0, bfloat16 = 1 };

// A run of tokens that lie together, in the order of a conversation.
struct Piece {
    std::int32_t first;  // index into the batch's tokens
    std::int32_t length;
};

// Queries `first_query`.. of one segment, for the `group` query heads that share `kv_head`.
struct AttendTask {
    float* query;  // (tokens, heads * head_dim), scaled and rotated; the output replaces it
    const float* key;    // (tokens, kv_heads * head_dim), rotated
    const float* value;  // the same shape
    std::size_t query_stride, kv_stride;  // floats from one token to the next
    int head_dim, group, kv_head;
    const Piece* pieces;  // from the root to the queries' own segment
    int num_pieces;
    int first_query, num_queries;  // tokens of the batch
    int query_offset;              // keys before the first query on its path
    char* scratch;                 // attend_scratch() bytes, aligned to 64
};

struct RotaryTask {
    float* qkv;  // (rows, stride), q heads, then k heads, then v heads; overwritten
    std::size_t stride;
    int rows, heads, kv_heads, head_dim;
    const float* bias;       // (heads + 2 * kv_heads) * head_dim
    const float* query_norm;  // (head_dim) or null
    const float* key_norm;
    float eps, scale;  // scale multiplies the queries
    const float *cos, *sin;  // (rows, head_dim / 2)
    float *query, *key, *value;  // rows of the batch's buffers, without gaps
};

struct Kernels {
    int group_rows, panel_cols, k_per_line;
    std::size_t panel_line_bytes;  // bytes of one line of k of a panel
    std::size_t row_bytes;         // bytes of one row of an operand's line: 64
    int block_lines;  // lines that a product takes at a time, so that a cache keeps them

    // rows[panel_cols] point at k-long rows (null: zeros) of float32 or bfloat16; writes a panel.
    void (*pack_panel)(const void* const* rows, bool rows_are_bfloat16, int k, char* panel);
    // A thread calls `begin` before and `end` after products: registers to set up and to give back.
    void (*begin)();
    void (*end)();
    // c[rows x panel_cols] (+)= operand[lines from `a`] x panel[lines from `b`].
    void (*gemm)(const char* a, std::size_t a_group_stride, int rows, const char* b, int lines,
                 float* c, std::size_t c_stride, bool accumulate);
    // Row-wise RMS norm, or plain copy, of float32 rows into an operand of `lines` lines.
    void (*norm_rows)(const float* x, std::size_t stride, int rows, int size, const float* weight,
                      float eps, char* operand, int lines);
    void (*copy_rows)(const float* x, std::size_t stride, int rows, int size, char* operand,
                      int lines);
    // relu(c + bias) into an operand.
    void (*relu_rows)(const float* c, std::size_t stride, int rows, int size, const float* bias,
                      char* operand, int lines);
    // silu(gate + its bias) * (up + its bias); c and bias hold panels gate, up, gate, up, ...
    void (*swiglu)(const float* c, std::size_t stride, int rows, int panel_pairs,
                   const float* bias, char* operand, int lines);
    // residual += c + bias.
    void (*add_rows)(const float* c, std::size_t stride, int rows, int size, const float* bias,
                     float* residual);
    void (*rotary)(const RotaryTask& task);
    void (*attend)(const AttendTask& task);
    std::size_t (*attend_scratch)(int head_dim, int group, int max_queries);
};

inline int ceil_div(int a, int b) { return (a + b - 1) / b; }
inline int round_up(int a, int b) { return ceil_div(a, b) * b; }

// Keys are taken in blocks of this many, counted from a conversation's first token.
inline constexpr int key_block = 512;

const Kernels* portable_kernels(Precision, Storage);
const Kernels* avx2_kernels(Precision, Storage);
const Kernels* avx512_kernels(Precision, Storage);
const Kernels* avx512_bf16_kernels(Precision, Storage);
const Kernels* amx_kernels(Precision, Storage);
const Kernels* amx_emulated_kernels(Precision, Storage);

}  // namespace worldpm
