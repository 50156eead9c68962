// RUN: place{target=npu},tile{target=npu}

// The weights pass through the scratchpad, the result stays there until a copy takes it out.
func.func @main(%x: memref<4x64xf32>, %w: memref<64x8xf32>, %y: memref<4x8xf32>) {
  %a = memref.alloc() : memref<4x8xf32>
  npu.matmul %x, %w into %a {contract = "sequential"} : memref<4x64xf32>, memref<64x8xf32> into memref<4x8xf32>
  "memref.copy"(%a, %y) : (memref<4x8xf32>, memref<4x8xf32>) -> ()
  func.return
}
// CHECK: npu.ring = {start = 128 : i64, size = {{[0-9]+}} : i64}
// CHECK: npu.tiles = ["npu.matmul: tiles
// CHECK: %[[A:.*]] = npu.buffer {space = "scratchpad", offset = 0 : i64}
// CHECK: npu.dma %x, %[[X:.*]] {channel
// CHECK: npu.dma %w, %[[W:.*]] {channel
// CHECK: npu.matmul %[[X]], %[[W]] into %[[A]]
// CHECK: npu.dma %[[A]], %y
// CHECK-NOT: memref.copy
