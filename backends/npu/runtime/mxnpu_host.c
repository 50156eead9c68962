/* The HAL on a host processor: portable C99, bit for bit what mxnpu.h says.
 *
 * Contractions decode a panel of each operand once and run on floats, or on doubles where an exact
 * sum needs them (53 bits hold it, see MX_SUM_BITS; wider ones take the slow way). The loop over
 * columns is innermost, so it vectorises without splitting any sum. Commands are done when they are
 * given. Needs about 100 KiB of stack.
 */
#include "mxnpu_host.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#if defined(__clang__) || !defined(__GNUC__)
#pragma STDC FP_CONTRACT OFF
#endif /* gcc does not know it: the Makefile says -ffp-contract=off */

enum { ROWS = 64, COLUMNS = 64, DEPTH = 32, LANES = 16 };

/* -- reading operands */

static float half_value(uint16_t code) {
  const uint32_t sign = (uint32_t)(code & 0x8000u) << 16, rest = code & 0x7FFFu;
  const float scale = mx_float(0x77800000u); /* 2**112 */
  if (rest >= 0x7C00u) return mx_float(sign | 0x7F800000u | (rest & 0x3FFu) << 13);
  return mx_float(sign | mx_bits(mx_float(rest << 13) * scale));
}

/* `lines` rows or columns of a matrix along `depth`, both with blocks. */
typedef struct {
  const mxnpu_operand *operand;
  int64_t base, line_stride, depth_stride;
  int64_t scale_base, line_scale, depth_scale, line_block, depth_block;
} matrix;

static float plain_value(const mxnpu_operand *x, int64_t at) {
  switch (x->kind) {
    case MXNPU_F16:
      return half_value(((const uint16_t *)x->data)[at]);
    case MXNPU_BF16:
      return mx_float((uint32_t)((const uint16_t *)x->data)[at] << 16);
    case MXNPU_F32:
    case MXNPU_BLOCKS:
      break;
  }
  return ((const float *)x->data)[at];
}

/* The panel of lines `line` .. and depths `k` .., which no block boundary cuts along depth:
 * element (i, j) to out[i * line_step + j * depth_step], times its scale unless `scales` is given,
 * which then gets the scale of each line. */
static void gather(const matrix *x, int64_t line, int64_t lines, int64_t k, int64_t depth,
                   float *out, int64_t line_step, int64_t depth_step, float *scales) {
  for (int64_t i = 0; i < lines; ++i) {
    const int64_t at = x->base + (line + i) * x->line_stride + k * x->depth_stride;
    float *const to = out + i * line_step;
    if (x->operand->kind == MXNPU_BLOCKS) {
      const uint8_t *const codes = (const uint8_t *)x->operand->data + at;
      const float *const values = MX_VALUES[x->operand->format];
      const int64_t place = x->scale_base + (line + i) / x->line_block * x->line_scale +
                            k / x->depth_block * x->depth_scale;
      const float scale = mx_scale_of(x->operand->format, x->operand->scales[place]);
      const float factor = scales ? 1.0f : scale;
      if (scales) scales[i] = scale;
      for (int64_t j = 0; j < depth; ++j) {
        to[j * depth_step] = values[codes[j * x->depth_stride]] * factor;
      }
    } else if (x->operand->kind == MXNPU_F32) {
      const float *const from = (const float *)x->operand->data + at;
      for (int64_t j = 0; j < depth; ++j) to[j * depth_step] = from[j * x->depth_stride];
    } else {
      for (int64_t j = 0; j < depth; ++j) {
        to[j * depth_step] = plain_value(x->operand, at + j * x->depth_stride);
      }
    }
  }
}

/* -- sums over one panel */

typedef struct {
  float a[ROWS][DEPTH];
  float b[DEPTH][COLUMNS];
  float sum[ROWS][COLUMNS];
  float scale_a[ROWS];
  float scale_b[COLUMNS];
} panel;

