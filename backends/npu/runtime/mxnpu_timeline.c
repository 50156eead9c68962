/* The timeline of the host HAL and its checks: see mxnpu_host.h. */
#include <string.h>

#include "mxnpu_host.h"

enum { MAX_ACCESSES = 8 };

void mxnpu_host_reset(mxnpu_device *device) {
  device->count = device->access_count = 0;
  device->fault = MXNPU_FINE;
  device->fault_command = device->fault_other = 0;
  device->tag = 0;
  device->port = 0;
  memset(device->last, 0, sizeof device->last);
  memset(device->free_at, 0, sizeof device->free_at);
  memset(device->event_at, 0, sizeof device->event_at);
  memset(device->event_cause, 0, sizeof device->event_cause);
  memset(device->seen, 0, sizeof device->seen);
}

/* -- events */

mxnpu_event mxnpu_record(mxnpu_device *device, uint32_t queue) {
  return device == NULL ? 0 : device->last[queue];
}

void mxnpu_wait(mxnpu_device *device, uint32_t queue, mxnpu_event event) {
  const mxnpu_command *command;
  if (device == NULL || event == 0 || event > device->capacity) return;
  command = &device->commands[event - 1];
  for (uint32_t i = 0; i < MXNPU_MAX_QUEUES; ++i) {
    if (command->seen[i] > device->seen[queue][i]) device->seen[queue][i] = command->seen[i];
  }
  if (event > device->seen[queue][command->queue]) device->seen[queue][command->queue] = event;
  if (command->end > device->event_at[queue]) {
    device->event_at[queue] = command->end;
    device->event_cause[queue] = command->queue;
  }
}

void mxnpu_finish(mxnpu_device *device) {
  if (device == NULL) return;
  for (uint32_t from = 0; from < MXNPU_MAX_QUEUES; ++from) {
    for (uint32_t to = 0; to < MXNPU_MAX_QUEUES; ++to) {
      mxnpu_wait(device, to, device->last[from]);
    }
  }
}

void mxnpu_mark(mxnpu_device *device, uint32_t tag) {
  if (device != NULL) device->tag = tag;
}

/* -- checks */

static void fault(mxnpu_device *device, mxnpu_fault what, uint64_t other) {
  if (device->fault != MXNPU_FINE) return;
  device->fault = what;
  device->fault_command = device->count;
  device->fault_other = other;
}

/* Whether no byte is in both: their spans are apart; or they run in equal steps, and within a step
 * use bytes apart (columns of a matrix). */
static int apart(const mxnpu_access *a, const mxnpu_access *b) {
  if (a->end <= b->begin || b->end <= a->begin) return 1;
  for (uint32_t i = 0; i < a->rank; ++i) {
    const int64_t step = a->stride[i];
    uint64_t width[2] = {0, 0}, at[2];
    int found = 0;
    if (step <= 0 || a->shape[i] < 2) continue;
    for (uint32_t side = 0; side < 2; ++side) {
      const mxnpu_access *const x = side ? b : a;
      uint64_t rest = x->end - x->begin;
      for (uint32_t j = 0; j < x->rank; ++j) {
        if (x->shape[j] < 2) continue;
        if (x->stride[j] >= step && x->stride[j] % step == 0) {
          rest -= (uint64_t)((x->shape[j] - 1) * x->stride[j]);
        }
      }
      width[side] = rest;
    }
    {
      const uint64_t low = a->begin < b->begin ? a->begin : b->begin;
      at[0] = (a->begin - low) % (uint64_t)step;
      at[1] = (b->begin - low) % (uint64_t)step;
    }
    /* on the circle of `step` bytes, [at, at + width) must not meet */
    for (uint32_t side = 0; side < 2; ++side) {
      const uint64_t gap = (at[1 - side] + (uint64_t)step - at[side]) % (uint64_t)step;
      if (width[side] <= gap) ++found;
    }
    if (found == 2) return 1;
  }
  return 0;
}

static int within(uint64_t begin, uint64_t end, const mxnpu_memory *memory) {
  const uint64_t start = (uint64_t)(uintptr_t)memory->address;
  return begin >= start && end <= start + memory->bytes;
}

static const mxnpu_memory *memory_of(const mxnpu_device *device, uint64_t begin, uint64_t end) {
  for (uint64_t i = 0; i < device->memory_count; ++i) {
    if (within(begin, end, &device->memories[i])) return &device->memories[i];
  }
  return NULL;
}

