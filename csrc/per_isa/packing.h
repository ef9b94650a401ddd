/* Operands copied into the order in which the microkernel reads them. */

/* h rows of k elements -> k columns of h elements, a square at a time. Whole vectors are stored: what a column of the
 * last h % LANES rows writes too far is overwritten by the squares that follow, and none writes beyond the panel. */
static inline void pack_a(int64_t h, int64_t k, const T *a, int64_t lda, T *to) {
    int64_t p = 0;
    for (; (p + LANES) * h + LANES <= k * h; p += LANES)
        for (int64_t i = (h - 1) / LANES * LANES; i >= 0; i -= LANES) {
            vec square[LANES];
            UNROLLED (16, int64_t l = 0; l < LANES; l++) {
                square[l] = (vec){0};
                if (i + l < h) square[l] = load(a + (i + l) * lda + p);
            }
            transpose(square);
            UNROLLED (16, int64_t q = 0; q < LANES; q++) store(to + (p + q) * h + i, square[q]);
        }
    for (; p < k; p++)
        for (int64_t i = 0; i < h; i++) to[p * h + i] = a[i * lda + p];
}

/* `u` rows of `columns` elements -> as many rows of the strips, which are `strip` elements apart. */
INLINE void pack_rows(const int u, int64_t columns, const T *b, int64_t ldb, T *to, int64_t strip) {
    int64_t j = 0;
    for (; j + LANES <= columns; j += LANES, to += strip)
        UNROLLED (4, int p = 0; p < u; p++) store(to + p * LANES, load(b + p * ldb + j));
    if (j < columns)
        for (int p = 0; p < u; p++)
            for (int64_t l = 0; l < LANES; l++) to[p * LANES + l] = j + l < columns ? b[p * ldb + j + l] : 0;
}

/* k rows of `columns` elements -> ceil(columns / LANES) strips of k x LANES, the last one zero-padded. Four rows at a
 * time: whole cache lines of a strip are written, and B is read as four streams. */
static inline void pack_strips(int64_t k, int64_t columns, const T *b, int64_t ldb, T *to, int64_t strip) {
    int64_t p = 0;
    for (; p + 4 <= k; p += 4) pack_rows(4, columns, b + p * ldb, ldb, to + p * LANES, strip);
    for (; p < k; p++) pack_rows(1, columns, b + p * ldb, ldb, to + p * LANES, strip);
}

/* n rows of k elements -> strips of the transposed, as pack_strips makes them. */
static inline void pack_transposed(int64_t k, int64_t n, const T *b, int64_t ldb, T *to, int64_t strip) {
    for (int64_t j = 0; j < n; j += LANES, b += LANES * ldb, to += strip) {
        int64_t p = 0;
        for (; j + LANES <= n && p + LANES <= k; p += LANES) {
            vec square[LANES];
            UNROLLED (16, int64_t l = 0; l < LANES; l++) square[l] = load(b + l * ldb + p);
            transpose(square);
            UNROLLED (16, int64_t l = 0; l < LANES; l++) store(to + (p + l) * LANES, square[l]);
        }
        for (; p < k; p++)
            for (int64_t l = 0; l < LANES; l++) to[p * LANES + l] = j + l < n ? b[l * ldb + p] : 0;
    }
}

/* The valid columns of a tile that was computed in scratch memory, rows `wide` apart. */
static inline void copy_edge(int64_t h, int64_t columns, const T *scratch, int64_t wide, T *c, int64_t ldc,
                             int accumulate) {
    for (int64_t r = 0; r < h; r++)
        for (int64_t j = 0; j < columns; j++)
            c[r * ldc + j] = scratch[r * wide + j] + (accumulate ? c[r * ldc + j] : 0);
}