/* How one contraction adds up. */
typedef struct {
  mx_contract contract;
  mx_format format_a, format_b;
  int64_t step; /* depths never cross a multiple of it */
} plan;

/* One row of sums: eight depths at a time, so that a sum is loaded and stored once for eight
 * products; each column adds its own, in ascending order. */
static void row_float(float *restrict sum, const float *restrict a, const float (*restrict b)[COLUMNS],
                      int64_t columns, int64_t depth) {
  int64_t k = 0;
  for (; k + 8 <= depth; k += 8) {
    for (int64_t c = 0; c < columns; ++c) {
      float t = sum[c];
      t = t + a[k + 0] * b[k + 0][c];
      t = t + a[k + 1] * b[k + 1][c];
      t = t + a[k + 2] * b[k + 2][c];
      t = t + a[k + 3] * b[k + 3][c];
      t = t + a[k + 4] * b[k + 4][c];
      t = t + a[k + 5] * b[k + 5][c];
      t = t + a[k + 6] * b[k + 6][c];
      t = t + a[k + 7] * b[k + 7][c];
      sum[c] = t;
    }
  }
  for (; k < depth; ++k) {
    for (int64_t c = 0; c < columns; ++c) sum[c] = sum[c] + a[k] * b[k][c];
  }
}

/* The same, rounded once per product. */
static void row_fused(float *restrict sum, const float *restrict a, const float (*restrict b)[COLUMNS],
                      int64_t columns, int64_t depth) {
  int64_t k = 0;
  for (; k + 8 <= depth; k += 8) {
    for (int64_t c = 0; c < columns; ++c) {
      float t = sum[c];
      t = fmaf(a[k + 0], b[k + 0][c], t);
      t = fmaf(a[k + 1], b[k + 1][c], t);
      t = fmaf(a[k + 2], b[k + 2][c], t);
      t = fmaf(a[k + 3], b[k + 3][c], t);
      t = fmaf(a[k + 4], b[k + 4][c], t);
      t = fmaf(a[k + 5], b[k + 5][c], t);
      t = fmaf(a[k + 6], b[k + 6][c], t);
      t = fmaf(a[k + 7], b[k + 7][c], t);
      sum[c] = t;
    }
  }
  for (; k < depth; ++k) {
    for (int64_t c = 0; c < columns; ++c) sum[c] = fmaf(a[k], b[k][c], sum[c]);
  }
}

/* The same in f64. */
static void row_double(double *restrict sum, const double *restrict a, const double (*restrict b)[COLUMNS],
                       int64_t columns, int64_t depth) {
  int64_t k = 0;
  for (; k + 8 <= depth; k += 8) {
    for (int64_t c = 0; c < columns; ++c) {
      double t = sum[c];
      t = t + a[k + 0] * b[k + 0][c];
      t = t + a[k + 1] * b[k + 1][c];
      t = t + a[k + 2] * b[k + 2][c];
      t = t + a[k + 3] * b[k + 3][c];
      t = t + a[k + 4] * b[k + 4][c];
      t = t + a[k + 5] * b[k + 5][c];
      t = t + a[k + 6] * b[k + 6][c];
      t = t + a[k + 7] * b[k + 7][c];
      sum[c] = t;
    }
  }
  for (; k < depth; ++k) {
    for (int64_t c = 0; c < columns; ++c) sum[c] = sum[c] + a[k] * b[k][c];
  }
}

/* The exact sum in f32, where 24 bits hold it. */
static void add_exact_float(panel *p, int64_t rows, int64_t columns, int64_t depth) {
  for (int64_t r = 0; r < rows; ++r) {
    float sum[COLUMNS] = {0};
    row_float(sum, p->a[r], (const float (*)[COLUMNS])p->b, columns, depth);
    for (int64_t c = 0; c < columns; ++c) {
      const double scale = (double)p->scale_a[r] * (double)p->scale_b[c];
      p->sum[r][c] += (float)((double)sum[c] * scale);
    }
  }
}

