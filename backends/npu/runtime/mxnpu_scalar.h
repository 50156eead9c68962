/* What C99 lacks, or leaves open, for the plain loops that mxc emits.
 *
 * Every function has one result for every argument that mxc can give it; none has undefined
 * behaviour. Integers wrap, divisions round as named, conversions round to nearest even.
 */
#ifndef MXNPU_SCALAR_H
#define MXNPU_SCALAR_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__FAST_MATH__)
#error "emitted C needs IEEE arithmetic: compile without -ffast-math"
#endif
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0
#error "emitted C needs float arithmetic in float: on x86 compile with -mfpmath=sse"
#endif

/* Signed shifts are arithmetic and out-of-range casts to signed wrap: implementation-defined in
 * C99, true of every compiler this is meant for, and checked here. */
typedef char mxnpu_arithmetic_shift[(-1 >> 1) == -1 ? 1 : -1];
typedef char mxnpu_wrapping_cast[(int8_t)0xFFu == -1 ? 1 : -1];

static inline int64_t mxnpu_floordiv(int64_t a, int64_t b) {
  return a / b - (a % b != 0 && (a % b < 0) != (b < 0));
}

static inline int64_t mxnpu_ceildiv(int64_t a, int64_t b) {
  return a / b + (a % b != 0 && (a % b < 0) == (b < 0));
}

static inline int64_t mxnpu_mod(int64_t a, int64_t b) { return a - mxnpu_floordiv(a, b) * b; }

/* Division towards zero; the smallest number by -1 wraps. */
static inline uint32_t mxnpu_divs32(int32_t a, int32_t b) {
  return b == -1 ? 0u - (uint32_t)a : (uint32_t)(a / b);
}

static inline uint64_t mxnpu_divs64(int64_t a, int64_t b) {
  return b == -1 ? 0u - (uint64_t)a : (uint64_t)(a / b);
}

static inline uint32_t mxnpu_rems32(int32_t a, int32_t b) {
  return b == -1 ? 0u : (uint32_t)(a % b);
}

static inline uint64_t mxnpu_rems64(int64_t a, int64_t b) {
  return b == -1 ? 0u : (uint64_t)(a % b);
}

static inline uint32_t mxnpu_abs32(int32_t a) { return a < 0 ? 0u - (uint32_t)a : (uint32_t)a; }

static inline uint64_t mxnpu_abs64(int64_t a) { return a < 0 ? 0u - (uint64_t)a : (uint64_t)a; }

/* Zero bits above the highest set bit of a number of `width` bits. */
static inline uint32_t mxnpu_clz(uint64_t bits, uint32_t width) {
  uint32_t count = width;
  while (bits != 0) {
    bits >>= 1;
    --count;
  }
  return count;
}