static void check_place(mxnpu_device *device, const mxnpu_access *x) {
  const mxnpu_memory *const memory = memory_of(device, x->begin, x->end);
  if (memory == NULL) {
    fault(device, MXNPU_OUT_OF_BOUNDS, 0);
  } else if (x->writes && !memory->writable) {
    fault(device, MXNPU_READ_ONLY, 0);
  } else if (memory->scratchpad &&
             x->end - (uint64_t)(uintptr_t)memory->address > device->target->scratchpad_bytes) {
    fault(device, MXNPU_TOO_LARGE, 0);
  }
}

/* An elementwise kernel may read and write the same elements in place; nothing else may overlap. */
static void check_overlap(mxnpu_device *device, const mxnpu_access *x, uint32_t count,
                          int in_place) {
  for (uint32_t i = 0; i < count; ++i) {
    for (uint32_t j = 0; j < count; ++j) {
      const int same = x[i].begin == x[j].begin && x[i].end == x[j].end;
      if (i == j || !x[i].writes || apart(&x[i], &x[j])) continue;
      if (!(in_place && same)) fault(device, MXNPU_OVERLAP, 0);
    }
  }
}

/* Whether a command that the new one must come after is known to be over. */
static void check_order(mxnpu_device *device, const mxnpu_command *command,
                        const mxnpu_access *mine) {
  for (uint64_t i = 0; i < device->count; ++i) {
    const mxnpu_command *const other = &device->commands[i];
    if (other->queue == command->queue || i + 1 <= command->seen[other->queue]) continue;
    for (uint32_t a = 0; a < other->accesses; ++a) {
      const mxnpu_access *const theirs = &device->accesses[other->first_access + a];
      for (uint32_t b = 0; b < command->accesses; ++b) {
        if ((theirs->writes || mine[b].writes) && !apart(theirs, &mine[b])) {
          fault(device, MXNPU_RACE, i);
          return;
        }
      }
    }
  }
}

/* -- commands */

