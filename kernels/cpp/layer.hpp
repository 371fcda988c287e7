// One decoder layer: its weights packed in one buffer, and the forward over a batch.
#pragma once
#include <cstddef>
#include <map>
#include <optional>
#include <string>

#include "cpu.hpp"
#include "matrix.hpp"
#include "plan.hpp"
#include "pool.hpp"

namespace worldpm {

struct LayerShape {
    int hidden, heads, kv_heads, head_dim, inner;
    float eps;
    bool qk_norm;

    int queries() const { return heads * head_dim; }
    int keys() const { return kv_heads * head_dim; }
    void check() const;  // throws std::invalid_argument
};

// Where each part lies in the buffer; follows from the shape and the kernels alone.
struct PackedLayout {
    PackedShape qkv, output, gate_up, down;
    std::size_t input_norm, qkv_bias, query_norm, key_norm, output_bias, post_norm, gate_up_bias,
        down_bias, qkv_at, output_at, gate_up_at, down_at, total;

    PackedLayout(const Kernels& kernels, const LayerShape& shape);
};

class Layer {
public:
    // `weights` by checkpoint name without "model.layers.i.". Without `storage`, float32 weights
    // are kept as such for float32 and everything else as bfloat16.
    Layer(const LayerShape& shape, const std::map<std::string, Weight>& weights,
          Precision precision, std::optional<Storage> storage, const std::string& isa);
    // A view of what `packed` gave in an earlier process; the buffer must outlive the layer.
    // Throws std::invalid_argument unless it was packed by this version for this instruction set.
    Layer(const char* packed, std::size_t size);

    const char* packed() const { return data_; }
    std::size_t packed_bytes() const { return layout_.total; }
    const LayerShape& shape() const { return shape_; }
    Precision precision() const { return precision_; }
    Storage storage() const { return storage_; }
    const char* isa() const { return isa_->name; }

    // residual (plan.tokens(), hidden) is replaced by the layer's output.
    void run(float* residual, const Plan& plan) const;

private:
    struct Block;
    struct Header;
    void project(const Block& block) const;
    void attend(Session& session, const Plan& plan, float* query, const float* key,
                const float* value) const;
    void finish(const Block& block) const;
    void pack(const std::map<std::string, Weight>& weights);
    const float* floats(std::size_t at) const {
        return reinterpret_cast<const float*>(data_ + at);
    }

    LayerShape shape_;
    Precision precision_;
    Storage storage_;
    const Isa* isa_;
    const Kernels* kernels_;
    PackedLayout layout_;
    Buffer own_;
    const char* data_;
};

}  // namespace worldpm
