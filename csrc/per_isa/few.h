/* GEMM with few rows of A: prefill of short prompts, small batches. Packing B would cost as much as using it, so B is
 * read once, as it lies, along its rows, and the sums are what stays in cache.
 *
 * The inner step takes DEEP rows of B times two vectors of columns into registers and adds them, times their elements
 * of A, to all m rows of the sums: 2 * DEEP multiply-adds for DEEP broadcasts and two loads and stores of a row.
 * (Lines one below the other are what a column walk through B would touch: with leading dimensions of a power of two
 * they all fall into the same few sets of L1. Along a row there is no such trap.) */
enum {
    F(FEW) = 16,  /* up to so many rows this beats packing */
    F(DEEP) = 4,  /* rows of B at once: as many streams as gemv's */
    F(NARROW) = 4 /* up to so many rows the sums are small enough to be passed over for every DEEP rows of B */
};
_Static_assert(2 * F(DEEP) + 2 + SPARE <= REGISTERS, "few.h needs more registers");

/* sums[m,columns] (+)= A[m,u] B[u,columns], the u rows of B `apart` elements from each other, the u elements of a row
 * of A side by side. */
static inline __attribute__((always_inline)) void F(add_deep)(const int u, int64_t m, int64_t columns, const T *a,
                                                              const T *b, int64_t apart, T *sums, int64_t ld,
                                                              int accumulate, struct F(ahead) *ahead) {
    int64_t j = 0;
    for (; j + 2 * LANES <= columns; j += 2 * LANES) {
        vec row[F(DEEP)][2];
#pragma GCC unroll 4
        for (int p = 0; p < u; p++)
            row[p][0] = F(load)(b + p * apart + j), row[p][1] = F(load)(b + p * apart + j + LANES);
        if (!(j & ahead->mask)) F(ask)(ahead, F(DEEP));
        T *to = sums + j;
        const T *x = a;
#pragma GCC unroll 4
        for (int64_t i = 0; i < m; i++, to += ld, x += u) {
            vec sum[2] = {{0}, {0}};
            if (accumulate) sum[0] = F(load)(to), sum[1] = F(load)(to + LANES);
#pragma GCC unroll 4
            for (int p = 0; p < u; p++) sum[0] += x[p] * row[p][0], sum[1] += x[p] * row[p][1];
            F(store)(to, sum[0]), F(store)(to + LANES, sum[1]);
        }
    }
    for (; j < columns; j++)
        for (int64_t i = 0; i < m; i++) {
            T sum = accumulate ? sums[i * ld + j] : 0;
            for (int p = 0; p < u; p++) sum += a[i * u + p] * b[p * apart + j];
            sums[i * ld + j] = sum;
        }
}

struct F(few) {
    int64_t kb, nb, sub;          /* block of B: kb rows of nb columns; the columns whose sums stay in L1 */
    int64_t apart, step;          /* rows of B from one to the next of the DEEP taken together, and to the next DEEP */
    int64_t ld, a_elements, sums; /* distance of the rows of sums; workspace in elements: A, one thread's sums */
};

static struct F(few) F(plan_few)(int threads, int64_t m, int64_t n, int64_t k) {
    struct F(few) z;
    int64_t size = sizeof(T), l1 = cache_bytes(1), l2 = cache_bytes(2), width = divide_up(n, threads);
    if (m <= F(NARROW)) {
        /* DEEP streams through the whole of a thread's columns, a quarter of k apart: the prefetchers follow alone. */
        z.kb = k, z.apart = k / F(DEEP), z.step = 1, z.nb = z.sub = round_up(width, LINE);
    } else {
        /* Blocks of four rows of B at a time, an eighth of L2: while one is used, the next is asked for, row by row.
         * The sums of `sub` columns fill an eighth of L1 and meet kb rows of B before they make room. */
        z.kb = 4 * F(DEEP), z.apart = 1, z.step = F(DEEP);
        int64_t nb = l2 / 8 / (z.kb * size);
        z.nb = round_up(divide_up(width, divide_up(width, nb)), 2 * LINE);
        int64_t sub = l1 / 8 / (m * size) / (2 * LINE) * (2 * LINE);
        z.sub = sub < 2 * LINE ? 2 * LINE : sub;
    }
    z.ld = z.nb + LINE; /* off powers of two */
    z.a_elements = round_up(m * k, LINE);
    z.sums = m * z.ld;
    return z;
}

static void F(few_rows)(int threads, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda, const T *b, int64_t ldb,
                        T *c, int64_t ldc, T *workspace) {
#pragma omp parallel num_threads(threads)
    {
        int t = omp_get_thread_num(), team = omp_get_num_threads();
        const struct F(few) z = F(plan_few)(team, m, n, k);
        const int64_t deep = k / F(DEEP), from = F(DEEP) * deep;
        T *sums = workspace + z.a_elements + t * z.sums;

        /* A in the order of use: for each step the DEEP elements of every row; then what is left of k, one by one. */
        for (int64_t s = deep * t / team; s < deep * (t + 1) / team; s++)
            for (int64_t i = 0; i < m; i++)
                for (int p = 0; p < F(DEEP); p++)
                    workspace[(s * m + i) * F(DEEP) + p] = a[i * lda + s * z.step + p * z.apart];
        if (t == 0)
            for (int64_t p = from; p < k; p++)
                for (int64_t i = 0; i < m; i++) workspace[p * m + i] = a[i * lda + p];
#pragma omp barrier

        const int64_t end = share(n, LINE, t + 1, team);
        for (int64_t jc = share(n, LINE, t, team); jc < end; jc += z.nb) {
            const int64_t nb = end - jc < z.nb ? end - jc : z.nb;
            for (int64_t pc = 0; pc < from; pc += z.kb) {
                const int64_t kb = from - pc < z.kb ? from - pc : z.kb;
                const T *block = b + pc * ldb + jc, *next = pc + kb < from ? block + kb * ldb : b + jc + nb;
                struct F(ahead) ahead = {next, next, divide_up(nb, LINE), divide_up(nb, LINE), ldb, F(DEEP) * ldb,
                                         m <= F(NARROW) ? NEVER : LINE - 1};
                for (int64_t j = 0; j < nb; j += z.sub)
                    for (int64_t p = 0; p < kb; p += F(DEEP)) {
                        const int64_t s = (pc + p) / F(DEEP), columns = nb - j < z.sub ? nb - j : z.sub;
                        F(add_deep)(F(DEEP), m, columns, workspace + s * m * F(DEEP),
                                    b + s * z.step * ldb + jc + j, z.apart * ldb, sums + j, z.ld, s > 0, &ahead);
                    }
            }
            for (int64_t p = from; p < k; p++) {
                struct F(ahead) none = {.at = b, .mask = NEVER};
                F(add_deep)(1, m, nb, workspace + p * m, b + p * ldb + jc, 0, sums, z.ld, p > 0, &none);
            }
            for (int64_t i = 0; i < m; i++) memcpy(c + i * ldc + jc, sums + i * z.ld, nb * sizeof(T));
        }
    }
}
