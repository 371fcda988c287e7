// Tiles in plain memory, with the bits that the manual gives those of AMX. Included inside an
// anonymous namespace; see tiles.inc.
//
// For each row of a and each column of b, Intel's manual (TDPBF16PS) has two chains of fused
// multiply-adds that start from zero, one over the even and one over the odd steps of k; their sum
// is added to the old value. Every operation rounds to nearest, takes subnormal numbers for zero
// and gives zero for a subnormal result. (Not followed: a result so little below the smallest
// normal number that it rounds to it.)

struct Tile {
    std::uint32_t words[16][16];
};

struct Tiles {
    Tile tile[8];
    bool configured;
};

inline Tiles& tiles() {
    static thread_local Tiles of_this_thread = {};
    return of_this_thread;
}

inline Tile& configured_tile(int tile) {
    if (!tiles().configured) __builtin_trap();  // as the instructions do
    return tiles().tile[tile];
}

inline void configure_tiles() {
    tiles() = {};
    tiles().configured = true;
}
inline void release_tiles() { tiles() = {}; }

template <int tile>
inline void zero_tile() {
    configured_tile(tile) = {};
}

template <int tile>
inline void load_tile(const void* p, std::size_t stride) {
    for (int r = 0; r < 16; ++r)
        std::memcpy(configured_tile(tile).words[r], static_cast<const char*>(p) + r * stride, 64);
}

template <int tile>
inline void store_tile(void* p, std::size_t stride) {
    for (int r = 0; r < 16; ++r)
        std::memcpy(static_cast<char*>(p) + r * stride, configured_tile(tile).words[r], 64);
}

inline float float_of(std::uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// Zero, with its sign, for a subnormal number.
inline float flushed(float x) {
    return __builtin_fabsf(x) < __FLT_MIN__ ? __builtin_copysignf(0.0f, x) : x;
}

// Whether every value is zero or between 2^-40 and 2^41: then a product of two is exact in float32
// and no sum of products is subnormal, so that a multiplication and an addition are what the fused
// operation is, and many times as fast where the processor has none.
inline bool of_moderate_size(const Tile& tile) {
    const auto moderate = [](std::uint32_t half) {
        const std::uint32_t exponent = half >> 7;
        return half == 0 || (exponent >= 127 - 40 && exponent <= 127 + 40);
    };
    for (const auto& row : tile.words)
        for (const std::uint32_t word : row)
            if (!moderate(word & 0x7fff) || !moderate(word >> 16 & 0x7fff)) return false;
    return true;
}

template <int sum, int a, int b>
inline void dot_tiles() {
    const Tile &left = configured_tile(a), &right = configured_tile(b);
    const bool fast = of_moderate_size(left) && of_moderate_size(right);
    for (int m = 0; m < 16; ++m) {
        float even[16] = {}, odd[16] = {};
        for (int k = 0; k < 16; ++k) {
            const float x = flushed(float_of(left.words[m][k] << 16));
            const float y = flushed(float_of(left.words[m][k] & 0xffff0000u));
            const std::uint32_t* words = right.words[k];
            if (fast) {
                for (int n = 0; n < 16; ++n) {
                    even[n] += x * float_of(words[n] << 16);
                    odd[n] += y * float_of(words[n] & 0xffff0000u);
                }
                continue;
            }
            for (int n = 0; n < 16; ++n) {
                const float low = flushed(float_of(words[n] << 16));
                const float high = flushed(float_of(words[n] & 0xffff0000u));
                even[n] = flushed(__builtin_fmaf(x, low, even[n]));
                odd[n] = flushed(__builtin_fmaf(y, high, odd[n]));
            }
        }
        for (int n = 0; n < 16; ++n) {
            std::uint32_t& word = configured_tile(sum).words[m][n];
            const float added = flushed(flushed(float_of(word)) + flushed(even[n] + odd[n]));
            std::memcpy(&word, &added, sizeof word);
        }
    }
}
