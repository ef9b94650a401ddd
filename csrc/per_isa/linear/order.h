/* The order of linear's weights: strips of LANES rows, each all of its scales, from a cache line on, then all of its
 * weights. Of both, k comes first: the scales of group 0 of every row (the f16, then the bytes of zero points), those
 * of group 1, ...; STEP weights of row 0, as many of row 1, ... The last strip's missing rows, and what k lacks of a
 * whole block, are zeros. A strip is one stream, and so is the next one behind it. */
static inline int64_t place(int64_t p, int r) {
#if WEIGHT_BITS == 4 /* in half bytes */
    const int64_t in = p % 32;
    return 2 * (p / 32 * 16 * LANES + (in % 16 / 4 * LANES + r) * 4 + in % 4) + in / 16;
#else
    return (p / STEP * LANES + r) * STEP + p % STEP;
#endif
}

static void pack_strip(const struct linear_plan *z, int rows, int64_t k, const stored *w, int64_t ldw, uint8_t *strip) {
    uint8_t *weights = strip + z->scales;
    memset(strip, 0, z->strip);
    for (int r = 0; r < rows; r++, w += ldw) {
#if SCALE_BYTES
        for (int64_t g = 0; g < (GROUP ? k / GROUP : 1); g++) put_scale(w, k, g, strip, r);
#endif
        for (int64_t p = 0; p < k; p++) {
            const int64_t at = place(p, r);
#if WEIGHT_BITS == 4
            weights[at / 2] |= (uint8_t)(number(w, k, p) << at % 2 * 4);
#elif INTEGER
            weights[at] = (uint8_t)(number(w, k, p) + BYTE_BIAS);
#else
            memcpy(weights + 2 * at, w + p, 2);
#endif
        }
    }
}

static void run_pack_linear(const struct pack_linear *call) {
    const int64_t n = call->n, k = call->k, ldw = call->ldw;
    const struct linear_plan z = plan_linear(&target, n, k);
    const stored *w = call->w;
    uint8_t *packed = call->packed;
#pragma omp parallel for num_threads(call->threads) schedule(static)
    for (int64_t s = 0; s < z.strips; s++)
        pack_strip(&z, (int)min(n - s * LANES, LANES), k, w + s * LANES * ldw, ldw, packed + s * z.strip);
}