/* The exact sum in f64, where 53 bits hold it. */
static void add_exact_double(panel *p, int64_t rows, int64_t columns, int64_t depth) {
  double b[DEPTH][COLUMNS];
  for (int64_t k = 0; k < depth; ++k) {
    for (int64_t c = 0; c < columns; ++c) b[k][c] = (double)p->b[k][c];
  }
  for (int64_t r = 0; r < rows; ++r) {
    double a[DEPTH], sum[COLUMNS] = {0};
    for (int64_t k = 0; k < depth; ++k) a[k] = (double)p->a[r][k];
    row_double(sum, a, (const double (*)[COLUMNS])b, columns, depth);
    for (int64_t c = 0; c < columns; ++c) {
      const double scale = (double)p->scale_a[r] * (double)p->scale_b[c];
      p->sum[r][c] += (float)(sum[c] * scale);
    }
  }
}

/* `sum` + `error` rounded to odd: a later rounding to f32 is then as if from the exact value. */
static double to_odd(double sum, double error) {
  uint64_t bits;
  if (error == 0.0 || sum - sum != 0.0) return sum;
  memcpy(&bits, &sum, sizeof bits);
  if (bits & 1u) return sum;
  bits = (error > 0.0) == (sum > 0.0) ? bits + 1u : bits - 1u;
  memcpy(&sum, &bits, sizeof sum);
  return sum;
}

/* The exact sum where 53 bits are too few: the rounding errors of f64 are summed apart. They are
 * multiples of the smallest product and far fewer than 53 bits, so their sum is exact. */
static void add_exact_wide(panel *p, int64_t rows, int64_t columns, int64_t depth) {
  for (int64_t r = 0; r < rows; ++r) {
    double sum[COLUMNS] = {0}, error[COLUMNS] = {0};
    for (int64_t k = 0; k < depth; ++k) {
      const double a = (double)p->a[r][k];
      for (int64_t c = 0; c < columns; ++c) {
        const double product = a * (double)p->b[k][c];
        const double next = sum[c] + product, back = next - sum[c];
        error[c] += (sum[c] - (next - back)) + (product - back);
        sum[c] = next;
      }
    }
    for (int64_t c = 0; c < columns; ++c) {
      const double scale = (double)p->scale_a[r] * (double)p->scale_b[c];
      if (sum[c] - sum[c] == 0.0) { /* else error is NaN, and sum says what the result is */
        const double next = sum[c] + error[c], back = next - sum[c];
        error[c] = (sum[c] - (next - back)) + (error[c] - back);
        sum[c] = next;
      }
      p->sum[r][c] += (float)(to_odd(sum[c], error[c]) * scale);
    }
  }
}

