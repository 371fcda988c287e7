// The kernels for AVX-512 with bfloat16 dot products (vdpbf16ps). Nothing here may be shared with
// other files: see isa_avx512.cpp. Attention stays in float32.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <immintrin.h>

#include "kernels.hpp"

namespace worldpm {
namespace {
#include "simd_avx512.hpp"

#include "gemm.inc"
#include "rows.inc"

// Words are pairs of bfloat16 along k; panels are [k / 2][32] words.
struct PairDot {
    static constexpr int group = 14;
    static constexpr int columns = 2 * Vec::width;
    static constexpr int k_per_line = 2 * line_words;
    static constexpr int word_step = columns * sizeof(std::uint32_t);
    static constexpr int panel_line_bytes = line_words * word_step;

    static void load_panel(const char* b, Vec& b0, Vec& b1) {
        b0 = load(reinterpret_cast<const float*>(b));
        b1 = load(reinterpret_cast<const float*>(b) + Vec::width);
    }
    static Vec multiply_add(Vec a, Vec b, Vec c) {
        return {_mm512_dpbf16_ps(c.v, (__m512bh)a.v, (__m512bh)b.v)};
    }
    static void put_steps(char* panel, int k, const float* first, const float* second) {
        char* out = panel + static_cast<std::size_t>(k / 2) * word_step;
        store_bf16_words(out, load(first), load(second));
        store_bf16_words(out + word_step / 2, load(first + Vec::width), load(second + Vec::width));
    }
    static void run(const char* a, std::size_t a_group_stride, int rows, const char* b, int lines,
                    float* c, std::size_t c_stride, bool accumulate) {
        gemm<PairDot>(a, a_group_stride, rows, b, lines, c, c_stride, accumulate);
    }
};

struct PairOut {
    static constexpr int k_per_line = 2 * line_words;
    static void put(char* row, std::size_t stride, int column, Vec x) {
        char* line = row + static_cast<std::size_t>(column / k_per_line) * stride;
        store_bf16(reinterpret_cast<std::uint16_t*>(line) + column % k_per_line, x);
    }
};

#include "attention.inc"
#include "table.inc"
}  // namespace

const Kernels* avx512_bf16_kernels(Precision, Storage) {
    static constexpr Kernels table =
        make_table<PairDot, PairOut, FloatDot<Storage::float32, 14>, FloatOut>();
    return &table;
}

}  // namespace worldpm
