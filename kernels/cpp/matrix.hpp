// Packed weight matrices and their products with blocks of rows.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "kernels.hpp"
#include "pool.hpp"

namespace worldpm {

// A weight (out, in) as it lies in a checkpoint, row by row.
struct Weight {
    const void* data = nullptr;  // null: absent
    bool bfloat16 = false;
    int out = 0, in = 0;

    const char* row(int index) const {
        return static_cast<const char*>(data) + std::size_t(index) * in * (bfloat16 ? 2 : 4);
    }
};

// The shape of a packed matrix: panels of `panel_cols` output columns, each of `lines` lines of k.
struct PackedShape {
    int panels = 0, lines = 0;
    std::size_t panel_bytes = 0;

    PackedShape() = default;
    PackedShape(const Kernels& kernels, int out, int in)
        : panels(ceil_div(out, kernels.panel_cols)),
          lines(ceil_div(in, kernels.k_per_line)),
          panel_bytes(std::size_t(lines) * kernels.panel_line_bytes) {}
    std::size_t bytes() const { return panels * panel_bytes; }
};

// Packs rows[panel * panel_cols ..] (null: zeros) into the panels at `out`, all threads at work.
void pack_matrix(Session& session, const Kernels& kernels, const PackedShape& shape,
                 const std::vector<const void*>& rows, bool rows_are_bfloat16, int in, char* out);

// c[rows x panels] (+)= a[lines first_line .. + lines] x the same lines of panels first_panel..
// Long products go line block by line block, so that what is read again stays in the cache.
struct Product {
    const char* operand;
    int operand_lines;  // lines of the whole operand
    int rows;
    const char* matrix;
    int first_panel, panels;
    int matrix_first_line, operand_first_line, lines;
    float* c;
    std::size_t c_stride;
    bool accumulate;
};
void multiply(const Kernels& kernels, const PackedShape& shape, const Product& product);

// Bytes of an operand of `rows` rows.
inline std::size_t operand_bytes(const Kernels& kernels, int rows, int lines) {
    return std::size_t(round_up(rows, kernels.group_rows)) * lines * kernels.row_bytes;
}

}  // namespace worldpm
