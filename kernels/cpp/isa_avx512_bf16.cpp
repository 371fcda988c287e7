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
#include "pairs.inc"

struct PairDot : PairPanels {
    static constexpr int group = 14;
    static constexpr int block_lines = l2_block_bytes / panel_line_bytes;

    static void begin() {}
    static void end() {}
    static void load_panel(const char* b, Vec& b0, Vec& b1) {
        b0 = load(reinterpret_cast<const float*>(b));
        b1 = load(reinterpret_cast<const float*>(b) + Vec::width);
    }
    static Vec multiply_add(Vec a, Vec b, Vec c) {
        return {_mm512_dpbf16_ps(c.v, (__m512bh)a.v, (__m512bh)b.v)};
    }
    static void run(const char* a, std::size_t a_group_stride, int rows, const char* b, int lines,
                    float* c, std::size_t c_stride, bool accumulate) {
        gemm<PairDot>(a, a_group_stride, rows, b, lines, c, c_stride, accumulate);
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
