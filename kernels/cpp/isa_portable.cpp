// The kernels for any processor. Nothing here may be shared with other files: it is compiled for a
// processor that others may not be, hence the anonymous namespace and no standard templates.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels.hpp"

namespace worldpm {
namespace {
#include "simd_portable.hpp"

#include "gemm.inc"
#include "rows.inc"
#include "attention.inc"
#include "table.inc"
}  // namespace

const Kernels* portable_kernels(Precision precision, Storage storage) {
    return float_tables<4>(precision, storage);
}

}  // namespace worldpm
