// Sixteen floats in an AVX-512 register. Included inside an anonymous namespace.
struct Vec {
    static constexpr int width = 16;
    __m512 v;
};

inline __mmask16 lanes(int n) { return static_cast<__mmask16>((1u << n) - 1u); }
inline Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline Vec load_n(const float* p, int n) { return {_mm512_maskz_loadu_ps(lanes(n), p)}; }
inline void store(float* p, Vec a) { _mm512_storeu_ps(p, a.v); }
inline void store_n(float* p, Vec a, int n) { _mm512_mask_storeu_ps(p, lanes(n), a.v); }
inline Vec set1(float x) { return {_mm512_set1_ps(x)}; }
inline Vec add(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Vec sub(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Vec mul(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Vec div(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
inline Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// Where b is not a number, so is the result.
inline Vec max_of(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Vec min_of(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
// `a` in the first n lanes, `other` in the rest.
inline Vec first_lanes(Vec a, int n, Vec other) {
    return {_mm512_mask_mov_ps(other.v, lanes(n), a.v)};
}
// Zero where x < limit, `a` elsewhere.
inline Vec zero_below(Vec x, float limit, Vec a) {
    const __mmask16 low = _mm512_cmp_ps_mask(x.v, _mm512_set1_ps(limit), _CMP_LT_OQ);
    return {_mm512_mask_mov_ps(a.v, low, _mm512_setzero_ps())};
}
// 2^n for the integer n in the low bits of t = n + 1.5 * 2^23.
inline Vec power_of_two(Vec t) {
    const __m512i shifted = _mm512_slli_epi32(_mm512_castps_si512(t.v), 23);
    return {_mm512_castsi512_ps(_mm512_add_epi32(shifted, _mm512_set1_epi32(0x3f800000)))};
}
inline __m512i rounded_bits(Vec a) {  // bits of the nearest bfloat16, ties to even
    const __m512i bits = _mm512_castps_si512(a.v);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i bias = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
    const __m512i up = _mm512_add_epi32(bits, bias);
    const __mmask16 nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
    const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
    return _mm512_and_si512(_mm512_mask_mov_epi32(up, nan, quiet),
                            _mm512_set1_epi32(static_cast<int>(0xffff0000u)));
}
inline Vec round_bf16(Vec a) { return {_mm512_castsi512_ps(rounded_bits(a))}; }
inline void store_bf16(std::uint16_t* p, Vec a) {
    const __m256i halves = _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded_bits(a), 16));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), halves);
}
inline Vec load_bf16(const std::uint16_t* p) {
    const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16))};
}
// Words of the nearest bfloat16 of `low` in their low halves and of `high` in their high ones.
inline void store_bf16_words(char* p, Vec low, Vec high) {
    const __m512i words =
        _mm512_or_si512(_mm512_srli_epi32(rounded_bits(low), 16), rounded_bits(high));
    _mm512_storeu_si512(p, words);
}
// Thirty-two bfloat16 as words (low: a column of the first register, high: of the second).
inline void load_bf16_words(const char* p, Vec& low, Vec& high) {
    const __m512i words = _mm512_loadu_si512(p);
    low.v = _mm512_castsi512_ps(_mm512_slli_epi32(words, 16));
    high.v = _mm512_castsi512_ps(
        _mm512_and_si512(words, _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
}

// out[j * stride + i] = rows[i][j] for 16 x 16 values.
inline void transpose(const float* const* rows, float* out, std::size_t stride) {
    __m512 a[16], b[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) a[i] = _mm512_loadu_ps(rows[i]);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
        b[2 * i] = _mm512_unpacklo_ps(a[2 * i], a[2 * i + 1]);
        b[2 * i + 1] = _mm512_unpackhi_ps(a[2 * i], a[2 * i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {  // a[4i + c]: column 4q + c of rows 4i.. in 128-bit lane q
        a[4 * i] = _mm512_shuffle_ps(b[4 * i], b[4 * i + 2], 0x44);
        a[4 * i + 1] = _mm512_shuffle_ps(b[4 * i], b[4 * i + 2], 0xee);
        a[4 * i + 2] = _mm512_shuffle_ps(b[4 * i + 1], b[4 * i + 3], 0x44);
        a[4 * i + 3] = _mm512_shuffle_ps(b[4 * i + 1], b[4 * i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {  // gather the four row quads of each column
        const __m512 even_low = _mm512_shuffle_f32x4(a[c], a[4 + c], 0x88);
        const __m512 odd_low = _mm512_shuffle_f32x4(a[c], a[4 + c], 0xdd);
        const __m512 even_high = _mm512_shuffle_f32x4(a[8 + c], a[12 + c], 0x88);
        const __m512 odd_high = _mm512_shuffle_f32x4(a[8 + c], a[12 + c], 0xdd);
        _mm512_storeu_ps(out + c * stride, _mm512_shuffle_f32x4(even_low, even_high, 0x88));
        _mm512_storeu_ps(out + (8 + c) * stride, _mm512_shuffle_f32x4(even_low, even_high, 0xdd));
        _mm512_storeu_ps(out + (4 + c) * stride, _mm512_shuffle_f32x4(odd_low, odd_high, 0x88));
        _mm512_storeu_ps(out + (12 + c) * stride, _mm512_shuffle_f32x4(odd_low, odd_high, 0xdd));
    }
}
