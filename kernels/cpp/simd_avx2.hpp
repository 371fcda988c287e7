// Eight floats in an AVX register, with FMA. Included inside an anonymous namespace.
struct Vec {
    static constexpr int width = 8;
    __m256 v;
};

inline __m256i lanes(int n) {
    const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), index);
}
inline Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
inline Vec load_n(const float* p, int n) { return {_mm256_maskload_ps(p, lanes(n))}; }
inline void store(float* p, Vec a) { _mm256_storeu_ps(p, a.v); }
inline void store_n(float* p, Vec a, int n) { _mm256_maskstore_ps(p, lanes(n), a.v); }
inline Vec set1(float x) { return {_mm256_set1_ps(x)}; }
inline Vec add(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
inline Vec sub(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline Vec mul(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline Vec div(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
inline Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
// Where b is not a number, so is the result.
inline Vec max_of(Vec a, Vec b) { return {_mm256_max_ps(a.v, b.v)}; }
inline Vec min_of(Vec a, Vec b) { return {_mm256_min_ps(a.v, b.v)}; }
// `a` in the first n lanes, `other` in the rest.
inline Vec first_lanes(Vec a, int n, Vec other) {
    return {_mm256_blendv_ps(other.v, a.v, _mm256_castsi256_ps(lanes(n)))};
}
// Zero where x < limit, `a` elsewhere.
inline Vec zero_below(Vec x, float limit, Vec a) {
    return {_mm256_andnot_ps(_mm256_cmp_ps(x.v, _mm256_set1_ps(limit), _CMP_LT_OQ), a.v)};
}
// 2^n for the integer n in the low bits of t = n + 1.5 * 2^23.
inline Vec power_of_two(Vec t) {
    const __m256i shifted = _mm256_slli_epi32(_mm256_castps_si256(t.v), 23);
    return {_mm256_castsi256_ps(_mm256_add_epi32(shifted, _mm256_set1_epi32(0x3f800000)))};
}
inline Vec round_bf16(Vec a) {  // nearest bfloat16, ties to even
    const __m256i bits = _mm256_castps_si256(a.v);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256 nan = _mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q);
    const __m256 chosen =
        _mm256_blendv_ps(_mm256_castsi256_ps(up), _mm256_castsi256_ps(quiet), nan);
    const __m256i high = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
    return {_mm256_and_ps(chosen, _mm256_castsi256_ps(high))};
}
inline Vec load_bf16(const std::uint16_t* p) {
    const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16))};
}
// Words of the nearest bfloat16 of `low` in their low halves and of `high` in their high ones.
inline void store_bf16_words(char* p, Vec low, Vec high) {
    const __m256i shifted = _mm256_srli_epi32(_mm256_castps_si256(round_bf16(low).v), 16);
    const __m256i words = _mm256_or_si256(shifted, _mm256_castps_si256(round_bf16(high).v));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), words);
}
// Sixteen bfloat16 as words (low: a column of the first register, high: of the second).
inline void load_bf16_words(const char* p, Vec& low, Vec& high) {
    const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    const __m256i mask = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
    low.v = _mm256_castsi256_ps(_mm256_slli_epi32(words, 16));
    high.v = _mm256_castsi256_ps(_mm256_and_si256(words, mask));
}

// out[j * stride + i] = rows[i][j] for 8 x 8 values.
inline void transpose(const float* const* rows, float* out, std::size_t stride) {
    __m256 a[8], b[8];
    for (int i = 0; i < 8; ++i) a[i] = _mm256_loadu_ps(rows[i]);
    for (int i = 0; i < 4; ++i) {
        b[2 * i] = _mm256_unpacklo_ps(a[2 * i], a[2 * i + 1]);
        b[2 * i + 1] = _mm256_unpackhi_ps(a[2 * i], a[2 * i + 1]);
    }
    for (int i = 0; i < 2; ++i) {  // a[4i + c]: column 4q + c of rows 4i.. in 128-bit lane q
        a[4 * i] = _mm256_shuffle_ps(b[4 * i], b[4 * i + 2], 0x44);
        a[4 * i + 1] = _mm256_shuffle_ps(b[4 * i], b[4 * i + 2], 0xee);
        a[4 * i + 2] = _mm256_shuffle_ps(b[4 * i + 1], b[4 * i + 3], 0x44);
        a[4 * i + 3] = _mm256_shuffle_ps(b[4 * i + 1], b[4 * i + 3], 0xee);
    }
    for (int c = 0; c < 4; ++c) {
        _mm256_storeu_ps(out + c * stride, _mm256_permute2f128_ps(a[c], a[4 + c], 0x20));
        _mm256_storeu_ps(out + (4 + c) * stride, _mm256_permute2f128_ps(a[c], a[4 + c], 0x31));
    }
}
