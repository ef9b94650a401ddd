/* linear_a16: linear with activations rounded to bf16 on the way in, nearest even, subnormal ones to 0: as instructions
 * take them that multiply two neighbours along k at once. Those flush subnormal weights and sums, too. */
static inline uint32_t rounded_to_half(T x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t size = bits & 0x7fffffff, nearest = bits + 0x7fff + (bits >> 16 & 1);
    return (size > 0x7f800000 ? bits | 0x400000 : size < 0x800000 ? 0 : nearest) & 0xffff0000;
}

#if PRODUCTS_OF_HALVES
/* x is packed, words of two neighbours along k, h of them side by side. */
static void prepare_a16(const struct linear_plan *z, int h, int64_t k, const T *x, int64_t ldx, void *packed) {
    uint32_t *words = packed;
    for (int64_t p = 0; p < z->k; p += 2)
        for (int i = 0; i < h; i++) {
            const uint32_t low = p < k ? rounded_to_half(x[i * ldx + p]) : 0;
            *words++ = (p + 1 < k ? rounded_to_half(x[i * ldx + p + 1]) : 0) | low >> 16;
        }
}
static int64_t a16_row_bytes(const struct linear_plan *z) { return z->k * (int64_t)sizeof(uint16_t); }

INLINE void multiply_a16(const int h, const int v, const struct linear_plan *z, const void *packed,
                         const struct strips *strips) {
    const int turns = h * v == 1 ? 4 : h * v == 2 ? 2 : 1; /* see multiply() */
    vec total[F32_ROWS][WIDEST], part[4][F32_ROWS][WIDEST];
    UNROLLED (16, int i = 0; i < h; i++)
        UNROLLED (8, int s = 0; s < v; s++)
            UNROLLED (4, int u = 0; u < turns; u++) part[u][i][s] = (vec){0};
    const int32_t *x = packed;
    const uint8_t *w = strips->at + z->scales;
    for (int64_t b = 0; b < z->k / BLOCK_K; b++, x += BLOCK_K / STEP * h)
        UNROLLED (16, int j = 0; j < BLOCK_K / STEP; j++, w += CHUNK)
            UNROLLED (8, int s = 0; s < v; s++) {
                const ints two = load_ints(w + s * strips->apart);
                UNROLLED (16, int i = 0; i < h; i++)
                    part[j % turns][i][s] = dot_halves(part[j % turns][i][s], two, (ints){0} + x[j * h + i]);
            }
    UNROLLED (16, int i = 0; i < h; i++)
        UNROLLED (8, int s = 0; s < v; s++) {
            total[i][s] = part[0][i][s];
            UNROLLED (4, int u = 1; u < turns; u++) total[i][s] += part[u][i][s];
        }
    store_tile(h, v, total, strips);
}
LINEAR_FORM(multiply_a16, F32_ROWS, prepare_a16, a16_row_bytes)
#else
static void prepare_a16(const struct linear_plan *z, int h, int64_t k, const T *x, int64_t ldx, void *packed) {
    uint32_t *bits = packed;
    prepare(z, h, k, x, ldx, packed);
    for (int64_t p = 0; p < z->k * h; p++) bits[p] = rounded_to_half(((const T *)packed)[p]);
}
static const struct linear_form multiply_a16_form = {
    {PASTE(HEIGHTS_, F32_ROWS)(LINEAR_ROW, multiply)}, F32_ROWS, prepare_a16, f32_row_bytes};
#endif
static void run_linear_a16(const struct linear *call) { run_form(call, &multiply_a16_form); }
static int64_t linear_a16_workspace(const struct linear *call) { return form_workspace(call, &multiply_a16_form); }
