/* The HAL of the example vendor's NPU, simulated on the host: what mxnpu.h asks for, in loops as
 * plain as they come. It shares no code with the HAL that mxc ships: numbers are taken apart here,
 * by the definitions of OCP MX v1.0, for the three element types that the machine has.
 */
#include "mxnpu.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { TREE = 16 }; /* products that enter the adder tree at once */

typedef int64_t place[MXNPU_MAX_RANK];

/* -- elements: a sign, an exponent, a mantissa */

typedef struct {
  int exponent_bits, mantissa_bits, bias;
  unsigned largest; /* the code of the largest finite value */
} element;

static element element_of(mx_format format) {
  const element e4m3 = {4, 3, 7, 0x7E}, e2m3 = {2, 3, 1, 0x1F}, e2m1 = {2, 1, 1, 0x07};
  return format == MX_E4M3 ? e4m3 : format == MX_E2M3 ? e2m3 : e2m1;
}

static double element_value(element e, unsigned code) {
  const unsigned sign = code >> (e.exponent_bits + e.mantissa_bits) & 1u;
  const unsigned magnitude = code & ((1u << (e.exponent_bits + e.mantissa_bits)) - 1u);
  const int field = (int)(magnitude >> e.mantissa_bits);
  const int fraction = (int)(magnitude & ((1u << e.mantissa_bits) - 1u));
  const int significand = field ? fraction + (1 << e.mantissa_bits) : fraction;
  const double value = ldexp(significand, (field ? field : 1) - e.bias - e.mantissa_bits);
  if (magnitude > e.largest) return NAN;
  return sign ? -value : value;
}

/* The nearest code, to even; magnitudes above the largest saturate. */
static unsigned element_code(element e, double value) {
  const unsigned sign = signbit(value) ? 1u << (e.exponent_bits + e.mantissa_bits) : 0u;
  const double magnitude = fabs(value);
  int exponent = 0, least = 1 - e.bias;
  double steps;
  unsigned code;
  if (magnitude >= element_value(e, e.largest)) return sign | e.largest;
  if (magnitude > 0) (void)frexp(magnitude, &exponent);
  exponent = magnitude > 0 && exponent - 1 > least ? exponent - 1 : least;
  steps = rint(ldexp(magnitude, e.mantissa_bits - exponent));
  code = (unsigned)steps + ((unsigned)(exponent - least) << e.mantissa_bits);
  return sign | (code > e.largest ? e.largest : code);
}

static double scale_value(uint8_t byte) { return byte == 255 ? NAN : ldexp(1.0, byte - 127); }

/* The scale of a block by the rule `floor`: the largest magnitude keeps its binade. */
static uint8_t scale_byte(element e, double largest) {
  int exponent, top;
  if (largest != largest || isinf(largest)) return 255;
  if (largest == 0) return 0;
  (void)frexp(largest, &exponent);
  (void)frexp(element_value(e, e.largest), &top);
  exponent += 127 - top;
  return (uint8_t)(exponent < 0 ? 0 : exponent > 254 ? 254 : exponent);
}

/* -- reading tensors */

static float half_value(uint16_t bits) {
  const int field = bits >> 10 & 31, fraction = bits & 1023;
  const double magnitude = field == 31 ? (fraction ? NAN : INFINITY)
                                       : ldexp(field ? fraction + 1024 : fraction,
                                               (field ? field : 1) - 25);
  return (float)(bits >> 15 ? -magnitude : magnitude);
}

static int64_t offset(const int64_t *stride, const int64_t *at, uint32_t rank) {
  int64_t sum = 0;
  for (uint32_t axis = 0; axis < rank; ++axis) sum += at[axis] * stride[axis];
  return sum;
}

/* The element at `at`, without its scale. */
static float read_value(const mxnpu_operand *x, const int64_t *at, uint32_t rank) {
  const int64_t i = offset(x->stride, at, rank);
  uint32_t bits;
  float value;
  switch (x->kind) {
    case MXNPU_F32:
      return ((const float *)x->data)[i];
    case MXNPU_F16:
      return half_value(((const uint16_t *)x->data)[i]);
    case MXNPU_BF16:
      bits = (uint32_t)((const uint16_t *)x->data)[i] << 16;
      memcpy(&value, &bits, sizeof value);
      return value;
    case MXNPU_BLOCKS:
      break;
  }
  return (float)element_value(element_of(x->format), ((const uint8_t *)x->data)[i]);
}

static double read_scale(const mxnpu_operand *x, const int64_t *at, uint32_t rank) {
  int64_t i = 0;
  if (x->kind != MXNPU_BLOCKS) return 1.0;
  for (uint32_t axis = 0; axis < rank; ++axis) {
    i += at[axis] / x->block[axis] * x->scale_stride[axis];
  }
  return scale_value(x->scales[i]);
}

