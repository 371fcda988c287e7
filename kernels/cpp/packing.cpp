// From a checkpoint's tensors to a layer's packed buffer, and back from a stored one.
#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <type_traits>

#include "layer.hpp"

namespace worldpm {
namespace {

constexpr char magic[8] = {'W', 'P', 'M', 'L', 'A', 'Y', 'E', 'R'};
constexpr std::uint32_t version = 1;  // raise it whenever a packed form changes

[[noreturn]] void fail(const std::string& what) { throw std::invalid_argument(what); }

float to_float(const Weight& weight, int index) {
    std::uint32_t bits = 0;
    if (weight.bfloat16) {
        std::uint16_t half;
        std::memcpy(&half, static_cast<const char*>(weight.data) + 2 * std::size_t(index), 2);
        bits = std::uint32_t{half} << 16;
    } else {
        std::memcpy(&bits, static_cast<const char*>(weight.data) + 4 * std::size_t(index), 4);
    }
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// Takes weights by name and knows which nobody took.
class Taker {
public:
    explicit Taker(const std::map<std::string, Weight>& weights) : left_(weights) {}

    Weight optional(const std::string& name, int out, int in) {
        const auto found = left_.find(name);
        if (found == left_.end()) return {};
        const Weight weight = found->second;
        if (weight.out != out || weight.in != in)
            fail("the weight " + name + " has shape (" + std::to_string(weight.out) + ", " +
                 std::to_string(weight.in) + "), not (" + std::to_string(out) + ", " +
                 std::to_string(in) + ")");
        left_.erase(found);
        return weight;
    }
    Weight required(const std::string& name, int out, int in) {
        const Weight weight = optional(name, out, in);
        if (weight.data == nullptr) fail("the weight " + name + " is missing");
        return weight;
    }
    void finish() const {
        if (!left_.empty()) fail("the layer has no weight " + left_.begin()->first);
    }

private:
    std::map<std::string, Weight> left_;
};

bool all_bfloat16(const std::map<std::string, Weight>& weights) {
    return std::all_of(weights.begin(), weights.end(), [](const auto& item) {
        return item.second.in == 1 || item.second.bfloat16;  // vectors are kept in float32
    });
}

Storage choose_storage(const std::map<std::string, Weight>& weights, Precision precision,
                       std::optional<Storage> asked) {
    if (precision == Precision::bfloat16) {
        if (asked == Storage::float32) fail("precision bfloat16 stores its weights in bfloat16");
        return Storage::bfloat16;
    }
    const bool exact = all_bfloat16(weights);
    if (!asked) return exact ? Storage::bfloat16 : Storage::float32;
    if (*asked == Storage::bfloat16 && !exact)
        fail("storage bfloat16 would round the float32 weights; choose precision bfloat16 for that");
    return *asked;
}

}  // namespace

struct Layer::Header {
    char magic_[8];
    std::uint32_t version_;
    char isa[20];
    std::int32_t precision, storage;
    std::int32_t hidden, heads, kv_heads, head_dim, inner;
    float eps;
    std::int32_t qk_norm, unused;  // no gap anywhere: equal layers pack to equal bytes
    std::uint64_t total;

