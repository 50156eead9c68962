/* The hardware abstraction layer of mxc: what emitted C asks of an NPU.
 *
 * Emitted C gives commands to queues, in program order, from one thread per model. A queue does its
 * commands one after the other; queues run side by side, and only events order them. A command may
 * begin as soon as it is given and is over at the latest when mxnpu_finish returns. Descriptors are
 * the caller's again when a call returns; the memory they point to is in use until the command is
 * over. A port to an NPU implements these functions; mxnpu_host.c does so in portable C, bit for bit
 * as the interpreter. Sizes and strides count elements unless said otherwise; a stride of 0 repeats
 * an element. Nothing here can fail: shapes and ranges are checked when mxc compiles.
 */
#ifndef MXNPU_H
#define MXNPU_H

#include <stdint.h>

#include "mxnpu_numerics.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MXNPU_MAX_RANK 8
#define MXNPU_FORMATS 16 /* at least as many as mx_format has */
#define MXNPU_ALIGNMENT 64 /* bytes: of every buffer, and of weights, arena and scratchpad */

/* The NPU, as a port defines it. The host HAL needs none and accepts NULL. */
typedef struct mxnpu_device mxnpu_device;

/* The queues: vector unit, matrix unit, and DMA channel c is MXNPU_DMA + c. */
#define MXNPU_VECTOR 0u
#define MXNPU_MATRIX 1u
#define MXNPU_DMA 2u
#define MXNPU_MAX_QUEUES 10

/* Something that happens once; 0 has happened. */
typedef uint32_t mxnpu_event;

/* The event that happens when every command given to `queue` so far is over. */
mxnpu_event mxnpu_record(mxnpu_device *device, uint32_t queue);
/* Commands given to `queue` from now on begin after `event`. */
void mxnpu_wait(mxnpu_device *device, uint32_t queue, mxnpu_event event);
/* Returns when all commands are over. */
void mxnpu_finish(mxnpu_device *device);
/* Commands given from now on belong to layer `tag` of the manifest; for profiles. */
void mxnpu_mark(mxnpu_device *device, uint32_t tag);

/* What bytes are, for profiles. */
typedef enum { MXNPU_WEIGHTS, MXNPU_ACTIVATIONS, MXNPU_SCALES } mxnpu_purpose;

typedef enum { MXNPU_F32, MXNPU_F16, MXNPU_BF16, MXNPU_BLOCKS } mxnpu_kind;

/* Sums of products follow a contract, an mx_contract of mxnpu_numerics.h, with an f32 accumulator
 * that starts at +0:
 * MX_SEQUENTIAL      acc = f32(acc + f32(a * b)), k ascending;
 * MX_SEQUENTIAL_FMA  acc = f32(acc + a * b), k ascending;
 * MX_BLOCK_EXACT     per step of at most 32 along k, ascending: the exact sum of the products times
 *                    both scales, rounded once to f32, is added to acc. The step is the greatest
 *                    common divisor of 32 and the blocks along k that are shorter than k. */

/* A tensor that is read: floats, or codes (one byte each) with one scale byte per block.
 * Element i, j, ... is data[i * stride[0] + j * stride[1] + ...]; its scale, if it has one, is
 * scales[i / block[0] * scale_stride[0] + j / block[1] * scale_stride[1] + ...]. */
typedef struct {
  mxnpu_kind kind;
  mxnpu_purpose purpose;
  mx_format format; /* of blocks */
  const void *data;
  const uint8_t *scales;
  int64_t stride[MXNPU_MAX_RANK];
  int64_t scale_stride[MXNPU_MAX_RANK];
  int64_t block[MXNPU_MAX_RANK];
} mxnpu_operand;

/* On the matrix queue: output[..., m, n] = sum over k of lhs[..., m, k] * rhs[..., k, n].
 * All have `rank` dimensions; batch dimensions that broadcast have stride 0 in an operand. The
 * output overlaps no operand. */
typedef struct {
  uint32_t rank;
  int64_t shape[MXNPU_MAX_RANK]; /* of the output */
  int64_t depth;                 /* k */
  mx_contract contract;
  mxnpu_operand lhs;
  mxnpu_operand rhs;
  float *output;
  int64_t output_stride[MXNPU_MAX_RANK];
} mxnpu_matmul_desc;

void mxnpu_matmul(mxnpu_device *device, const mxnpu_matmul_desc *d);