static int next(int64_t *at, const int64_t *shape, uint32_t rank) {
  for (uint32_t axis = rank; axis-- > 0;) {
    if (++at[axis] < shape[axis]) return 1;
    at[axis] = 0;
  }
  return 0;
}

static int is_empty(const int64_t *shape, uint32_t rank) {
  for (uint32_t axis = 0; axis < rank; ++axis) {
    if (shape[axis] == 0) return 1;
  }
  return 0;
}

/* -- sums of products */

/* The products of one output element: those of a step wait for the tree. */
typedef struct {
  mx_contract contract;
  float acc, product[TREE];
  double scale;
  int count;
} dot;

static void close_step(dot *sum) {
  for (int i = sum->count; i < TREE; ++i) sum->product[i] = 0.0f;
  for (int width = TREE / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) {
      sum->product[i] = sum->product[2 * i] + sum->product[2 * i + 1];
    }
  }
  sum->acc += (float)((double)sum->product[0] * sum->scale);
  sum->count = 0;
}

static void add_product(dot *sum, float a, double scale_a, float b, double scale_b, int last) {
  if (sum->contract != MX_VENDOR_0) { /* sequential */
    const float x = (float)((double)a * scale_a), y = (float)((double)b * scale_b);
    const float product = x * y;
    sum->acc += product;
    return;
  }
  sum->scale = scale_a * scale_b;
  sum->product[sum->count++] = a * b;
  if (last) close_step(sum);
}

/* Products of a step: 16, or fewer where a block is shorter than that and than the depth. */
static int64_t step_of(const mxnpu_operand *a, int64_t block_a, const mxnpu_operand *b,
                       int64_t block_b, int64_t depth_a, int64_t depth_b) {
  int64_t step = TREE;
  while (a->kind == MXNPU_BLOCKS && block_a < depth_a && block_a % step) step /= 2;
  while (b->kind == MXNPU_BLOCKS && block_b < depth_b && block_b % step) step /= 2;
  return step;
}

void mxnpu_matmul(mxnpu_device *device, const mxnpu_matmul_desc *d) {
  const uint32_t m = d->rank - 2, n = d->rank - 1;
  const int64_t step =
      step_of(&d->lhs, d->lhs.block[n], &d->rhs, d->rhs.block[m], d->depth, d->depth);
  place at = {0};
  (void)device;
  if (is_empty(d->shape, d->rank)) return;
  do {
    dot sum = {d->contract, 0.0f, {0}, 1.0, 0};
    place left, right;
    memcpy(left, at, sizeof left);
    memcpy(right, at, sizeof right);
    for (int64_t k = 0; k < d->depth; ++k) {
      left[n] = right[m] = k;
      add_product(&sum, read_value(&d->lhs, left, d->rank), read_scale(&d->lhs, left, d->rank),
                  read_value(&d->rhs, right, d->rank), read_scale(&d->rhs, right, d->rank),
                  k + 1 == d->depth || (k + 1) % step == 0);
    }
    d->output[offset(d->output_stride, at, d->rank)] = sum.acc;
  } while (next(at, d->shape, d->rank));
}

/* One tap of a convolution: all channels at one position of the kernel. */
static void add_tap(dot *sum, const mxnpu_conv_desc *d, int64_t step, const int64_t *at,
                    const int64_t *tap) {
  const int64_t channels = d->channels / d->groups;
  const int64_t group = at[1] / (d->output_channels / d->groups);
  const uint32_t rank = d->rank + 2;
  place input = {0}, weight = {0};
  int inside = 1;
  input[0] = at[0];
  weight[0] = at[1];
  for (uint32_t axis = 0; axis < d->rank; ++axis) {
    const int64_t i = at[axis + 2] * d->strides[axis] + tap[axis] * d->dilations[axis];
    input[axis + 2] = i - d->pads[axis];
    weight[axis + 2] = tap[axis];
    inside &= input[axis + 2] >= 0 && input[axis + 2] < d->input_shape[axis];
  }
  for (int64_t c = 0; c < channels; ++c) {
    input[1] = group * channels + c;
    weight[1] = c;
    add_product(sum, inside ? read_value(&d->lhs, input, rank) : 0.0f,
                inside ? read_scale(&d->lhs, input, rank) : 1.0,
                read_value(&d->rhs, weight, rank), read_scale(&d->rhs, weight, rank),
                c + 1 == channels || (c + 1) % step == 0);
  }
}

void mxnpu_conv(mxnpu_device *device, const mxnpu_conv_desc *d) {
  const int64_t step = step_of(&d->lhs, d->lhs.block[1], &d->rhs, d->rhs.block[1], d->channels,
                               d->channels / d->groups);
  place shape = {0}, at = {0};
  (void)device;
  shape[0] = d->batch;
  shape[1] = d->output_channels;
  memcpy(shape + 2, d->output_shape, d->rank * sizeof *shape);
  if (is_empty(shape, d->rank + 2)) return;
  do {
    dot sum = {d->contract, 0.0f, {0}, 1.0, 0};
    place tap = {0};
    do {
      add_tap(&sum, d, step, at, tap);
    } while (next(tap, d->kernel_shape, d->rank));
    d->output[offset(d->output_stride, at, d->rank + 2)] = sum.acc;
  } while (next(at, shape, d->rank + 2));
}

