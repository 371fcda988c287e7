// The final norm and the scalar head, in float32.
#pragma once
#include <vector>

#include "cpu.hpp"
#include "matrix.hpp"
#include "pool.hpp"

namespace worldpm {

// The final RMS norm, then linear layers with ReLU between them, the last with one output.
class Head {
public:
    struct Linear {
        Weight weight;
        Weight bias;  // may be absent
    };
    Head(const Weight& norm, float eps, const std::vector<Linear>& layers, const std::string& isa);

    Head(const Head&) = delete;
    Head& operator=(const Head&) = delete;

    int hidden() const { return static_cast<int>(norm_.size()); }
    const char* isa() const { return isa_->name; }
    // rows (count, hidden) -> scores (count); a row's score does not depend on the others.
    void run(const float* rows, int count, float* scores) const;

private:
    struct Packed {
        PackedShape shape;
        int out;
        Buffer panels;
        std::vector<float> bias;
    };
    const Isa* isa_;
    const Kernels* kernels_;
    std::vector<float> norm_;
    float eps_;
    std::vector<std::unique_ptr<Packed>> layers_;
};

}  // namespace worldpm
