/* The hardware abstraction layer of mxc: what emitted C asks of an NPU.
 *
 * Emitted C calls these functions, in program order, from one thread per model. A port to an NPU
 * implements them; mxnpu_host.c does so in portable C, bit for bit as the interpreter. Sizes and
 * strides count elements unless said otherwise; a stride of 0 repeats an element. Memory passed in
 * stays the caller's. Nothing here can fail: shapes and ranges are checked when mxc compiles.
 */
#ifndef MXNPU_H
#define MXNPU_H

#include <stdint.h>

#include "mxnpu_numerics.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MXNPU_MAX_RANK 8
#define MXNPU_ALIGNMENT 64 /* bytes: of every buffer, and of weights, arena and scratchpad */

/* The NPU, as a port defines it. The host HAL needs none and accepts NULL. */
typedef struct mxnpu_device mxnpu_device;

/* A DMA transfer under way. */
typedef uint32_t mxnpu_event;

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
  mx_format format; /* of blocks */
  const void *data;
  const uint8_t *scales;
  int64_t stride[MXNPU_MAX_RANK];
  int64_t scale_stride[MXNPU_MAX_RANK];
  int64_t block[MXNPU_MAX_RANK];
} mxnpu_operand;

/* output[..., m, n] = sum over k of lhs[..., m, k] * rhs[..., k, n].
 * All have `rank` dimensions; batch dimensions that broadcast have stride 0 in an operand. */
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

/* Convolution of lhs [batch, channels, *input_shape] with rhs
 * [output_channels, channels / groups, *kernel_shape]; the sum runs over kernel positions in
 * row-major order and, within one, over channels. Positions outside the input are +0. */
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

/* codes, scales = source, rounded into blocks as `how` says: shape, strides of a float source,
 * block, format and recipe, see mxnpu_numerics.h. Source is f32, or dense blocks (their exact values
 * are rounded); codes and scales are dense. */
typedef struct {
  mx_quant_desc how;
  mxnpu_operand source;
  uint8_t *codes;
  uint8_t *scales;
} mxnpu_quantize_desc;

void mxnpu_quantize(mxnpu_device *device, const mxnpu_quantize_desc *d);

/* target = the exact values of dense blocks, in f32. */
typedef struct {
  uint32_t rank;
  int64_t shape[MXNPU_MAX_RANK];
  mxnpu_operand source;
  float *target;
  int64_t target_stride[MXNPU_MAX_RANK];
} mxnpu_dequantize_desc;

void mxnpu_dequantize(mxnpu_device *device, const mxnpu_dequantize_desc *d);

/* Copies elements between DRAM and scratchpad. */
typedef struct {
  uint32_t rank;
  int64_t shape[MXNPU_MAX_RANK];
  uint32_t element_bytes;
  const void *source;
  int64_t source_stride[MXNPU_MAX_RANK];
  void *target;
  int64_t target_stride[MXNPU_MAX_RANK];
} mxnpu_dma_desc;

/* Starts a copy. Until the event is waited for, target must not be used, nor source written. */
mxnpu_event mxnpu_dma_start(mxnpu_device *device, const mxnpu_dma_desc *d);
void mxnpu_dma_wait(mxnpu_device *device, mxnpu_event event);

#ifdef __cplusplus
}
#endif

#endif
