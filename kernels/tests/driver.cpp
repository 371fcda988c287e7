// Runs every instruction set over random shapes and trees, for the sanitizers; exits 1 where two
// of them disagree, or where a batch of trees and its conversations alone do not give equal bits.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>

#include "head.hpp"
#include "layer.hpp"

using namespace worldpm;

namespace {

std::mt19937 generator(7);

int between(int low, int high) { return std::uniform_int_distribution(low, high)(generator); }

std::vector<float> noise(std::size_t count, float mean, float deviation) {
    std::normal_distribution<float> normal(mean, deviation);
    std::vector<float> values(count);
    for (float& value : values) value = normal(generator);
    return values;
}

struct Tree {
    std::vector<std::int32_t> positions, starts, lengths, parents;
    std::vector<int> path;  // tokens of the last segment's path
};

Tree random_tree(int segments, int longest) {
    Tree tree;
    for (int s = 0; s < segments; ++s) {
        const int parent = s == 0 ? -1 : between(-1, s - 1);
        const int length = between(1, longest);
        int position = 0;
        if (parent >= 0)
            position = tree.positions[tree.starts[parent]] + tree.lengths[parent];
        tree.starts.push_back(static_cast<std::int32_t>(tree.positions.size()));
        tree.lengths.push_back(length);
        tree.parents.push_back(parent);
        for (int i = 0; i < length; ++i) tree.positions.push_back(position + i);
    }
    for (int s = segments - 1; s >= 0; s = tree.parents[s])
        for (int i = tree.lengths[s] - 1; i >= 0; --i)
            tree.path.insert(tree.path.begin(), tree.starts[s] + i);
    return tree;
}

std::unique_ptr<Plan> plan_of(const std::vector<std::int32_t>& positions,
                              const std::vector<std::int32_t>& starts,
                              const std::vector<std::int32_t>& lengths,
                              const std::vector<std::int32_t>& parents, int head_dim) {
    const std::size_t half = head_dim / 2;
    std::vector<float> cos, sin;
    for (const int position : positions)
        for (std::size_t i = 0; i < half; ++i) {
            const float angle = static_cast<float>(position) / static_cast<float>(1 + i * i);
            cos.push_back(std::cos(angle));
            sin.push_back(std::sin(angle));
        }
    return std::make_unique<Plan>(positions, cos, sin, half, starts, lengths, parents);
}

bool check(const LayerShape& shape, const Tree& tree) {
    std::map<std::string, std::vector<float>> values;
    std::map<std::string, Weight> weights;
    const auto add = [&](const std::string& name, int out, int in) {
        const float deviation = in == 1 ? 0.3f : 1.0f / std::sqrt(static_cast<float>(in));
        values[name] = noise(std::size_t(out) * in, in == 1 ? 1.0f : 0.0f, deviation);
        weights[name] = {values[name].data(), false, out, in};
    };
    add("input_layernorm.weight", shape.hidden, 1);
    add("post_attention_layernorm.weight", shape.hidden, 1);
    add("self_attn.q_proj.weight", shape.queries(), shape.hidden);
    add("self_attn.k_proj.weight", shape.keys(), shape.hidden);
    add("self_attn.v_proj.weight", shape.keys(), shape.hidden);
    add("self_attn.v_proj.bias", shape.keys(), 1);
    add("self_attn.o_proj.weight", shape.hidden, shape.queries());
    add("mlp.gate_proj.weight", shape.inner, shape.hidden);
    add("mlp.up_proj.weight", shape.inner, shape.hidden);
    add("mlp.up_proj.bias", shape.inner, 1);
    add("mlp.down_proj.weight", shape.hidden, shape.inner);
    if (shape.qk_norm) {
        add("self_attn.q_norm.weight", shape.head_dim, 1);
        add("self_attn.k_norm.weight", shape.head_dim, 1);
    }
    const auto plan =
        plan_of(tree.positions, tree.starts, tree.lengths, tree.parents, shape.head_dim);
    const int length = static_cast<int>(tree.path.size());
    std::vector<std::int32_t> alone_positions;
    for (const int token : tree.path) alone_positions.push_back(tree.positions[token]);
    const auto alone_plan = plan_of(alone_positions, {0}, {length}, {-1}, shape.head_dim);
    const std::vector<float> input = noise(tree.positions.size() * shape.hidden, 0.0f, 1.0f);

    for (const Precision precision : {Precision::float32, Precision::bfloat16}) {
        std::vector<float> expected;
        std::vector<const Isa*> isas = available_isas(precision);
        if (precision == Precision::bfloat16) isas.push_back(&find_isa("amx-emulated"));
        for (const Isa* isa : isas) {
            const Layer layer(shape, weights, precision, {}, isa->name);
            std::vector<float> residual = input;
            layer.run(residual.data(), *plan);
            const Layer again(layer.packed(), layer.packed_bytes());
            std::vector<float> alone;
            for (const int token : tree.path)
                alone.insert(alone.end(), input.begin() + std::size_t(token) * shape.hidden,
                             input.begin() + std::size_t(token + 1) * shape.hidden);
            again.run(alone.data(), *alone_plan);
            for (int i = 0; i < length; ++i)
                if (std::memcmp(&alone[std::size_t(i) * shape.hidden],
                                &residual[std::size_t(tree.path[i]) * shape.hidden],
                                shape.hidden * sizeof(float)) != 0) {
                    std::printf("%s: token %d has other bits alone\n", isa->name, i);
                    return false;
                }
            if (expected.empty()) expected = residual;
            const float allowed = precision == Precision::float32 ? 1e-4f : 0.3f;
            for (std::size_t i = 0; i < residual.size(); ++i)
                if (!(std::fabs(residual[i] - expected[i]) <= allowed)) {
                    std::printf("%s: %g, not %g\n", isa->name, residual[i], expected[i]);
                    return false;
                }
        }
    }
    const std::vector<float> first = noise(std::size_t(shape.hidden) * shape.hidden, 0.0f, 0.1f);
    const std::vector<float> second = noise(shape.hidden, 0.0f, 1.0f);
    const Weight norm = weights["input_layernorm.weight"];
    const Head head(norm, shape.eps,
                    {{{first.data(), false, shape.hidden, shape.hidden}, norm},
                     {{second.data(), false, 1, shape.hidden}, {}}},
                    "");
    std::vector<float> scores(tree.positions.size());
    head.run(input.data(), static_cast<int>(scores.size()), scores.data());
    return true;
}

float flushed(float x) { return std::fabs(x) < 1.17549435e-38f ? std::copysign(0.0f, x) : x; }

float bfloat16_at(const char* place) {
    std::uint32_t bits = 0;
    std::memcpy(reinterpret_cast<char*>(&bits) + 2, place, 2);
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return flushed(value);
}

// A row's product with a column of a panel as the manual writes it: for every 32 steps of k two
// chains of fused operations, whose sum is added.
float by_the_manual(const char* row, std::size_t line_stride, const char* column, int lines,
                    float sum) {
    for (int line = 0; line < lines; ++line) {
        float chains[2] = {0.0f, 0.0f};
        for (int k = 0; k < 32; ++k)
            chains[k % 2] = flushed(std::fma(
                bfloat16_at(row + line * line_stride + 2 * k),
                bfloat16_at(column + (line * 16 + k / 2) * 128 + k % 2 * 2), chains[k % 2]));
        sum = flushed(flushed(sum) + flushed(chains[0] + chains[1]));
    }
    return sum;
}

// Products in tiles against the manual, to the bit; on AMX itself too where the processor has it.
bool check_tiles() {
    for (int round = 0; round < 40; ++round) {
        const int rows = between(1, 75), lines = between(1, 21), groups = ceil_div(rows, 32);
        const std::size_t group_bytes = std::size_t(lines) * 32 * 64, panel_bytes = lines * 2048;
        std::vector<std::uint16_t> operand(groups * group_bytes / 2), panel(panel_bytes / 2);
        // Exponents, 127 is that of one: moderate ones, any, those of products around the smallest
        // normal number, and subnormal numbers with any.
        constexpr int kinds[4][2][2] = {{{111, 143}, {111, 143}},
                                        {{60, 190}, {60, 190}},
                                        {{60, 66}, {60, 66}},
                                        {{0, 1}, {0, 250}}};
        const auto fill = [&](std::vector<std::uint16_t>& halves, const int (&exponents)[2]) {
            for (std::uint16_t& half : halves)
                half = static_cast<std::uint16_t>(between(0, 1) << 15 |
                                                  between(exponents[0], exponents[1]) << 7 |
                                                  between(0, 127));
        };
        const int swapped = round / 4 % 2;
        fill(operand, kinds[round % 4][swapped]), fill(panel, kinds[round % 4][1 - swapped]);
        const char *a = reinterpret_cast<const char*>(operand.data()),
                   *b = reinterpret_cast<const char*>(panel.data());
        for (const char* name : {"amx-emulated", "amx-bf16"}) {
            if (std::strcmp(name, "amx-bf16") == 0 &&
                std::strcmp(available_isas(Precision::bfloat16)[0]->name, name) != 0)
                continue;
            const Kernels& k = *find_isa(name).kernels(Precision::bfloat16, Storage::bfloat16);
            const std::size_t stride = 48;
            const std::vector<float> before = noise(rows * stride, 0.0f, 1.0f);
            std::vector<float> once(rows * stride, 7.0f), twice = before;
            const int cut = between(0, lines);
            k.begin();
            k.gemm(a, group_bytes, rows, b, lines, once.data(), stride, false);
            k.gemm(a, group_bytes, rows, b, cut, twice.data(), stride, true);
            k.gemm(a + std::size_t(cut) * 2048, group_bytes, rows, b + std::size_t(cut) * 2048,
                   lines - cut, twice.data(), stride, true);
            k.end();
            for (int r = 0; r < rows; ++r)
                for (std::size_t c = 0; c < stride; ++c) {
                    const char* row = a + r / 32 * group_bytes + r % 32 * 64;
                    const std::size_t at = r * stride + c;
                    const bool outside = c >= 32;  // is left alone
                    const auto product = [&](float sum) {
                        return outside ? sum : by_the_manual(row, 2048, b + c * 4, lines, sum);
                    };
                    const float wanted[2] = {outside ? 7.0f : product(0.0f), product(before[at])};
                    if (std::memcmp(&wanted[0], &once[at], 4) != 0 ||
                        std::memcmp(&wanted[1], &twice[at], 4) != 0) {
                        std::printf("%s: row %d, column %zu: %g and %g, not %g and %g\n", name, r,
                                    c, once[at], twice[at], wanted[0], wanted[1]);
                        return false;
                    }
                }
        }
    }
    return true;
}

}  // namespace

int main() {
    if (!check_tiles()) return 1;
    for (const int threads : {1, 2}) {
        set_num_threads(threads);
        for (int round = 0; round < 12; ++round) {
            const int kv_heads = between(1, 3);
            const LayerShape shape{between(1, 70),       kv_heads * between(1, 4), kv_heads,
                                   2 * between(1, 70),   between(1, 300),          1e-2f,
                                   between(0, 1) == 1};
            if (!check(shape, random_tree(between(1, 6), round == 0 ? 600 : 60))) return 1;
        }
    }
    std::puts("all agree");
    return 0;
}
