// Which instruction sets this processor and operating system can run, and the choice among them.
#pragma once
#include <string>
#include <vector>

#include "kernels.hpp"

namespace worldpm {

struct Isa {
    const char* name;
    bool (*available)();
    const Kernels* (*kernels)(Precision, Storage);
    bool computes_float32;
    bool automatic = true;  // or only where it is asked for by name
};

const char* precision_name(Precision precision);

// Every instruction set of this build, by name; throws std::invalid_argument for an unknown name
// or one that this processor cannot run.
const Isa& find_isa(const std::string& name);

// Those that can run here and compute `precision`, fastest first.
std::vector<const Isa*> available_isas(Precision precision);

// `asked`, or, where it is empty, what the environment variable WORLDPM_ISA names (or the best
// below it that computes `precision`), or the fastest.
const Isa& choose_isa(const std::string& asked, Precision precision);

}  // namespace worldpm
