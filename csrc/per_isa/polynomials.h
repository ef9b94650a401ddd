/* Coefficients of pointwise.h, of both element types, lowest power first. Made for Ridgeline. Numba's kernels get them
 * through the C API.
 *
 * Q(a) = 1/2 erfc(a / sqrt 2), the normal distribution's tail beyond a >= 0, is exp(-a^2 / 2) S(t) with t = (a - 4) /
 * (a + 4), which takes [0, inf) to [-1, 1) as in Schonfelder, "Chebyshev Expansions for the Error and Related
 * Functions" (Math. Comp. 32, 1978); S falls from 1/2 at t = -1 to 0. Its Chebyshev series, from values of 50 digits,
 * ends where what is left out adds up to 4e-9 (f32) or 5e-17 (f64), and is written in powers of t: none has a
 * coefficient above 0.2, so Horner's rule loses nothing to cancellation. */
/* clang-format off */
static const double TAIL_SHORT[] = {
    0.09441064260748247, -0.1703976894669538, 0.12437916006397212, -0.07170805958047266, 0.030865937056417783,
    -0.008488349618920317, 0.0005025865374741987, 0.0006298726324926129, -0.00017711176832157545,
    -3.5776685043746024e-05, 1.8786717652412837e-05
};
static const double TAIL_LONG[] = {
    0.09441064130196893, -0.1703977215484544, 0.12437925533926537, -0.07170740733782753, 0.03086480410622515,
    -0.008492095479758216, 0.000507562076799988, 0.0006388138234854208, -0.00018718428669896724,
    -4.555470650032797e-05, 2.8648442798579606e-05, 4.630796917724566e-06, -4.303904346491218e-06,
    -8.274302256520367e-07, 6.62297108753446e-07, 2.026236560690965e-07, -9.534702277947434e-08,
    -4.904678284724266e-08, 1.0479978903484804e-08, 9.259844747144312e-09, -4.583989356967971e-10,
    -9.543550430903501e-10, -4.767851228809609e-11
};

/* exp(r) for |r| <= ln(2) / 2: Taylor's 1 / k!. The first term left out: 5e-9 (after r^7, f32) or 4e-18 (r^13, f64). */
static const double EXP[] = {
    1.0, 1.0, 1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320, 1.0 / 362880, 1.0 / 3628800,
    1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800
};
/* clang-format on */

#define TERMS(coefficients) ((int)(sizeof(coefficients) / sizeof *(coefficients)))
#define EXP_TERMS(single) ((single) ? 8 : TERMS(EXP))
