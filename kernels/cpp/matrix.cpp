#include "matrix.hpp"

#include <algorithm>

namespace worldpm {

void pack_matrix(Session& session, const Kernels& kernels, const PackedShape& shape,
                 const std::vector<const void*>& rows, bool rows_are_bfloat16, int in, char* out) {
    session.for_each(shape.panels, [&](int panel, int) {
        kernels.pack_panel(rows.data() + std::size_t(panel) * kernels.panel_cols,
                           rows_are_bfloat16, in, out + panel * shape.panel_bytes);
    });
}

void multiply(const Kernels& kernels, const PackedShape& shape, const Product& p) {
    const std::size_t line_bytes = std::size_t(kernels.group_rows) * kernels.row_bytes;
    const std::size_t group_stride = p.operand_lines * line_bytes;
    const int block = kernels.block_lines;
    kernels.begin();
    for (int line = 0; line < p.lines; line += block) {
        const int lines = std::min(block, p.lines - line);
        const char* a = p.operand + (p.operand_first_line + line) * line_bytes;
        for (int i = 0; i < p.panels; ++i) {
            const char* b = p.matrix + (p.first_panel + i) * shape.panel_bytes +
                            (p.matrix_first_line + line) * kernels.panel_line_bytes;
            kernels.gemm(a, group_stride, p.rows, b, lines, p.c + i * kernels.panel_cols,
                         p.c_stride, p.accumulate || line > 0);
        }
    }
    kernels.end();
}

}  // namespace worldpm
