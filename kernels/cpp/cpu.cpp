#include "cpu.hpp"

#include <cstdlib>
#include <stdexcept>

#if WORLDPM_X86
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace worldpm {
namespace {

bool always() { return true; }

#if WORLDPM_X86
// Linux hands out the tiles' 8 KB of state to processes that ask, once for all their threads and
// children. Only eight tiles of 16 rows of 64 bytes will do: leaf 1d says what palette 1 has.
bool tiles_permitted() {
    unsigned a, b, c, d;
    if (!__get_cpuid_count(0x1d, 1, &a, &b, &c, &d)) return false;
    if (b >> 16 < 8 || (b & 0xffff) != 64 || (c & 0xffff) != 16) return false;
#if defined(__linux__) && defined(SYS_arch_prctl)
    constexpr int request_permission = 0x1023, tile_data = 18;
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
    return false;
#endif
}

struct Features {
    bool avx2 = false, avx512 = false, avx512_bf16 = false, amx = false, amd = false;

    Features() {
        unsigned a, b, c, d, last;
        if (!__get_cpuid(0, &last, &b, &c, &d)) return;
        amd = b == signature_AMD_ebx && c == signature_AMD_ecx && d == signature_AMD_edx;
        if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return;
        const bool fma = c & bit_FMA, avx = c & bit_AVX;
        unsigned low, high;  // what the operating system saves: XCR0
        __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        const bool saves_ymm = (low & 0x6) == 0x6, saves_zmm = (low & 0xe6) == 0xe6;
        const bool saves_tiles = (low & 0x60000) == 0x60000;  // their shapes and what they hold
        if (last < 7 || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return;
        const unsigned highest = a;  // of leaf 7's parts
        avx2 = saves_ymm && avx && fma && (b & bit_AVX2);
        const unsigned wanted = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
        avx512 = avx2 && saves_zmm && (b & wanted) == wanted;
        const unsigned tiles = 1u << 22 | 1u << 24;  // AMX-BF16, AMX-TILE
        amx = avx512 && saves_tiles && (d & tiles) == tiles && last >= 0x1d && tiles_permitted();
        if (highest >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d))
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
bool has_amx() { return features().amx; }
bool fast_bf16_dot() { return features().amd; }
#else
bool fast_bf16_dot() { return false; }
#endif

// From the most demanding to the least.
const Isa isas[] = {
    {"amx-emulated", always, amx_emulated_kernels, false, false},
#if WORLDPM_X86
    {"amx-bf16", has_amx, amx_kernels, false},
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
        if (isa.automatic && isa.available() && computes(isa, precision)) found.push_back(&isa);
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
