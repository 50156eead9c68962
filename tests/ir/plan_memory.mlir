// RUN: plan-memory

// %a and %c are never needed together, %b overlaps both; a view keeps its buffer alive.
func.func @main(%x: memref<32xf32>, %y: memref<32xf32>) {
  %w = npu.constant @c_1 {part = "data"} : memref<3xf32>
  %v = npu.constant @c_2 {part = "codes"} : memref<3xi8>
  %u = npu.constant @c_1 {part = "data"} : memref<3xf32>
  %a = memref.alloc() : memref<32xf32>
  %b = memref.alloc() : memref<32xf32>
  %c = memref.alloc() : memref<32xf32>
  "memref.copy"(%x, %a) : (memref<32xf32>, memref<32xf32>) -> ()
  %r = memref.reinterpret_cast %a to offset: [0], sizes: [32], strides: [1] : memref<32xf32> to memref<32xf32, strided<[1]>>
  "memref.copy"(%r, %b) : (memref<32xf32, strided<[1]>>, memref<32xf32>) -> ()
  "memref.copy"(%b, %c) : (memref<32xf32>, memref<32xf32>) -> ()
  "memref.copy"(%c, %y) : (memref<32xf32>, memref<32xf32>) -> ()
  func.return
}
// CHECK: npu.plan = {dram = 256 : i64, dram_peak = 256 : i64, scratchpad = 0 : i64, scratchpad_peak = 0 : i64, weights = 128 : i64}
// CHECK: %w = npu.constant @c_1 {part = "data", offset = 0 : i64}
// CHECK: %v = npu.constant @c_2 {part = "codes", offset = 64 : i64}
// CHECK: %u = npu.constant @c_1 {part = "data", offset = 0 : i64}
// CHECK: %a = npu.buffer {space = "dram", offset = 0 : i64} : memref<32xf32>
// CHECK: %b = npu.buffer {space = "dram", offset = 128 : i64} : memref<32xf32>
// CHECK: %c = npu.buffer {space = "dram", offset = 0 : i64} : memref<32xf32>

// -----

// %a is used in the loop and lives as long as it; %b and %c belong to one round and share bytes.
func.func @main(%x: memref<32xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %a = memref.alloc() : memref<32xf32>
  "memref.copy"(%x, %a) : (memref<32xf32>, memref<32xf32>) -> ()
  scf.for %i = %c0 to %c4 step %c1 {
    %b = memref.alloc() : memref<32xf32>
    %c = memref.alloc() : memref<32xf32>
    "memref.copy"(%a, %b) : (memref<32xf32>, memref<32xf32>) -> ()
    "memref.copy"(%b, %x) : (memref<32xf32>, memref<32xf32>) -> ()
    "memref.copy"(%x, %c) : (memref<32xf32>, memref<32xf32>) -> ()
    "memref.copy"(%c, %x) : (memref<32xf32>, memref<32xf32>) -> ()
  }
  func.return
}
// CHECK: %a = npu.buffer {space = "dram", offset = 0 : i64}
// CHECK: %b = npu.buffer {space = "dram", offset = 128 : i64}
// CHECK: %c = npu.buffer {space = "dram", offset = 128 : i64}

// -----

// The two memories are planned apart.
func.func @main(%x: memref<32xf32>) {
  %a = memref.alloc() : memref<32xf32, "scratchpad">
  npu.dma %x, %a {channel = 0 : i64, purpose = "activations"} : memref<32xf32>, memref<32xf32, "scratchpad">
  func.return
}
// CHECK: dram = 0 : i64, dram_peak = 0 : i64, scratchpad = 128 : i64
// CHECK: %a = npu.buffer {space = "scratchpad", offset = 0 : i64} : memref<32xf32, "scratchpad">