static uint64_t up(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

static uint64_t cycles(double work, double rate) {
  const uint64_t whole = (uint64_t)(work / rate);
  return (double)whole * rate < work ? whole + 1 : whole;
}

static int in_scratchpad(const mxnpu_device *device, uint64_t begin) {
  for (uint64_t i = 0; i < device->memory_count; ++i) {
    if (device->memories[i].scratchpad && within(begin, begin + 1, &device->memories[i])) return 1;
  }
  return 0;
}

/* Bytes on the bus: each run of neighbouring elements in whole bursts. Axes are looked at from the
 * one with the smallest step. */
static uint64_t bus_bytes(const mxnpu_device *device, const mxnpu_access *x, uint64_t element) {
  uint64_t run = element, runs = 1;
  uint32_t used = 0;
  for (uint32_t n = 0; n < x->rank; ++n) {
    uint32_t best = x->rank;
    for (uint32_t i = 0; i < x->rank; ++i) {
      if (used >> i & 1u) continue;
      if (best == x->rank || x->stride[i] < x->stride[best]) best = i;
    }
    used |= 1u << best;
    if (x->shape[best] < 2 || x->stride[best] == 0) continue;
    if (runs == 1 && (uint64_t)x->stride[best] == run) run *= (uint64_t)x->shape[best];
    else runs *= (uint64_t)x->shape[best];
  }
  return up(run, device->target->burst) * runs;
}

/* Fills in an access; strides are in elements. */
static void set_access(const mxnpu_device *device, mxnpu_access *x, const void *data,
                       uint32_t writes, mxnpu_purpose purpose, uint32_t rank, const int64_t *shape,
                       const int64_t *stride, uint32_t element) {
  memset(x, 0, sizeof *x);
  x->begin = x->end = (uint64_t)(uintptr_t)data;
  x->writes = writes;
  x->purpose = (uint32_t)purpose;
  x->rank = rank;
  x->end += element;
  x->dram = !in_scratchpad(device, x->begin);
  for (uint32_t i = 0; i < rank; ++i) {
    x->shape[i] = stride[i] == 0 ? 1 : shape[i];
    x->stride[i] = stride[i] * (int64_t)element;
    if (shape[i] == 0) x->end = x->begin;
  }
  if (x->end == x->begin) return;
  for (uint32_t i = 0; i < rank; ++i) x->end += (uint64_t)((x->shape[i] - 1) * x->stride[i]);
  x->bytes = bus_bytes(device, x, element);
}

/* Puts a command on the timeline: `busy` cycles of its unit, besides what DRAM takes. */
static void give(mxnpu_device *device, mxnpu_command *command, uint64_t busy,
                 const mxnpu_access *accesses, uint32_t count) {
  const uint32_t queue = command->queue;
  uint64_t start = device->free_at[queue], moved = 0, number = device->count + 1;
  if (device->event_at[queue] > start) {
    command->stall = device->event_at[queue] - start;
    command->cause = device->event_cause[queue];
    start = device->event_at[queue];
  }
  for (uint32_t i = 0; i < count; ++i) {
    if (!accesses[i].dram) continue;
    moved += accesses[i].bytes;
    command->dram[accesses[i].purpose] += accesses[i].bytes;
  }
  command->begin = start;
  command->busy = busy;
  command->end = start + busy;
  if (moved > 0) {
    uint64_t data = start + device->target->latency;
    if (device->port > data) data = device->port;
    device->port = data + cycles((double)moved, device->target->dram_rate);
    if (device->port > command->end) command->end = device->port;
    if (queue >= MXNPU_DMA) command->busy = device->port - data;
  }
  command->tag = device->tag;
  command->first_access = (uint32_t)device->access_count;
  command->accesses = count;
  memcpy(command->seen, device->seen[queue], sizeof command->seen);
  if (device->check) {
    for (uint32_t i = 0; i < count; ++i) check_place(device, &accesses[i]);
    check_overlap(device, accesses, count, command->kind == MXNPU_KIND_LOOPS);
    if (number <= device->capacity) check_order(device, command, accesses);
  }
  command->seen[queue] = (uint32_t)number;
  device->free_at[queue] = command->end;
  device->last[queue] = (uint32_t)number;
  device->seen[queue][queue] = (uint32_t)number;
  if (number <= device->capacity) device->commands[device->count] = *command;
  device->count = number;
  if (device->access_count + count <= device->access_capacity && count > 0) {
    memcpy(&device->accesses[device->access_count], accesses, count * sizeof *accesses);
  }
  device->access_count += count;
}

static uint32_t element_bytes(mxnpu_kind kind) {
  return kind == MXNPU_BLOCKS ? 1u : kind == MXNPU_F32 ? 4u : 2u;
}

/* Codes, or floats, and scales of an operand. */
static uint32_t add_operand(const mxnpu_device *device, mxnpu_access *x, const mxnpu_operand *o,
                            uint32_t rank, const int64_t *shape) {
  int64_t grid[MXNPU_MAX_RANK];
  set_access(device, x, o->data, 0, o->purpose, rank, shape, o->stride, element_bytes(o->kind));
  if (o->kind != MXNPU_BLOCKS) return 1;
  for (uint32_t i = 0; i < rank; ++i) grid[i] = (shape[i] + o->block[i] - 1) / o->block[i];
  set_access(device, x + 1, o->scales, 0, MXNPU_SCALES, rank, grid, o->scale_stride, 1);
  return 2;
}

/* The rate at which an operand is multiplied, and whether it must be decoded for it. */
static double rate_of(const mxnpu_target *t, const mxnpu_operand *o, int *decoded) {
  *decoded = 0;
  if (o->kind == MXNPU_F32) return t->f32_rate;
  if (o->kind != MXNPU_BLOCKS) return t->bf16_rate;
  if (t->rates[o->format] > 0.0) return t->rates[o->format];
  *decoded = 1;
  return t->bf16_rate;
}

static uint64_t matrix_cycles(const mxnpu_target *t, double macs, const mxnpu_operand *a,
                              double elements_a, const mxnpu_operand *b, double elements_b) {
  int decode_a, decode_b;
  const double rate_a = rate_of(t, a, &decode_a), rate_b = rate_of(t, b, &decode_b);
  const double decoded = (decode_a ? elements_a : 0.0) + (decode_b ? elements_b : 0.0);
  const uint64_t multiply = cycles(macs, rate_a < rate_b ? rate_a : rate_b);
  const uint64_t decode = t->decode > 0.0 ? cycles(decoded, t->decode) : 0;
  return multiply > decode ? multiply : decode;
}

static uint64_t elements(uint32_t rank, const int64_t *shape) {
  uint64_t count = 1;
  for (uint32_t i = 0; i < rank; ++i) count *= (uint64_t)shape[i];
  return count;
}

void mxnpu_time_matmul(mxnpu_device *device, const mxnpu_matmul_desc *d) {
  const uint32_t m = d->rank - 2, n = d->rank - 1;
  const mxnpu_target *t;
  mxnpu_access accesses[MAX_ACCESSES];
  mxnpu_command command = {0};
  int64_t shape[MXNPU_MAX_RANK];
  uint64_t batch, work;
  uint32_t count;
  if (device == NULL) return;
  t = device->target;
  memcpy(shape, d->shape, sizeof shape);
  batch = elements(m, shape);
  shape[n] = d->depth;
  count = add_operand(device, accesses, &d->lhs, d->rank, shape);
  shape[m] = d->depth;
  shape[n] = d->shape[n];
  count += add_operand(device, accesses + count, &d->rhs, d->rank, shape);
  set_access(device, &accesses[count++], d->output, 1, MXNPU_ACTIVATIONS, d->rank, d->shape,
             d->output_stride, sizeof(float));
  command.queue = MXNPU_MATRIX;
  command.kind = MXNPU_KIND_MATMUL;
  command.work = batch * (uint64_t)(d->shape[m] * d->shape[n] * d->depth);
  work = batch * up((uint64_t)d->shape[m], t->m) * up((uint64_t)d->shape[n], t->n) *
         up((uint64_t)d->depth, t->k);
  give(device, &command,
       matrix_cycles(t, (double)work, &d->lhs, (double)batch * (double)(d->shape[m] * d->depth),
                     &d->rhs, (double)batch * (double)(d->shape[n] * d->depth)),
       accesses, count);
}

void mxnpu_time_conv(mxnpu_device *device, const mxnpu_conv_desc *d) {
  const mxnpu_target *t;
  mxnpu_access accesses[MAX_ACCESSES];
  mxnpu_command command = {0};
  int64_t shape[MXNPU_MAX_RANK] = {0};
  uint64_t positions, taps, depth, channels, rows, work, weights;
  uint32_t count;
  if (device == NULL) return;
  t = device->target;
  channels = (uint64_t)(d->channels / d->groups);
  rows = (uint64_t)(d->output_channels / d->groups);
  positions = elements(d->rank, d->output_shape);
  taps = elements(d->rank, d->kernel_shape);
  shape[0] = d->batch;
  shape[1] = d->channels;
  memcpy(shape + 2, d->input_shape, d->rank * sizeof *shape);
  count = add_operand(device, accesses, &d->lhs, d->rank + 2, shape);
  shape[0] = d->output_channels;
  shape[1] = (int64_t)channels;
  memcpy(shape + 2, d->kernel_shape, d->rank * sizeof *shape);
  count += add_operand(device, accesses + count, &d->rhs, d->rank + 2, shape);
  shape[0] = d->batch;
  shape[1] = d->output_channels;
  memcpy(shape + 2, d->output_shape, d->rank * sizeof *shape);
  set_access(device, &accesses[count++], d->output, 1, MXNPU_ACTIVATIONS, d->rank + 2, shape,
             d->output_stride, sizeof(float));
  command.kind = MXNPU_KIND_CONV;
  command.queue = MXNPU_CONV_QUEUE(d);
  command.work = (uint64_t)d->batch * (uint64_t)d->output_channels * positions * taps * channels;
  if (command.queue == MXNPU_VECTOR) {
    give(device, &command, cycles((double)command.work, (double)t->lanes), accesses, count);
    return;
  }
  depth = d->contract == MX_BLOCK_EXACT ? up(channels, t->k) * taps : up(channels * taps, t->k);
  work = (uint64_t)(d->batch * d->groups) * up(rows, t->m) * up(positions, t->n) * depth;
  weights = (uint64_t)d->output_channels * channels * taps;
  give(device, &command,
       matrix_cycles(t, (double)work, &d->lhs,
                     (double)d->batch * (double)d->channels *
                         (double)elements(d->rank, d->input_shape),
                     &d->rhs, (double)weights),
       accesses, count);
}

void mxnpu_time_dma(mxnpu_device *device, const mxnpu_dma_desc *d) {
  mxnpu_access accesses[2];
  mxnpu_command command = {0};
  if (device == NULL) return;
  if (d->channel >= device->target->channels) {
    fault(device, MXNPU_NO_CHANNEL, 0);
    return;
  }
  set_access(device, &accesses[0], d->source, 0, d->purpose, d->rank, d->shape, d->source_stride,
             d->element_bytes);
  set_access(device, &accesses[1], d->target, 1, d->purpose, d->rank, d->shape, d->target_stride,
             d->element_bytes);
  command.queue = MXNPU_DMA + d->channel;
  command.kind = MXNPU_KIND_DMA;
  give(device, &command, 0, accesses, 2);
}

void mxnpu_time_vector(mxnpu_device *device, const mxnpu_vector_desc *d) {
  const mxnpu_target *t;
  mxnpu_access accesses[64];
  mxnpu_command command = {0};
  uint32_t count = d->region_count < 64 ? d->region_count : 64;
  if (device == NULL) return;
  t = device->target;
  for (uint32_t i = 0; i < count; ++i) {
    const mxnpu_region *const r = &d->regions[i];
    set_access(device, &accesses[i], r->data, r->writes, r->purpose, r->rank, r->shape, r->stride,
               r->element_bytes);
    if (r->elements > 0 && r->elements * r->element_bytes < accesses[i].bytes) {
      accesses[i].bytes = r->elements * r->element_bytes;
    }
  }
  command.queue = MXNPU_VECTOR;
  command.kind = MXNPU_KIND_LOOPS;
  command.work = d->points * (d->fast + d->slow * t->slow_factor);
  give(device, &command, cycles((double)command.work, (double)t->lanes), accesses, count);
}

static void time_conversion(mxnpu_device *device, mxnpu_command *command, uint64_t count,
                            uint64_t each, const mxnpu_access *accesses, uint32_t n) {
  command->queue = MXNPU_VECTOR;
  command->work = count * each;
  command->bytes = count;
  give(device, command, cycles((double)command->work, (double)device->target->lanes), accesses, n);
}

void mxnpu_time_quantize(mxnpu_device *device, const mxnpu_quantize_desc *d) {
  const int again = d->source.kind == MXNPU_BLOCKS;
  mxnpu_access accesses[MAX_ACCESSES];
  mxnpu_command command = {0};
  int64_t shape[MXNPU_MAX_RANK], grid[MXNPU_MAX_RANK], stride[MXNPU_MAX_RANK];
  uint32_t count = 0;
  if (device == NULL) return;
  for (uint32_t i = 0; i < d->how.rank; ++i) {
    shape[i] = (int64_t)d->how.shape[i];
    grid[i] = (shape[i] + (int64_t)d->how.block[i] - 1) / (int64_t)d->how.block[i];
    stride[i] = (int64_t)d->how.strides[i];
  }
  if (again) {
    count = add_operand(device, accesses, &d->source, d->how.rank, shape);
  } else {
    set_access(device, &accesses[count++], d->source.data, 0, d->source.purpose, d->how.rank, shape,
               stride, sizeof(float));
  }
  set_access(device, &accesses[count++], d->codes, 1, d->purpose, d->how.rank, shape,
             d->code_stride, 1);
  set_access(device, &accesses[count++], d->scales, 1, MXNPU_SCALES, d->how.rank, grid,
             d->scale_stride, 1);
  command.kind = again ? MXNPU_KIND_REQUANTIZE : MXNPU_KIND_QUANTIZE;
  time_conversion(device, &command, elements(d->how.rank, shape),
                  device->target->quantize_ops + (again ? 1u : 0u), accesses, count);
}

void mxnpu_time_dequantize(mxnpu_device *device, const mxnpu_dequantize_desc *d) {
  mxnpu_access accesses[MAX_ACCESSES];
  mxnpu_command command = {0};
  uint32_t count;
  if (device == NULL) return;
  count = add_operand(device, accesses, &d->source, d->rank, d->shape);
  set_access(device, &accesses[count++], d->target, 1, MXNPU_ACTIVATIONS, d->rank, d->shape,
             d->target_stride, sizeof(float));
  command.kind = MXNPU_KIND_DEQUANTIZE;
  time_conversion(device, &command, elements(d->rank, d->shape), 1, accesses, count);
}
