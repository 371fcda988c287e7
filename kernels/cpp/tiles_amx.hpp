// Tiles in the registers of AMX. Included inside an anonymous namespace; see tiles.inc.
//
// A tile's number must be a literal of the instruction, hence the numbers spelt out: GCC's
// intrinsics are macros that paste it. Tiles are a thread's own, and all zero until configured.

struct alignas(64) TileConfig {
    std::uint8_t palette = 1, start_row = 0, unused[14] = {};
    std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

inline void configure_tiles() {
    static constexpr TileConfig config;
    _tile_loadconfig(&config);
}
// The system saves what is in use at every switch of threads: leave nothing.
inline void release_tiles() { _tile_release(); }

template <int tile>
inline void zero_tile() {
    if constexpr (tile == 0) _tile_zero(0);
    if constexpr (tile == 1) _tile_zero(1);
    if constexpr (tile == 2) _tile_zero(2);
    if constexpr (tile == 3) _tile_zero(3);
    static_assert(tile <= 3);
}

template <int tile>
inline void load_tile(const void* p, std::size_t stride) {
    __asm__ volatile("" : : : "memory");  // GCC's intrinsic does not say that it reads memory
    if constexpr (tile == 0) _tile_loadd(0, p, stride);
    if constexpr (tile == 1) _tile_loadd(1, p, stride);
    if constexpr (tile == 2) _tile_loadd(2, p, stride);
    if constexpr (tile == 3) _tile_loadd(3, p, stride);
    if constexpr (tile == 4) _tile_loadd(4, p, stride);
    if constexpr (tile == 5) _tile_loadd(5, p, stride);
    if constexpr (tile == 6) _tile_loadd(6, p, stride);
    if constexpr (tile == 7) _tile_loadd(7, p, stride);
    static_assert(tile <= 7);
}

template <int tile>
inline void store_tile(void* p, std::size_t stride) {
    if constexpr (tile == 0) _tile_stored(0, p, stride);
    if constexpr (tile == 1) _tile_stored(1, p, stride);
    if constexpr (tile == 2) _tile_stored(2, p, stride);
    if constexpr (tile == 3) _tile_stored(3, p, stride);
    static_assert(tile <= 3);
}

template <int sum, int a, int b>
inline void dot_tiles() {
    static_assert(sum <= 3 && a == 4 + sum / 2 && b == 6 + sum % 2);
    if constexpr (sum == 0) _tile_dpbf16ps(0, 4, 6);
    if constexpr (sum == 1) _tile_dpbf16ps(1, 4, 7);
    if constexpr (sum == 2) _tile_dpbf16ps(2, 5, 6);
    if constexpr (sum == 3) _tile_dpbf16ps(3, 5, 7);
}
