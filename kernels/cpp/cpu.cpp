#include "cpu.hpp"

#include <cstdlib>
#include <stdexcept>

#if WORLDPM_X86
#include <cpuid.h>
#endif

namespace worldpm {
namespace {

bool always() { return true; }

#if WORLDPM_X86
struct Features {
    bool avx2 = false, avx512 = false, avx512_bf16 = false, amd = false;

    Features() {
        unsigned a, b, c, d, last;
        if (!__get_cpuid(0, &last, &b, &c, &d)) return;
        amd = b == signature_AMD_ebx && c == signature_AMD_ecx && d == signature_AMD_edx;
        if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return;
        const bool fma = c & bit_FMA, avx = c & bit_AVX;
        unsigned low, high;  // what the operating system saves: XCR0
        __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        const bool saves_ymm = (low & 0x6) == 0x6, saves_zmm = (low & 0xe6) == 0xe6;
        if (last < 7 || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return;
        avx2 = saves_ymm && avx && fma && (b & bit_AVX2);
        const unsigned wanted = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
        avx512 = avx2 && saves_zmm && (b & wanted) == wanted;
        if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d))
            avx512_bf16 = avx512 && (a & (1u << 5));
    }
};

const Features& features() {
    static const Features found;
    return found;
}

bool has_avx2() { return features().avx2; }
bool has_avx512() { return features().avx512; }
bool has_avx512_bf16() { return features().avx512_bf16; }
bool fast_bf16_dot() { return features().amd; }
#else
bool fast_bf16_dot() { return false; }
#endif

// From the most demanding to the least.
const Isa isas[] = {
#if WORLDPM_X86
    {"avx512-bf16", has_avx512_bf16, avx512_bf16_kernels, false},
    {"avx512", has_avx512, avx512_kernels, true},
    {"avx2", has_avx2, avx2_kernels, true},
#endif
    {"portable", always, portable_kernels, true},
};

bool computes(const Isa& isa, Precision precision) {
    return precision == Precision::bfloat16 || isa.computes_float32;
}

}  // namespace

const char* precision_name(Precision precision) {
    return precision == Precision::float32 ? "float32" : "bfloat16";
}

const Isa& find_isa(const std::string& name) {
    std::string known;
    for (const Isa& isa : isas) {
        if (name == isa.name) {
            if (!isa.available())
                throw std::invalid_argument("this processor cannot run the instruction set '" +
                                            name + "'");
            return isa;
        }
        known += (known.empty() ? "" : ", ") + std::string(isa.name);
    }
    throw std::invalid_argument("no instruction set '" + name + "'; there are " + known);
}

std::vector<const Isa*> available_isas(Precision precision) {
    std::vector<const Isa*> found;
    for (const Isa& isa : isas)
        if (isa.available() && computes(isa, precision)) found.push_back(&isa);
    // Intel's vdpbf16ps has half the rate of two float32 FMAs (measured on Emerald Rapids), AMD's
    // twice: there it stays first.
    const auto at = [&](std::size_t i) { return std::string(found[i]->name); };
    if (!fast_bf16_dot())
        for (std::size_t i = 0; i + 1 < found.size(); ++i)
            if (at(i) == "avx512-bf16" && at(i + 1) == "avx512") std::swap(found[i], found[i + 1]);
    return found;
}

const Isa& choose_isa(const std::string& asked, Precision precision) {
    if (!asked.empty()) {
        const Isa& isa = find_isa(asked);
        if (!computes(isa, precision))
            throw std::invalid_argument("the instruction set '" + asked + "' does not compute " +
                                        precision_name(precision));
        return isa;
    }
    const char* forced = std::getenv("WORLDPM_ISA");
    if (forced == nullptr || *forced == '\0') return *available_isas(precision).front();
    const Isa* isa = &find_isa(forced);
    while (!computes(*isa, precision) || !isa->available()) ++isa;  // ends at portable
    return *isa;
}

}  // namespace worldpm
