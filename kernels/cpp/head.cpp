#include "head.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace worldpm {
namespace {

constexpr int block_rows = 112;

[[noreturn]] void fail(const std::string& what) { throw std::invalid_argument(what); }

std::vector<float> vector_of(const Weight& weight) {
    std::vector<float> values(weight.out);
    for (int i = 0; i < weight.out; ++i) {
        if (weight.bfloat16) {
            std::uint32_t bits = 0;
            std::memcpy(reinterpret_cast<char*>(&bits), weight.row(i), 2);
            bits <<= 16;
            std::memcpy(&values[i], &bits, sizeof bits);
        } else {
            std::memcpy(&values[i], weight.row(i), sizeof(float));
        }
    }
    return values;
}

}  // namespace

Head::Head(const Weight& norm, float eps, const std::vector<Linear>& layers,
           const std::string& isa)
    : isa_(&choose_isa(isa, Precision::float32)),
      kernels_(isa_->kernels(Precision::float32, Storage::float32)),
      norm_(vector_of(norm)),
      eps_(eps) {
    if (norm.in != 1 || norm.out < 1) fail("the norm's weight must be a vector");
    if (!(eps >= 0.0f)) fail("eps must be at least 0");
    if (layers.empty()) fail("a head needs at least one linear layer");
    Session session;
    int in = norm.out;
    for (std::size_t i = 0; i < layers.size(); ++i) {
        const Weight &weight = layers[i].weight, &bias = layers[i].bias;
        const std::string name = "the head's weight " + std::to_string(i);
        if (weight.in != in)
            fail(name + " takes " + std::to_string(weight.in) + " inputs, not " +
                 std::to_string(in));
        if (bias.data != nullptr && (bias.out != weight.out || bias.in != 1))
            fail("the head's bias " + std::to_string(i) + " must have " +
                 std::to_string(weight.out) + " values");
        auto packed = std::make_unique<Packed>();
        packed->shape = PackedShape(*kernels_, weight.out, weight.in);
        packed->out = weight.out;
        packed->bias = bias.data == nullptr ? std::vector<float>(weight.out) : vector_of(bias);
        std::vector<const void*> rows;
        for (int r = 0; r < weight.out; ++r) rows.push_back(weight.row(r));
        rows.resize(std::size_t(packed->shape.panels) * kernels_->panel_cols, nullptr);
        pack_matrix(session, *kernels_, packed->shape, rows, weight.bfloat16, weight.in,
                    packed->panels.reserve(packed->shape.bytes()));
        in = weight.out;
        layers_.push_back(std::move(packed));
    }
    if (in != 1) fail("the head's last layer has " + std::to_string(in) + " outputs, not 1");
}

void Head::run(const float* rows, int count, float* scores) const {
    Session session;
    int lines = 0;
    std::size_t columns = 0;
    for (const auto& layer : layers_) {
        lines = std::max(lines, layer->shape.lines);
        columns = std::max(columns, std::size_t(layer->shape.panels) * kernels_->panel_cols);
    }
    char* operand = session.local(0, 0).reserve(operand_bytes(*kernels_, block_rows, lines));
    float* product = session.local(0, 1).reserve_floats(block_rows * columns);
    for (int first = 0; first < count; first += block_rows) {
        const int here = std::min(block_rows, count - first);
        kernels_->norm_rows(rows + std::size_t(first) * hidden(), hidden(), here, hidden(),
                            norm_.data(), eps_, operand, layers_.front()->shape.lines);
        for (std::size_t i = 0; i < layers_.size(); ++i) {
            const Packed& layer = *layers_[i];
            const int outputs = kernels_->panel_cols;
            session.for_each(layer.shape.panels, [&](int panel, int) {
                multiply(*kernels_, layer.shape,
                         {operand, layer.shape.lines, here, layer.panels.data(), panel, 1, 0, 0,
                          layer.shape.lines, product + std::size_t(panel) * outputs, columns,
                          false});
            });
            if (i + 1 < layers_.size())
                kernels_->relu_rows(product, columns, here, layer.out, layer.bias.data(), operand,
                                    layers_[i + 1]->shape.lines);
        }
        for (int r = 0; r < here; ++r)
            scores[first + r] = product[r * columns] + layers_.back()->bias[0];
    }
}

}  // namespace worldpm
