// The kernels for AMX with its tiles emulated: the same products on any processor, for the tests.
// Nothing here may be shared with other files: see isa_avx512.cpp.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels.hpp"

namespace worldpm {
namespace {
#include "simd_portable.hpp"

#include "gemm.inc"
#include "rows.inc"
#include "pairs.inc"
#include "tiles_emulated.hpp"

#include "tiles.inc"
#include "attention.inc"
#include "table.inc"
}  // namespace

const Kernels* amx_emulated_kernels(Precision, Storage) {
    static constexpr Kernels table =
        make_table<TileDot, PairOut, FloatDot<Storage::float32, 4>, FloatOut>();
    return &table;
}

}  // namespace worldpm