/* On the matrix queue, or on the vector queue if there are groups of fewer than 16 channels
 * (MXNPU_CONV_QUEUE): convolution of lhs [batch, channels, *input_shape] with rhs
 * [output_channels, channels / groups, *kernel_shape]; the sum runs over kernel positions in
 * row-major order and, within one, over channels. Positions outside the input are +0. The output
 * overlaps no operand. */
#define MXNPU_CONV_QUEUE(d) \
  ((d)->groups > 1 && (d)->channels / (d)->groups < 16 ? MXNPU_VECTOR : MXNPU_MATRIX)
typedef struct {
  uint32_t rank; /* of the spatial dimensions */
  int64_t batch;
  int64_t channels;
  int64_t output_channels;
  int64_t groups;
  int64_t input_shape[MXNPU_MAX_RANK];
  int64_t kernel_shape[MXNPU_MAX_RANK];
  int64_t output_shape[MXNPU_MAX_RANK];
  int64_t strides[MXNPU_MAX_RANK];
  int64_t pads[MXNPU_MAX_RANK]; /* before the first element */
  int64_t dilations[MXNPU_MAX_RANK];
  mx_contract contract;
  mxnpu_operand lhs;
  mxnpu_operand rhs;
  float *output;
  int64_t output_stride[MXNPU_MAX_RANK];
} mxnpu_conv_desc;

void mxnpu_conv(mxnpu_device *device, const mxnpu_conv_desc *d);

/* On the vector queue: codes, scales = source, rounded into blocks as `how` says: shape, strides of
 * a float source, block, format and recipe, see mxnpu_numerics.h. Source is f32, or dense blocks
 * (their exact values are rounded). Codes and scales are dense along the axes from `dense` on; along
 * those before, where a block is one element, they have strides, and the source has floats. */
typedef struct {
  mx_quant_desc how;
  mxnpu_operand source;
  uint32_t dense;
  mxnpu_purpose purpose; /* of codes */
  uint8_t *codes;
  int64_t code_stride[MXNPU_MAX_RANK];
  uint8_t *scales;
  int64_t scale_stride[MXNPU_MAX_RANK];
} mxnpu_quantize_desc;

void mxnpu_quantize(mxnpu_device *device, const mxnpu_quantize_desc *d);

/* On the vector queue: target = the exact values of dense blocks, in f32. */
typedef struct {
  uint32_t rank;
  int64_t shape[MXNPU_MAX_RANK];
  mxnpu_operand source;
  float *target;
  int64_t target_stride[MXNPU_MAX_RANK];
} mxnpu_dequantize_desc;

void mxnpu_dequantize(mxnpu_device *device, const mxnpu_dequantize_desc *d);

/* Copies elements between DRAM and scratchpad, on the DMA channel `channel`. */
typedef struct {
  uint32_t channel;
  mxnpu_purpose purpose;
  uint32_t rank;
  int64_t shape[MXNPU_MAX_RANK];
  uint32_t element_bytes;
  const void *source;
  int64_t source_stride[MXNPU_MAX_RANK];
  void *target;
  int64_t target_stride[MXNPU_MAX_RANK];
} mxnpu_dma_desc;

void mxnpu_dma(mxnpu_device *device, const mxnpu_dma_desc *d);

/* A piece of memory that a kernel reads or, if `writes`, writes; if `elements` is not 0, at most so
 * many elements of it. */
typedef struct {
  const void *data;
  uint32_t writes;
  uint64_t elements;
  mxnpu_purpose purpose;
  uint32_t element_bytes;
  uint32_t rank;
  int64_t shape[MXNPU_MAX_RANK];
  int64_t stride[MXNPU_MAX_RANK];
} mxnpu_region;

/* A function that the vector unit runs: plain loops over `memory`, whose pointers it knows the
 * meaning of; `scalars` are numbers of the run function. */
typedef union {
  int64_t i;
  uint64_t u;
  double d;
  float f;
} mxnpu_scalar;
typedef void (*mxnpu_kernel)(void *const *memory, const mxnpu_scalar *scalars);

/* Runs a kernel. Per point of its loops it does `fast` and `slow` operations. */
typedef struct {
  mxnpu_kernel kernel;
  uint32_t memories;
  void *const *memory;
  uint32_t scalar_count;
  const mxnpu_scalar *scalars;
  uint64_t points;
  uint64_t fast;
  uint64_t slow;
  uint32_t region_count;
  const mxnpu_region *regions;
} mxnpu_vector_desc;

void mxnpu_vector(mxnpu_device *device, const mxnpu_vector_desc *d);

#ifdef __cplusplus
}
#endif

#endif
