// RUN: schedule

// The transfer goes first, on some channel; the product waits for it, and the result for the product.
func.func @main(%x: memref<4x8xf32>, %y: memref<4x6xf32>) {
  %w = npu.constant @c_1 {part = "data", offset = 0 : i64} : memref<8x6xf32>
  %a = npu.buffer {space = "scratchpad", offset = 0 : i64} : memref<4x8xf32, "scratchpad">
  %b = npu.buffer {space = "scratchpad", offset = 128 : i64} : memref<4x6xf32, "scratchpad">
  npu.dma %x, %a {channel = 0 : i64, purpose = "activations"} : memref<4x8xf32>, memref<4x8xf32, "scratchpad">
  npu.matmul %a, %w into %b {contract = "sequential"} : memref<4x8xf32, "scratchpad">, memref<8x6xf32> into memref<4x6xf32, "scratchpad">
  npu.dma %b, %y {channel = 0 : i64, purpose = "activations"} : memref<4x6xf32, "scratchpad">, memref<4x6xf32>
  func.return
}
// CHECK:      npu.dma %x, %a
// CHECK-NEXT: %[[E:.*]] = npu.record {queue = "dma0"}
// CHECK-NEXT: npu.wait %[[E]] {queue = "matrix"}
// CHECK-NEXT: npu.matmul
// CHECK-NEXT: %[[F:.*]] = npu.record {queue = "matrix"}
// CHECK-NEXT: npu.wait %[[F]] {queue = "dma{{[01]}}"}
// CHECK-NEXT: npu.dma %b, %y
// CHECK-NEXT: func.return

// -----
// RUN: schedule

// Columns of one matrix: transfers that share no byte go to both channels, nobody waits.
func.func @main(%x: memref<4x8xf32>, %y: memref<4x8xf32>) {
  %a = npu.buffer {space = "scratchpad", offset = 0 : i64} : memref<4x8xf32, "scratchpad">
  %l = memref.reinterpret_cast %a to offset: [0], sizes: [4, 4], strides: [8, 1] : memref<4x8xf32, "scratchpad"> to memref<4x4xf32, strided<[8, 1]>, "scratchpad">
  %r = memref.reinterpret_cast %a to offset: [4], sizes: [4, 4], strides: [8, 1] : memref<4x8xf32, "scratchpad"> to memref<4x4xf32, strided<[8, 1], offset: 4>, "scratchpad">
  %p = memref.reinterpret_cast %x to offset: [0], sizes: [4, 4], strides: [8, 1] : memref<4x8xf32> to memref<4x4xf32, strided<[8, 1]>>
  npu.dma %p, %l {channel = 0 : i64, purpose = "activations"} : memref<4x4xf32, strided<[8, 1]>>, memref<4x4xf32, strided<[8, 1]>, "scratchpad">
  npu.dma %p, %r {channel = 0 : i64, purpose = "activations"} : memref<4x4xf32, strided<[8, 1]>>, memref<4x4xf32, strided<[8, 1], offset: 4>, "scratchpad">
  func.return
}
// CHECK:      npu.dma %{{.*}}, %l {channel = 0 : i64
// CHECK-NEXT: npu.dma %{{.*}}, %r {channel = 1 : i64
// CHECK-NEXT: func.return
