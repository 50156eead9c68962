/* The host HAL's device: a timeline of the NPU that a model would run on, and checks of its use.
 *
 * A model runs without a device (NULL); then nothing here costs anything. With a device, every
 * command is put on the timeline: it begins when its queue is free and every event that its queue
 * waits for has happened, and takes the cycles that the target's numbers say. The rules:
 *
 * DMA       latency, then bytes / dram_rate while no other transfer moves data; each run of
 *           neighbouring bytes in DRAM counts as whole bursts.
 * matrix    (rows up to m) * (columns up to n) * (depth up to k) / rate of the slower operand;
 *           operands in a format without a rate are decoded to bf16 meanwhile, `decode` elements
 *           per cycle, and the longer of the two counts.
 * vector    points * (fast + slow_factor * slow) / lanes of a kernel; quantising takes
 *           quantize_ops per element, dequantising 1, requantising both.
 * A matrix or vector command that reads or writes DRAM itself moves those bytes as a transfer of
 * its own would, while it runs.
 *
 * With `check`, commands are also checked: see mxnpu_fault.
 */
#ifndef MXNPU_HOST_H
#define MXNPU_HOST_H

#include <stddef.h>
#include <stdint.h>

#include "mxnpu.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Numbers of a target description; rates are per cycle. */
typedef struct {
  uint32_t channels, latency, burst;
  uint32_t m, n, k;
  uint32_t lanes, slow_factor, quantize_ops;
  uint64_t scratchpad_bytes;
  double dram_rate;
  double decode;        /* elements; 0: as fast as they come */
  double rates[MXNPU_FORMATS]; /* multiply-accumulates by mx_format; 0: decoded to bf16 */
  double bf16_rate, f32_rate;
} mxnpu_target;

/* What went wrong first. */
typedef enum {
  MXNPU_FINE,
  MXNPU_OUT_OF_BOUNDS, /* a command touches bytes outside of every memory it was given */
  MXNPU_READ_ONLY,     /* a command writes weights or inputs */
  MXNPU_TOO_LARGE,     /* a command touches the scratchpad beyond the target's size */
  MXNPU_OVERLAP,       /* what a command writes overlaps what it reads, or writes elsewhere */
  MXNPU_RACE,          /* commands of two queues touch the same bytes; no event orders them */
  MXNPU_NO_CHANNEL     /* a transfer for a channel that the target does not have */
} mxnpu_fault;

/* What a command did to a piece of memory. */
typedef struct {
  uint64_t begin, end; /* addresses */
  int64_t shape[MXNPU_MAX_RANK];
  int64_t stride[MXNPU_MAX_RANK]; /* bytes */
  uint32_t rank, writes, dram, purpose;
  uint64_t bytes;
} mxnpu_access;

typedef enum {
  MXNPU_KIND_DMA,
  MXNPU_KIND_MATMUL,
  MXNPU_KIND_CONV,
  MXNPU_KIND_LOOPS,
  MXNPU_KIND_QUANTIZE,
  MXNPU_KIND_DEQUANTIZE,
  MXNPU_KIND_REQUANTIZE
} mxnpu_command_kind;

/* One command on the timeline. */
typedef struct {
  uint64_t begin, end;       /* cycles */
  uint64_t busy;             /* cycles that its unit works; the rest waits for DRAM */
  uint64_t work;             /* multiply-accumulates, or vector operations */
  uint64_t stall;            /* cycles its queue stood idle for an event */
  uint32_t queue, kind, tag;
  uint32_t cause;            /* the queue it stalled for */
  uint64_t dram[3];          /* bytes moved from and to DRAM, by mxnpu_purpose */
  uint64_t bytes;            /* bytes quantised, dequantised or copied */
  uint32_t first_access, accesses;
  uint32_t seen[MXNPU_MAX_QUEUES]; /* by queue: commands (their number + 1) known to be over */
} mxnpu_command;

typedef struct {
  const void *address;
  uint64_t bytes;
  uint32_t writable;
  uint32_t scratchpad;
} mxnpu_memory;

/* Memory for `commands` and `accesses` comes from the caller; beyond the capacity nothing is
 * recorded, but counted. */
struct mxnpu_device {
  const mxnpu_target *target;
  mxnpu_command *commands;
  mxnpu_access *accesses;
  uint64_t capacity, access_capacity;
  uint64_t count, access_count;
  const mxnpu_memory *memories; /* all memories of a run */
  uint64_t memory_count;
  uint32_t check;
  uint32_t fault;       /* an mxnpu_fault */
  uint64_t fault_command, fault_other;
  /* set by mxnpu_host_reset */
  uint32_t tag;
  uint64_t port;        /* when DRAM is free */
  uint32_t last[MXNPU_MAX_QUEUES]; /* number + 1 of the last command of each queue */
  uint64_t free_at[MXNPU_MAX_QUEUES];
  uint64_t event_at[MXNPU_MAX_QUEUES];
  uint32_t event_cause[MXNPU_MAX_QUEUES];
  uint32_t seen[MXNPU_MAX_QUEUES][MXNPU_MAX_QUEUES];
};

/* Empties the timeline. */
void mxnpu_host_reset(mxnpu_device *device);

/* What mxnpu_host.c tells the timeline of each command, before it does it. */
void mxnpu_time_matmul(mxnpu_device *device, const mxnpu_matmul_desc *d);
void mxnpu_time_conv(mxnpu_device *device, const mxnpu_conv_desc *d);
void mxnpu_time_quantize(mxnpu_device *device, const mxnpu_quantize_desc *d);
void mxnpu_time_dequantize(mxnpu_device *device, const mxnpu_dequantize_desc *d);
void mxnpu_time_dma(mxnpu_device *device, const mxnpu_dma_desc *d);
void mxnpu_time_vector(mxnpu_device *device, const mxnpu_vector_desc *d);

#ifdef __cplusplus
}
#endif

#endif
