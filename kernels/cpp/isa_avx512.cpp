// The kernels for AVX-512 (F, BW, DQ, VL). Nothing here may be shared with other files: it is compiled for a
// processor that others may not be, hence the anonymous namespace and no standard templates.
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
#include "attention.inc"
#include "table.inc"
}  // namespace

const Kernels* avx512_kernels(Precision precision, Storage storage) {
    return float_tables<14>(precision, storage);
}

}  // namespace worldpm