static inline float mxnpu_f32_of_bits(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static inline uint32_t mxnpu_bits_of_f32(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline double mxnpu_f64_of_bits(uint64_t bits) {
  double x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static inline uint64_t mxnpu_bits_of_f64(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

/* `x` in f32, with the last bit set if it is not exact: what is rounded again from here to fewer
 * than 23 bits is rounded as if at once. */
static inline float mxnpu_f32_odd_from_f64(double x) {
  const float near = (float)x;
  uint32_t bits = mxnpu_bits_of_f32(near);
  if (!(x == x) || (double)near == x) return near;
  if (fabs((double)near) > fabs(x)) --bits; /* towards zero */
  return mxnpu_f32_of_bits(bits | 1u);
}

/* A float of sign, `exponent` bits and `mantissa` bits, whose smallest exponent field means
 * 2**emin, from f32 to nearest even; magnitudes that round above `largest` become `beyond`, NaN
 * becomes `nan`. */
static inline uint32_t mxnpu_narrow(float x, uint32_t exponent, uint32_t mantissa, int32_t emin,
                                    uint32_t largest, uint32_t beyond, uint32_t nan) {
  const uint32_t bits = mxnpu_bits_of_f32(x), magnitude = bits & 0x7FFFFFFFu;
  const uint32_t sign = (bits >> 31) << (exponent + mantissa);
  const int32_t field = magnitude < 0x00800000u ? 1 : (int32_t)(magnitude >> 23);
  const int32_t spare = emin + 127 > field ? emin + 127 - field : 0;
  uint32_t significand = magnitude & 0x7FFFFFu, shift = 23u - mantissa, code;
  if (magnitude > 0x7F800000u) return nan | sign;
  if (magnitude == 0x7F800000u) return beyond | sign;
  if (magnitude >= 0x00800000u) significand |= 0x00800000u;
  shift = spare > 24 ? 31u : shift + (uint32_t)spare > 31u ? 31u : shift + (uint32_t)spare;
  code = significand >> shift;
  significand -= code << shift;
  code += significand > (1u << (shift - 1)) || (significand == (1u << (shift - 1)) && (code & 1u));
  if (field > emin + 127) code += (uint32_t)(field - emin - 127) << mantissa;
  return (code > largest ? beyond : code) | sign;
}

/* The value of such a float that is neither infinite nor NaN. */
static inline float mxnpu_widen(uint32_t code, uint32_t exponent, uint32_t mantissa, int32_t emin) {
  const uint32_t field = (code >> mantissa) & ((1u << exponent) - 1u);
  const uint32_t fraction = code & ((1u << mantissa) - 1u);
  const uint32_t significand = field ? fraction | 1u << mantissa : fraction;
  const int32_t scale = emin + (field ? (int32_t)field - 1 : 0) - (int32_t)mantissa;
  const float x = ldexpf((float)significand, scale);
  return code >> (exponent + mantissa) & 1u ? -x : x;
}

static inline uint16_t mxnpu_f16_from_f32(float x) {
  return (uint16_t)mxnpu_narrow(x, 5, 10, -14, 0x7BFFu, 0x7C00u, 0x7E00u);
}

static inline float mxnpu_f32_from_f16(uint16_t code) {
  const uint32_t sign = (uint32_t)(code & 0x8000u) << 16, rest = code & 0x7FFFu;
  if (rest >= 0x7C00u) return mxnpu_f32_of_bits(sign | 0x7F800000u | (rest & 0x3FFu) << 13);
  return mxnpu_f32_of_bits(sign | mxnpu_bits_of_f32(
             mxnpu_f32_of_bits(rest << 13) * mxnpu_f32_of_bits(0x77800000u)));
}

static inline uint16_t mxnpu_f16_from_f64(double x) {
  return mxnpu_f16_from_f32(mxnpu_f32_odd_from_f64(x));
}

static inline uint16_t mxnpu_bf16_from_f32(float x) {
  const uint32_t bits = mxnpu_bits_of_f32(x);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)((bits >> 16) | 0x40u);
  return (uint16_t)((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

static inline float mxnpu_f32_from_bf16(uint16_t code) {
  return mxnpu_f32_of_bits((uint32_t)code << 16);
}

static inline uint16_t mxnpu_bf16_from_f64(double x) {
  return mxnpu_bf16_from_f32(mxnpu_f32_odd_from_f64(x));
}

static inline uint8_t mxnpu_f8e4m3fn_from_f32(float x) {
  return (uint8_t)mxnpu_narrow(x, 4, 3, -6, 0x7Eu, 0x7Fu, 0x7Fu);
}

static inline float mxnpu_f32_from_f8e4m3fn(uint8_t code) {
  return (code & 0x7Fu) == 0x7Fu ? NAN : mxnpu_widen(code, 4, 3, -6);
}

static inline uint8_t mxnpu_f8e4m3fn_from_f64(double x) {
  return mxnpu_f8e4m3fn_from_f32(mxnpu_f32_odd_from_f64(x));
}

static inline uint8_t mxnpu_f8e5m2_from_f32(float x) {
  return (uint8_t)mxnpu_narrow(x, 5, 2, -14, 0x7Bu, 0x7Cu, 0x7Eu);
}

static inline float mxnpu_f32_from_f8e5m2(uint8_t code) {
  return mxnpu_f32_from_f16((uint16_t)(code << 8));
}

static inline uint8_t mxnpu_f8e5m2_from_f64(double x) {
  return mxnpu_f8e5m2_from_f32(mxnpu_f32_odd_from_f64(x));
}

/* FNUZ: 0x80 is the only NaN, there is no infinity and no -0. */
static inline uint8_t mxnpu_fnuz(uint32_t code) {
  return (uint8_t)((code & 0x7Fu) == 0 ? 0 : (code & 0x100u) ? 0x80u : code);
}

static inline uint8_t mxnpu_f8e4m3fnuz_from_f32(float x) {
  return mxnpu_fnuz(mxnpu_narrow(x, 4, 3, -7, 0x7Fu, 0x101u, 0x101u));
}

static inline float mxnpu_f32_from_f8e4m3fnuz(uint8_t code) {
  return code == 0x80u ? NAN : mxnpu_widen(code, 4, 3, -7);
}

static inline uint8_t mxnpu_f8e4m3fnuz_from_f64(double x) {
  return mxnpu_f8e4m3fnuz_from_f32(mxnpu_f32_odd_from_f64(x));
}

static inline uint8_t mxnpu_f8e5m2fnuz_from_f32(float x) {
  return mxnpu_fnuz(mxnpu_narrow(x, 5, 2, -15, 0x7Fu, 0x101u, 0x101u));
}

static inline float mxnpu_f32_from_f8e5m2fnuz(uint8_t code) {
  return code == 0x80u ? NAN : mxnpu_widen(code, 5, 2, -15);
}

static inline uint8_t mxnpu_f8e5m2fnuz_from_f64(double x) {
  return mxnpu_f8e5m2fnuz_from_f32(mxnpu_f32_odd_from_f64(x));
}

/* FP6 and FP4 have neither infinity nor NaN: infinity saturates, NaN becomes the zero of the other
 * sign, as in ml_dtypes. Bits above those of the format are ignored. */
static inline uint8_t mxnpu_finite(float x, uint32_t exponent, uint32_t mantissa, int32_t emin,
                                   uint32_t largest) {
  const uint32_t sign = 1u << (exponent + mantissa);
  if (!(x == x)) return (uint8_t)(mxnpu_bits_of_f32(x) >> 31 ? 0u : sign);
  return (uint8_t)mxnpu_narrow(x, exponent, mantissa, emin, largest, largest, 0u);
}

static inline uint8_t mxnpu_f6e2m3fn_from_f32(float x) { return mxnpu_finite(x, 2, 3, 0, 0x1Fu); }

static inline float mxnpu_f32_from_f6e2m3fn(uint8_t code) { return mxnpu_widen(code, 2, 3, 0); }

static inline uint8_t mxnpu_f6e2m3fn_from_f64(double x) {
  return mxnpu_f6e2m3fn_from_f32(mxnpu_f32_odd_from_f64(x));
}

static inline uint8_t mxnpu_f6e3m2fn_from_f32(float x) { return mxnpu_finite(x, 3, 2, -2, 0x1Fu); }

static inline float mxnpu_f32_from_f6e3m2fn(uint8_t code) { return mxnpu_widen(code, 3, 2, -2); }

static inline uint8_t mxnpu_f6e3m2fn_from_f64(double x) {
  return mxnpu_f6e3m2fn_from_f32(mxnpu_f32_odd_from_f64(x));
}

static inline uint8_t mxnpu_f4e2m1fn_from_f32(float x) { return mxnpu_finite(x, 2, 1, 0, 0x7u); }

static inline float mxnpu_f32_from_f4e2m1fn(uint8_t code) { return mxnpu_widen(code, 2, 1, 0); }

static inline uint8_t mxnpu_f4e2m1fn_from_f64(double x) {
  return mxnpu_f4e2m1fn_from_f32(mxnpu_f32_odd_from_f64(x));
}

/* E8M0: powers of two from 2**-127; 0xFF is NaN, and what is no positive finite number becomes
 * it. Ties go up; what rounds below the smallest becomes it. */
static inline uint8_t mxnpu_f8e8m0fnu_from_f32(float x) {
  const uint32_t bits = mxnpu_bits_of_f32(x);
  if (!(x > 0.0f)) return 0xFFu;
  if (bits < 0x00800000u) return bits > 0x00400000u;
  return (uint8_t)((bits + 0x00400000u) >> 23);
}

static inline float mxnpu_f32_from_f8e8m0fnu(uint8_t code) {
  if (code == 0xFFu) return NAN;
  return mxnpu_f32_of_bits(code ? (uint32_t)code << 23 : 0x00400000u);
}

static inline uint8_t mxnpu_f8e8m0fnu_from_f64(double x) {
  return mxnpu_f8e8m0fnu_from_f32(mxnpu_f32_odd_from_f64(x));
}

#endif