    LayerShape shape() const {
        return {hidden, heads, kv_heads, head_dim, inner, eps, qk_norm != 0};
    }
};

void LayerShape::check() const {
    if (hidden < 1 || heads < 1 || kv_heads < 1 || head_dim < 1 || inner < 1)
        fail("every size of a layer must be at least 1");
    if (std::max({hidden, heads, kv_heads, head_dim, inner}) > (1 << 20))
        fail("no size of a layer may be over 2^20");
    if (head_dim % 2 != 0)
        fail("head_dim " + std::to_string(head_dim) + " is odd; rotary halves need even");
    if (heads % kv_heads != 0)
        fail(std::to_string(heads) + " attention heads are not a multiple of " +
             std::to_string(kv_heads) + " key-value heads");
    if (!(eps >= 0.0f)) fail("rms_norm_eps must be at least 0");
}

PackedLayout::PackedLayout(const Kernels& kernels, const LayerShape& shape)
    : qkv(kernels, shape.queries() + 2 * shape.keys(), shape.hidden),
      output(kernels, shape.hidden, shape.queries()),
      gate_up(kernels, 2 * round_up(shape.inner, kernels.panel_cols), shape.hidden),
      down(kernels, shape.hidden, shape.inner) {
    total = 256;  // the header
    const auto place = [this](std::size_t bytes) {
        const std::size_t at = total;
        total += (bytes + 63) / 64 * 64;
        return at;
    };
    const std::size_t one = sizeof(float), columns = kernels.panel_cols;
    input_norm = place(shape.hidden * one);
    qkv_bias = place(qkv.panels * columns * one);
    query_norm = place(shape.head_dim * one);
    key_norm = place(shape.head_dim * one);
    output_bias = place(shape.hidden * one);
    post_norm = place(shape.hidden * one);
    gate_up_bias = place(gate_up.panels * columns * one);
    down_bias = place(shape.hidden * one);
    qkv_at = place(qkv.bytes());
    output_at = place(output.bytes());
    gate_up_at = place(gate_up.bytes());
    down_at = place(down.bytes());
}

Layer::Layer(const LayerShape& shape, const std::map<std::string, Weight>& weights,
             Precision precision, std::optional<Storage> storage, const std::string& isa)
    : shape_((shape.check(), shape)),
      precision_(precision),
      storage_(choose_storage(weights, precision, storage)),
      isa_(&choose_isa(isa, precision)),
      kernels_(isa_->kernels(precision_, storage_)),
      layout_(*kernels_, shape_),
      data_(own_.reserve(layout_.total, false)) {
    pack(weights);
}

void Layer::pack(const std::map<std::string, Weight>& weights) {
    char* out = own_.data();
    std::memset(out, 0, layout_.qkv_at);  // absent biases are zero; panels are written whole
    Taker take(weights);
    const int hidden = shape_.hidden, inner = shape_.inner, columns = kernels_->panel_cols;
    const int queries = shape_.queries(), keys = shape_.keys();
    const auto vector = [&](const Weight& weight, std::size_t at, int first) {
        float* to = reinterpret_cast<float*>(out + at) + first;
        for (int i = 0; weight.data != nullptr && i < weight.out; ++i) to[i] = to_float(weight, i);
    };
    Session session;
    const auto matrix = [&](const PackedShape& shape, std::size_t at, int in,
                            const std::vector<const void*>& rows, bool bfloat16) {
        pack_matrix(session, *kernels_, shape, rows, bfloat16, in, out + at);
    };
    const auto same = [](const Weight& a, const Weight& b) {
        if (a.bfloat16 != b.bfloat16)
            fail("weights that are multiplied together must be all float32 or all bfloat16");
    };

    vector(take.required("input_layernorm.weight", hidden, 1), layout_.input_norm, 0);
    vector(take.required("post_attention_layernorm.weight", hidden, 1), layout_.post_norm, 0);
    const Weight q = take.required("self_attn.q_proj.weight", queries, hidden);
    const Weight k = take.required("self_attn.k_proj.weight", keys, hidden);
    const Weight v = take.required("self_attn.v_proj.weight", keys, hidden);
    same(q, k), same(q, v);
    std::vector<const void*> rows;
    for (const Weight* weight : {&q, &k, &v})
        for (int i = 0; i < weight->out; ++i) rows.push_back(weight->row(i));
    rows.resize(std::size_t(layout_.qkv.panels) * columns, nullptr);
    matrix(layout_.qkv, layout_.qkv_at, hidden, rows, q.bfloat16);
    vector(take.optional("self_attn.q_proj.bias", queries, 1), layout_.qkv_bias, 0);
    vector(take.optional("self_attn.k_proj.bias", keys, 1), layout_.qkv_bias, queries);
    vector(take.optional("self_attn.v_proj.bias", keys, 1), layout_.qkv_bias, queries + keys);
    if (shape_.qk_norm) {
        vector(take.required("self_attn.q_norm.weight", shape_.head_dim, 1), layout_.query_norm, 0);
        vector(take.required("self_attn.k_norm.weight", shape_.head_dim, 1), layout_.key_norm, 0);
    }

    const auto plain = [&](const Weight& weight, const PackedShape& shape, std::size_t at) {
        rows.clear();
        for (int i = 0; i < weight.out; ++i) rows.push_back(weight.row(i));
        rows.resize(std::size_t(shape.panels) * columns, nullptr);
        matrix(shape, at, weight.in, rows, weight.bfloat16);
    };
    plain(take.required("self_attn.o_proj.weight", hidden, queries), layout_.output,
          layout_.output_at);
    vector(take.optional("self_attn.o_proj.bias", hidden, 1), layout_.output_bias, 0);
    plain(take.required("mlp.down_proj.weight", hidden, inner), layout_.down, layout_.down_at);
    vector(take.optional("mlp.down_proj.bias", hidden, 1), layout_.down_bias, 0);

    // Panels of the gate and of the up projection alternate, so that one pass sees both.
    const Weight gate = take.required("mlp.gate_proj.weight", inner, hidden);
    const Weight up = take.required("mlp.up_proj.weight", inner, hidden);
    const Weight gate_bias = take.optional("mlp.gate_proj.bias", inner, 1);
    const Weight up_bias = take.optional("mlp.up_proj.bias", inner, 1);
    same(gate, up);
    rows.assign(std::size_t(layout_.gate_up.panels) * columns, nullptr);
    float* bias = reinterpret_cast<float*>(out + layout_.gate_up_bias);
    for (int i = 0; i < inner; ++i) {
        const std::size_t at = std::size_t(i / columns) * 2 * columns + i % columns;
        rows[at] = gate.row(i);
        rows[at + columns] = up.row(i);
        if (gate_bias.data != nullptr) bias[at] = to_float(gate_bias, i);
        if (up_bias.data != nullptr) bias[at + columns] = to_float(up_bias, i);
    }
    matrix(layout_.gate_up, layout_.gate_up_at, hidden, rows, gate.bfloat16);
    take.finish();

    Header header{};
    std::memcpy(header.magic_, magic, sizeof magic);
    header.version_ = version;
    std::strncpy(header.isa, isa_->name, sizeof header.isa - 1);
    header.precision = static_cast<std::int32_t>(precision_);
    header.storage = static_cast<std::int32_t>(storage_);
    header.hidden = shape_.hidden;
    header.heads = shape_.heads;
    header.kv_heads = shape_.kv_heads;
    header.head_dim = shape_.head_dim;
    header.inner = shape_.inner;
    header.eps = shape_.eps;
    header.qk_norm = shape_.qk_norm;
    header.total = layout_.total;
    static_assert(sizeof header == 80 && std::is_trivially_copyable_v<Header>);
    std::memcpy(out, &header, sizeof header);
}

namespace {

template <class Header>
Header read_header(const char* packed, std::size_t size) {
    Header header;
    if (size < 256) fail("the packed layer is cut off: it has " + std::to_string(size) + " bytes");
    std::memcpy(&header, packed, sizeof header);
    if (std::memcmp(header.magic_, magic, sizeof magic) != 0) fail("this is not a packed layer");
    if (header.version_ != version)
        fail("the layer was packed in form " + std::to_string(header.version_) +
             ", this version reads form " + std::to_string(version));
    if (header.isa[sizeof header.isa - 1] != '\0' || (header.precision | 1) != 1 ||
        (header.storage | 1) != 1)
        fail("the packed layer's header is damaged");
    header.shape().check();
    return header;
}

}  // namespace

Layer::Layer(const char* packed, std::size_t size)
    : shape_(read_header<Header>(packed, size).shape()),
      precision_(static_cast<Precision>(read_header<Header>(packed, size).precision)),
      storage_(static_cast<Storage>(read_header<Header>(packed, size).storage)),
      isa_(&choose_isa(read_header<Header>(packed, size).isa, precision_)),
      kernels_(isa_->kernels(precision_, storage_)),
      layout_(*kernels_, shape_),
      data_(packed) {
    if (size != layout_.total || read_header<Header>(packed, size).total != layout_.total)
        fail("the packed layer has " + std::to_string(size) + " bytes, its shape needs " +
             std::to_string(layout_.total));
}

}  // namespace worldpm