static void add_panel(const plan *how, panel *p, int64_t rows, int64_t columns, int64_t depth) {
  const int64_t whole = (columns + LANES - 1) / LANES * LANES; /* what is over is never stored */
  const float (*const b)[COLUMNS] = (const float (*)[COLUMNS])p->b;
  if (how->contract == MX_SEQUENTIAL) {
    for (int64_t r = 0; r < rows; ++r) row_float(p->sum[r], p->a[r], b, whole, depth);
  } else if (how->contract == MX_SEQUENTIAL_FMA) {
    for (int64_t r = 0; r < rows; ++r) row_fused(p->sum[r], p->a[r], b, whole, depth);
  } else if (MX_SUM_BITS[how->format_a][how->format_b] <= 24) {
    add_exact_float(p, rows, whole, depth);
  } else if (MX_SUM_BITS[how->format_a][how->format_b] <= 53) {
    add_exact_double(p, rows, whole, depth);
  } else {
    add_exact_wide(p, rows, columns, depth);
  }
}

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t common_divisor(int64_t a, int64_t b) {
  while (b != 0) {
    const int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

/* The step along depth: no block boundary of either operand lies inside. */
static plan plan_of(mx_contract contract, const mxnpu_operand *a, int64_t block_a,
                    const mxnpu_operand *b, int64_t block_b) {
  plan how = {contract, a->format, b->format, DEPTH};
  if (a->kind == MXNPU_BLOCKS) how.step = common_divisor(how.step, block_a);
  if (b->kind == MXNPU_BLOCKS) how.step = common_divisor(how.step, block_b);
  return how;
}

/* -- matmul */

/* The matrix of operand `x` whose lines run along `line_axis`, depth along `depth_axis`, at the
 * batch position `at`. */
static matrix batch_matrix(const mxnpu_operand *x, uint32_t rank, uint32_t line_axis,
                           uint32_t depth_axis, const int64_t *at) {
  matrix m = {x, 0, x->stride[line_axis], x->stride[depth_axis], 0, 0, 0, 1, 1};
  for (uint32_t axis = 0; axis + 2 < rank; ++axis) m.base += at[axis] * x->stride[axis];
  if (x->kind != MXNPU_BLOCKS) return m;
  m.line_scale = x->scale_stride[line_axis];
  m.depth_scale = x->scale_stride[depth_axis];
  m.line_block = x->block[line_axis];
  m.depth_block = x->block[depth_axis];
  for (uint32_t axis = 0; axis + 2 < rank; ++axis) {
    m.scale_base += at[axis] / x->block[axis] * x->scale_stride[axis];
  }
  return m;
}

static void matmul_tile(const plan *how, const matrix *a, const matrix *b, int64_t row,
                        int64_t rows, int64_t column, int64_t columns, int64_t depth, panel *p) {
  float *const scale_a = how->contract == MX_BLOCK_EXACT ? p->scale_a : NULL;
  float *const scale_b = how->contract == MX_BLOCK_EXACT ? p->scale_b : NULL;
  for (int64_t k = 0; k < depth; k += how->step) {
    const int64_t count = smaller(how->step, depth - k);
    gather(a, row, rows, k, count, p->a[0], DEPTH, 1, scale_a);
    gather(b, column, columns, k, count, p->b[0], 1, COLUMNS, scale_b);
    add_panel(how, p, rows, columns, count);
  }
}

static int next_position(uint32_t rank, const int64_t *shape, int64_t *at) {
  for (uint32_t axis = rank; axis-- > 0;) {
    if (++at[axis] < shape[axis]) return 1;
    at[axis] = 0;
  }
  return 0;
}

void mxnpu_matmul(mxnpu_device *device, const mxnpu_matmul_desc *d) {
  const uint32_t m = d->rank - 2, n = d->rank - 1;
  const int64_t block_a = d->lhs.block[n] < d->depth ? d->lhs.block[n] : DEPTH;
  const int64_t block_b = d->rhs.block[m] < d->depth ? d->rhs.block[m] : DEPTH;
  const plan how = plan_of(d->contract, &d->lhs, block_a, &d->rhs, block_b);
  int64_t at[MXNPU_MAX_RANK] = {0};
  panel p;
  mxnpu_time_matmul(device, d);
  for (uint32_t axis = 0; axis < d->rank; ++axis) {
    if (d->shape[axis] == 0) return;
  }
  memset(&p, 0, sizeof p);
  do {
    const matrix a = batch_matrix(&d->lhs, d->rank, m, n, at);
    const matrix b = batch_matrix(&d->rhs, d->rank, n, m, at);
    float *output = d->output;
    for (uint32_t axis = 0; axis < m; ++axis) output += at[axis] * d->output_stride[axis];
    for (int64_t column = 0; column < d->shape[n]; column += COLUMNS) {
      const int64_t columns = smaller(COLUMNS, d->shape[n] - column);
      for (int64_t row = 0; row < d->shape[m]; row += ROWS) {
        const int64_t rows = smaller(ROWS, d->shape[m] - row);
        memset(p.sum, 0, sizeof p.sum);
        matmul_tile(&how, &a, &b, row, rows, column, columns, d->depth, &p);
        for (int64_t i = 0; i < rows; ++i) {
          float *const line = output + (row + i) * d->output_stride[m];
          for (int64_t j = 0; j < columns; ++j) {
            line[(column + j) * d->output_stride[n]] = p.sum[i][j];
          }
        }
      }
    }
  } while (next_position(m, d->shape, at));
}

/* -- convolution: for each kernel position, a product of weights and shifted inputs */

/* Where the inputs of a tile's output positions lie for one kernel position; -1 is outside. */
typedef struct {
  int64_t data[COLUMNS];
  int64_t scale[COLUMNS];
  int64_t output[COLUMNS];
} places;

static void set_place(const mxnpu_conv_desc *d, int64_t image, const int64_t *tap,
                      const int64_t *at, int64_t j, places *to) {
  const mxnpu_operand *const x = &d->lhs;
  const int blocked = x->kind == MXNPU_BLOCKS;
  to->data[j] = image * x->stride[0];
  to->scale[j] = blocked ? image / x->block[0] * x->scale_stride[0] : 0;
  to->output[j] = image * d->output_stride[0];
  for (uint32_t axis = 0; axis < d->rank; ++axis) {
    const int64_t i = at[axis] * d->strides[axis] + tap[axis] * d->dilations[axis] - d->pads[axis];
    to->output[j] += at[axis] * d->output_stride[axis + 2];
    if (i < 0 || i >= d->input_shape[axis]) {
      to->data[j] = INT64_MIN;
    } else if (to->data[j] != INT64_MIN) {
      to->data[j] += i * x->stride[axis + 2];
      if (blocked) to->scale[j] += i / x->block[axis + 2] * x->scale_stride[axis + 2];
    }
  }
}

static void set_places(const mxnpu_conv_desc *d, int64_t image, const int64_t *tap, int64_t first,
                       int64_t count, places *to) {
  int64_t at[MXNPU_MAX_RANK] = {0};
  for (uint32_t axis = d->rank; axis-- > 0;) {
    at[axis] = first % d->output_shape[axis];
    first /= d->output_shape[axis];
  }
  for (int64_t j = 0; j < count; ++j) {
    set_place(d, image, tap, at, j, to);
    (void)next_position(d->rank, d->output_shape, at);
  }
}

/* Channels `channel` .. of the inputs at `at`, as gather does. */
static void gather_inputs(const mxnpu_operand *x, const places *at, int64_t count, int64_t channel,
                          int64_t depth, float *out, float *scales) {
  const float *const values = MX_VALUES[x->kind == MXNPU_BLOCKS ? x->format : 0];
  for (int64_t j = 0; j < count; ++j) {
    const int64_t base = at->data[j] + channel * x->stride[1];
    float factor = 1.0f;
    if (scales) scales[j] = 1.0f;
    if (at->data[j] == INT64_MIN) {
      for (int64_t k = 0; k < depth; ++k) out[k * COLUMNS + j] = 0.0f;
      continue;
    }
    if (x->kind == MXNPU_BLOCKS) {
      const int64_t place = at->scale[j] + channel / x->block[1] * x->scale_stride[1];
      const uint8_t *const codes = (const uint8_t *)x->data + base;
      const float scale = mx_scale_of(x->format, x->scales[place]);
      if (scales) scales[j] = scale;
      if (!scales) factor = scale;
      for (int64_t k = 0; k < depth; ++k) {
        out[k * COLUMNS + j] = values[codes[k * x->stride[1]]] * factor;
      }
      continue;
    }
    for (int64_t k = 0; k < depth; ++k) {
      out[k * COLUMNS + j] = plain_value(x, base + k * x->stride[1]);
    }
  }
}

/* The weights at one kernel position. */
static matrix tap_matrix(const mxnpu_conv_desc *d, const int64_t *tap) {
  const mxnpu_operand *const w = &d->rhs;
  matrix m = {w, 0, w->stride[0], w->stride[1], 0, 0, 0, 1, 1};
  for (uint32_t axis = 0; axis < d->rank; ++axis) m.base += tap[axis] * w->stride[axis + 2];
  if (w->kind != MXNPU_BLOCKS) return m;
  m.line_scale = w->scale_stride[0];
  m.depth_scale = w->scale_stride[1];
  m.line_block = w->block[0];
  m.depth_block = w->block[1];
  for (uint32_t axis = 0; axis < d->rank; ++axis) {
    m.scale_base += tap[axis] / w->block[axis + 2] * w->scale_stride[axis + 2];
  }
  return m;
}

static void conv_tile(const mxnpu_conv_desc *d, const plan *how, int64_t image, int64_t group,
                      int64_t row, int64_t rows, int64_t first, int64_t count, panel *p,
                      places *at) {
  const int64_t channels = d->channels / d->groups;
  float *const scale_a = how->contract == MX_BLOCK_EXACT ? p->scale_a : NULL;
  float *const scale_b = how->contract == MX_BLOCK_EXACT ? p->scale_b : NULL;
  int64_t tap[MXNPU_MAX_RANK] = {0};
  do {
    const matrix w = tap_matrix(d, tap);
    set_places(d, image, tap, first, count, at);
    for (int64_t k = 0; k < channels; k += how->step) {
      const int64_t depth = smaller(how->step, channels - k);
      gather(&w, row, rows, k, depth, p->a[0], DEPTH, 1, scale_a);
      gather_inputs(&d->lhs, at, count, group * channels + k, depth, p->b[0], scale_b);
      add_panel(how, p, rows, count, depth);
    }
  } while (next_position(d->rank, d->kernel_shape, tap));
}

static void conv_image(const mxnpu_conv_desc *d, const plan *how, int64_t image, int64_t positions,
                       panel *p) {
  const int64_t rows_of_group = d->output_channels / d->groups;
  places at;
  for (int64_t group = 0; group < d->groups; ++group) {
    const int64_t last = (group + 1) * rows_of_group;
    for (int64_t first = 0; first < positions; first += COLUMNS) {
      const int64_t count = smaller(COLUMNS, positions - first);
      for (int64_t row = group * rows_of_group; row < last; row += ROWS) {
        const int64_t rows = smaller(ROWS, last - row);
        memset(p->sum, 0, sizeof p->sum);
        conv_tile(d, how, image, group, row, rows, first, count, p, &at);
        for (int64_t i = 0; i < rows; ++i) {
          float *const line = d->output + (row + i) * d->output_stride[1];
          for (int64_t j = 0; j < count; ++j) line[at.output[j]] = p->sum[i][j];
        }
      }
    }
  }
}

void mxnpu_conv(mxnpu_device *device, const mxnpu_conv_desc *d) {
  const int64_t channels = d->channels / d->groups;
  const int64_t block_b = d->rhs.kind == MXNPU_BLOCKS ? d->rhs.block[1] : DEPTH;
  int64_t block_a = d->lhs.kind == MXNPU_BLOCKS ? d->lhs.block[1] : DEPTH, positions = 1;
  plan how;
  panel p;
  mxnpu_time_conv(device, d);
  if (block_a >= d->channels) block_a = DEPTH; /* one block: it cuts nothing */
  how = plan_of(d->contract, &d->rhs, block_b >= channels ? DEPTH : block_b, &d->lhs, block_a);
  if (d->contract != MX_BLOCK_EXACT && channels % how.step != 0 && d->groups > 1) {
    how.step = common_divisor(how.step, channels); /* groups may begin inside of a block */
  }
  memset(&p, 0, sizeof p);
  for (uint32_t axis = 0; axis < d->rank; ++axis) positions *= d->output_shape[axis];
  for (int64_t image = 0; image < d->batch; ++image) conv_image(d, &how, image, positions, &p);
}

/* -- conversions: mxnpu_numerics.h does the work */

void mxnpu_quantize(mxnpu_device *device, const mxnpu_quantize_desc *d) {
  const mxnpu_operand *const x = &d->source;
  int64_t at[MXNPU_MAX_RANK] = {0}, shape[MXNPU_MAX_RANK];
  mx_quant_desc part = d->how;
  mxnpu_time_quantize(device, d);
  if (x->kind == MXNPU_BLOCKS) {
    part.format = x->format;
    for (uint32_t axis = 0; axis < part.rank; ++axis) part.block[axis] = (size_t)x->block[axis];
    mx_requantize(&part, (const uint8_t *)x->data, x->scales, &d->how, d->codes, d->scales);
    return;
  }
  for (uint32_t axis = 0; axis < d->dense; ++axis) {
    shape[axis] = (int64_t)part.shape[axis];
    if (shape[axis] == 0) return;
    part.shape[axis] = 1;
  }
  do { /* one dense part after the other */
    ptrdiff_t from = 0, codes = 0, scales = 0;
    for (uint32_t axis = 0; axis < d->dense; ++axis) {
      from += at[axis] * part.strides[axis];
      codes += at[axis] * d->code_stride[axis];
      scales += at[axis] * d->scale_stride[axis];
    }
    mx_quantize(&part, (const float *)x->data + from, d->codes + codes, d->scales + scales);
  } while (next_position(d->dense, shape, at));
}

void mxnpu_dequantize(mxnpu_device *device, const mxnpu_dequantize_desc *d) {
  const mxnpu_operand *const x = &d->source;
  mx_quant_desc how;
  mxnpu_time_dequantize(device, d);
  memset(&how, 0, sizeof how);
  how.rank = d->rank;
  how.format = x->format;
  for (uint32_t axis = 0; axis < d->rank; ++axis) {
    how.shape[axis] = (size_t)d->shape[axis];
    how.strides[axis] = (ptrdiff_t)d->target_stride[axis];
    how.block[axis] = (size_t)x->block[axis];
  }
  mx_dequantize(&how, (const uint8_t *)x->data, x->scales, d->target);
}

/* -- DMA */

/* Copies `count` elements of `size` bytes. */
static void copy_line(unsigned char *to, int64_t to_step, const unsigned char *from,
                      int64_t from_step, int64_t count, uint32_t size) {
  if (to_step == 1 && from_step == 1) {
    memcpy(to, from, (size_t)count * size);
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    memcpy(to + i * to_step * (int64_t)size, from + i * from_step * (int64_t)size, size);
  }
}

void mxnpu_dma(mxnpu_device *device, const mxnpu_dma_desc *d) {
  const int64_t size = (int64_t)d->element_bytes;
  int64_t at[MXNPU_MAX_RANK] = {0}, count = 1, to_step = 1, from_step = 1;
  uint32_t rank = d->rank;
  mxnpu_time_dma(device, d);
  for (uint32_t axis = 0; axis < rank; ++axis) {
    if (d->shape[axis] == 0) return;
  }
  if (rank > 0) {
    count = d->shape[rank - 1];
    to_step = d->target_stride[rank - 1];
    from_step = d->source_stride[rank - 1];
    --rank;
  }
  while (rank > 0 && d->target_stride[rank - 1] == to_step * count &&
         d->source_stride[rank - 1] == from_step * count) {
    count *= d->shape[--rank]; /* lines that follow each other are one */
  }
  do {
    int64_t from = 0, to = 0;
    for (uint32_t axis = 0; axis < rank; ++axis) {
      from += at[axis] * d->source_stride[axis];
      to += at[axis] * d->target_stride[axis];
    }
    copy_line((unsigned char *)d->target + to * size, to_step,
              (const unsigned char *)d->source + from * size, from_step, count, d->element_bytes);
  } while (next_position(rank, d->shape, at));
}

/* -- kernels */

void mxnpu_vector(mxnpu_device *device, const mxnpu_vector_desc *d) {
  mxnpu_time_vector(device, d);
  d->kernel(d->memory, d->scalars);
}
