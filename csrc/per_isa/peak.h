/* The FMA ceiling: as many independent chains as saturate the units, whatever the register tile has; nothing loaded,
 * nothing stored. x = x * 0.5 + 0.5 stays at 1 for ever: no denormals, no overflow, and no compiler may fold it without
 * -ffast-math. Each chain starts at another value, so no two can be merged. Without FMA it is a multiply and an add. */
static void run_peak(const struct peak *call) {
    const int64_t iterations = call->iterations;
    double total = 0;
#pragma omp parallel num_threads(call->threads) reduction(+ : total)
    {
        vec acc[CHAINS], half = (vec){0} + (T)0.5;
        __asm__("" : "+m"(half)); /* opaque: not a constant to the compiler */
        UNROLLED (32, int i = 0; i < CHAINS; i++) acc[i] = half + (T)i;
        for (int64_t p = 0; p < iterations; p++) {
            UNROLLED (32, int i = 0; i < CHAINS; i++) acc[i] = acc[i] * half + half;
        }
        T mine = 0;
        UNROLLED (32, int i = 0; i < CHAINS; i++) mine += sum(acc[i]);
        total += mine;
    }
    *call->total = total;
}