/* -- the quantiser */

/* A tensor cut into blocks. */
typedef struct {
  uint32_t rank;
  place shape, grid, block, code_stride, scale_stride;
} cut;

static cut cut_of(uint32_t rank, const int64_t *shape, const int64_t *block,
                  const int64_t *code_stride, const int64_t *scale_stride) {
  cut c;
  memset(&c, 0, sizeof c);
  c.rank = rank;
  for (uint32_t axis = 0; axis < rank; ++axis) {
    c.shape[axis] = shape[axis];
    c.block[axis] = block[axis];
    c.grid[axis] = (shape[axis] + block[axis] - 1) / block[axis];
    c.code_stride[axis] = code_stride[axis];
    c.scale_stride[axis] = scale_stride[axis];
  }
  return c;
}

/* The next element of block `cell`; `at` begins at its first one. */
static int next_in_block(const cut *c, const int64_t *cell, int64_t *at) {
  for (uint32_t axis = c->rank; axis-- > 0;) {
    const int64_t first = cell[axis] * c->block[axis], end = first + c->block[axis];
    if (++at[axis] < (end < c->shape[axis] ? end : c->shape[axis])) return 1;
    at[axis] = first;
  }
  return 0;
}

void mxnpu_quantize(mxnpu_device *device, const mxnpu_quantize_desc *d) {
  const element e = element_of(d->how.format);
  const uint32_t rank = d->how.rank;
  place shape, block, cell = {0};
  cut c;
  (void)device;
  for (uint32_t axis = 0; axis < rank; ++axis) {
    shape[axis] = (int64_t)d->how.shape[axis];
    block[axis] = (int64_t)d->how.block[axis];
  }
  c = cut_of(rank, shape, block, d->code_stride, d->scale_stride);
  if (is_empty(shape, rank)) return;
  do {
    double largest = 0.0;
    place at;
    uint8_t byte;
    for (uint32_t axis = 0; axis < rank; ++axis) at[axis] = cell[axis] * block[axis];
    do {
      const double magnitude = fabs((double)read_value(&d->source, at, rank));
      if (!(magnitude <= largest)) largest = magnitude;
    } while (largest == largest && next_in_block(&c, cell, at));
    byte = scale_byte(e, largest);
    for (uint32_t axis = 0; axis < rank; ++axis) at[axis] = cell[axis] * block[axis];
    do {
      const double value = (double)read_value(&d->source, at, rank) / scale_value(byte);
      const int plain = byte != 255 && largest > 0;
      d->codes[offset(c.code_stride, at, rank)] = (uint8_t)(plain ? element_code(e, value) : 0u);
    } while (next_in_block(&c, cell, at));
    d->scales[offset(c.scale_stride, cell, rank)] = byte;
  } while (next(cell, c.grid, rank));
}

void mxnpu_dequantize(mxnpu_device *device, const mxnpu_dequantize_desc *d) {
  place at = {0};
  (void)device;
  if (is_empty(d->shape, d->rank)) return;
  do {
    const double value = (double)read_value(&d->source, at, d->rank);
    const double scale = read_scale(&d->source, at, d->rank);
    d->target[offset(d->target_stride, at, d->rank)] = (float)(value * scale);
  } while (next(at, d->shape, d->rank));
}

/* -- queues: a command is done when it is given, so events have happened and there is no waiting */

void mxnpu_dma(mxnpu_device *device, const mxnpu_dma_desc *d) {
  place at = {0};
  (void)device;
  if (is_empty(d->shape, d->rank)) return;
  do {
    const int64_t to = offset(d->target_stride, at, d->rank) * (int64_t)d->element_bytes;
    const int64_t from = offset(d->source_stride, at, d->rank) * (int64_t)d->element_bytes;
    memcpy((char *)d->target + to, (const char *)d->source + from, d->element_bytes);
  } while (next(at, d->shape, d->rank));
}

void mxnpu_vector(mxnpu_device *device, const mxnpu_vector_desc *d) {
  (void)device;
  d->kernel(d->memory, d->scalars);
}

mxnpu_event mxnpu_record(mxnpu_device *device, uint32_t queue) {
  (void)device;
  (void)queue;
  return 0;
}

void mxnpu_wait(mxnpu_device *device, uint32_t queue, mxnpu_event event) {
  (void)device;
  (void)queue;
  (void)event;
}

void mxnpu_finish(mxnpu_device *device) { (void)device; }

void mxnpu_mark(mxnpu_device *device, uint32_t tag) {
  (void)device;
  (void)tag;
}
