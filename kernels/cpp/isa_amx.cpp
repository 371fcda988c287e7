// The kernels for AMX with bfloat16 (and AVX-512 around the products). Nothing here may be shared
// with other files: see isa_avx512.cpp. Attention stays in float32.
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
#include "tiles_amx.hpp"

#include "tiles.inc"
#include "attention.inc"
#include "table.inc"
}  // namespace

const Kernels* amx_kernels(Precision, Storage) {
    static constexpr Kernels table =
        make_table<TileDot, PairOut, FloatDot<Storage::float32, 14>, FloatOut>();
    return &table;
}

}  // namespace worldpm
