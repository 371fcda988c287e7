// Four floats in plain C++, for every processor. Included inside an anonymous namespace.
// A fused multiply-add would be a library call where the processor has none: two roundings here.
typedef float Float4 __attribute__((vector_size(16)));
typedef std::int32_t Int4 __attribute__((vector_size(16)));
typedef std::uint32_t Unsigned4 __attribute__((vector_size(16)));

struct Vec {
    static constexpr int width = 4;
    Float4 v;
};

inline Vec load(const float* p) {
    Vec a;
    __builtin_memcpy(&a.v, p, sizeof a.v);
    return a;
}
inline Vec load_n(const float* p, int n) {
    Vec a{Float4{0, 0, 0, 0}};
    for (int i = 0; i < n && i < 4; ++i) a.v[i] = p[i];
    return a;
}
inline void store(float* p, Vec a) { __builtin_memcpy(p, &a.v, sizeof a.v); }
inline void store_n(float* p, Vec a, int n) {
    for (int i = 0; i < n && i < 4; ++i) p[i] = a.v[i];
}
inline Vec set1(float x) { return {Float4{x, x, x, x}}; }
inline Vec add(Vec a, Vec b) { return {a.v + b.v}; }
inline Vec sub(Vec a, Vec b) { return {a.v - b.v}; }
inline Vec mul(Vec a, Vec b) { return {a.v * b.v}; }
inline Vec div(Vec a, Vec b) { return {a.v / b.v}; }
inline Vec fma(Vec a, Vec b, Vec c) { return {a.v * b.v + c.v}; }
inline Vec choose(Int4 mask, Vec yes, Vec no) {
    return {(Float4)((mask & (Int4)yes.v) | (~mask & (Int4)no.v))};
}
// Where b is not a number, so is the result.
inline Vec max_of(Vec a, Vec b) { return choose(a.v > b.v, a, b); }
inline Vec min_of(Vec a, Vec b) { return choose(a.v < b.v, a, b); }
// `a` in the first n lanes, `other` in the rest.
inline Vec first_lanes(Vec a, int n, Vec other) {
    return choose(Int4{0, 1, 2, 3} < Int4{n, n, n, n}, a, other);
}
// Zero where x < limit, `a` elsewhere.
inline Vec zero_below(Vec x, float limit, Vec a) {
    return choose(x.v < set1(limit).v, set1(0.0f), a);
}
// 2^n for the integer n in the low bits of t = n + 1.5 * 2^23.
inline Vec power_of_two(Vec t) { return {(Float4)(((Unsigned4)t.v << 23) + 0x3f800000u)}; }
inline Vec round_bf16(Vec a) {  // nearest bfloat16, ties to even
    const Unsigned4 bits = (Unsigned4)a.v;
    const Unsigned4 up = bits + ((bits >> 16) & 1u) + 0x7fffu;
    const Vec chosen = choose(a.v == a.v, {(Float4)up}, {(Float4)(bits | 0x400000u)});
    return {(Float4)((Unsigned4)chosen.v & 0xffff0000u)};
}
inline void store_bf16(std::uint16_t* p, Vec a) {
    const Unsigned4 bits = (Unsigned4)round_bf16(a).v >> 16;
    for (int i = 0; i < 4; ++i) p[i] = static_cast<std::uint16_t>(bits[i]);
}
inline Vec load_bf16(const std::uint16_t* p) {
    const Unsigned4 bits = {p[0], p[1], p[2], p[3]};
    return {(Float4)(bits << 16)};
}
// Words of the nearest bfloat16 of `low` in their low halves and of `high` in their high ones.
inline void store_bf16_words(char* p, Vec low, Vec high) {
    const Unsigned4 words =
        (Unsigned4)round_bf16(low).v >> 16 | (Unsigned4)round_bf16(high).v;
    __builtin_memcpy(p, &words, sizeof words);
}
// Eight bfloat16 as words (low: a column of the first register, high: of the second).
inline void load_bf16_words(const char* p, Vec& low, Vec& high) {
    Unsigned4 words;
    __builtin_memcpy(&words, p, sizeof words);
    low.v = (Float4)(words << 16);
    high.v = (Float4)(words & 0xffff0000u);
}

// out[j * stride + i] = rows[i][j] for 4 x 4 values.
inline void transpose(const float* const* rows, float* out, std::size_t stride) {
    for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j) out[j * stride + i] = rows[i][j];
}
