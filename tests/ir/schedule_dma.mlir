// RUN: schedule-dma

// Operands come in, the result goes out; a transposed operand is copied as it lies in memory.
func.func @main(%a: memref<4x8xf32>, %b: memref<6x8xf32>, %y: memref<4x6xf32>) {
  %t = memref.reinterpret_cast %b to offset: [0], sizes: [8, 6], strides: [1, 8] : memref<6x8xf32> to memref<8x6xf32, strided<[1, 8]>>
  npu.matmul %a, %t into %y {contract = "sequential"} : memref<4x8xf32>, memref<8x6xf32, strided<[1, 8]>> into memref<4x6xf32>
  func.return
}
// CHECK:      %[[A:.*]] = memref.alloc() : memref<4x8xf32, "scratchpad">
// CHECK-NEXT: %[[EA:.*]] = npu.dma_start %a, %[[A]]
// CHECK-NEXT: %[[D:.*]] = memref.reinterpret_cast %b to offset: [0], sizes: [6, 8], strides: [8, 1]
// CHECK-NEXT: %[[B:.*]] = memref.alloc() : memref<6x8xf32, "scratchpad">
// CHECK-NEXT: %[[T:.*]] = memref.reinterpret_cast %[[B]] to offset: [0], sizes: [8, 6], strides: [1, 8]
// CHECK-NEXT: %[[EB:.*]] = npu.dma_start %[[D]], %[[B]]
// CHECK-NEXT: %[[Y:.*]] = memref.alloc() : memref<4x6xf32, "scratchpad">
// CHECK-NEXT: npu.dma_wait %[[EA]]
// CHECK-NEXT: npu.dma_wait %[[EB]]
// CHECK-NEXT: npu.matmul %[[A]], %[[T]] into %[[Y]]
// CHECK-NEXT: %[[EY:.*]] = npu.dma_start %[[Y]], %y
// CHECK-NEXT: npu.dma_wait %[[EY]]
// CHECK-NEXT: func.return

// -----
// RUN: schedule-dma{capacity=255}

// 64 + 128 + 64 bytes do not fit: the operation works on DRAM.
func.func @main(%a: memref<2x4xf32>, %b: memref<4x8xf32>, %y: memref<2x8xf32>) {
  npu.matmul %a, %b into %y {contract = "sequential"} : memref<2x4xf32>, memref<4x8xf32> into memref<2x8xf32>
  func.return
}
// CHECK:     npu.matmul %a, %b into %y
// CHECK-NOT: npu.dma_start
