/* What avx2_vnni.h and avx512_vnni.h share, each behind the ISA that it extends. Dot products, see integers.h: four
 * bytes without a sign times four with one, and a sum in 32 bits, in one instruction. So weights are packed 128 more
 * than they are, and nibbles are taken as they are. */
#undef BYTE_STEP
#undef BYTE_BIAS
#undef LOAD_BYTES
#undef DOT_BYTES
#undef DOT_NIBBLES
#undef TOTAL_NIBBLES
#define BYTE_STEP 4
#define BYTE_BIAS 128
#define DOT_NIBBLES DOT_BYTES
