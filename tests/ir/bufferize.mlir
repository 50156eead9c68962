// RUN: bufferize
#id = affine_map<(d0) -> (d0)>

// A result is computed in the buffer that the caller gave for it.
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %e = tensor.empty() : tensor<4xf32>
  %y = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%x : tensor<4xf32>) outs(%e : tensor<4xf32>) {
  ^bb0(%a: f32, %b: f32):
    %s = arith.addf %a, %a : f32
    linalg.yield %s : f32
  } -> tensor<4xf32>
  func.return %y : tensor<4xf32>
}
// CHECK:      func.func @main(%x: memref<4xf32>, %out0: memref<4xf32>)
// CHECK-NEXT: linalg.generic {{.*}} ins(%x : memref<4xf32>) outs(%out0 : memref<4xf32>)
// CHECK-NOT:  memref.copy

// -----
#id = affine_map<(d0) -> (d0)>

// An operand that dies is overwritten; one that is read later is not.
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %e = tensor.empty() : tensor<4xf32>
  %a = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%x : tensor<4xf32>) outs(%e : tensor<4xf32>) {
  ^bb0(%p: f32, %q: f32):
    %s = arith.addf %p, %p : f32
    linalg.yield %s : f32
  } -> tensor<4xf32>
  %b = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%a : tensor<4xf32>) outs(%e : tensor<4xf32>) {
  ^bb0(%p: f32, %q: f32):
    %s = arith.mulf %p, %p : f32
    linalg.yield %s : f32
  } -> tensor<4xf32>
  %c = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%b : tensor<4xf32>) outs(%e : tensor<4xf32>) {
  ^bb0(%p: f32, %q: f32):
    %s = arith.negf %p : f32
    linalg.yield %s : f32
  } -> tensor<4xf32>
  %d = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel"]} ins(%b, %c : tensor<4xf32>, tensor<4xf32>) outs(%e : tensor<4xf32>) {
  ^bb0(%p: f32, %q: f32, %r: f32):
    %s = arith.addf %p, %q : f32
    linalg.yield %s : f32
  } -> tensor<4xf32>
  func.return %d : tensor<4xf32>
}
// CHECK:      %0 = memref.alloc() : memref<4xf32>
// CHECK-NEXT: linalg.generic {{.*}} ins(%x : memref<4xf32>) outs(%0 : memref<4xf32>)
// CHECK:      linalg.generic {{.*}} ins(%0 : memref<4xf32>) outs(%0 : memref<4xf32>)
// CHECK:      %1 = memref.alloc() : memref<4xf32>
// CHECK-NEXT: linalg.generic {{.*}} ins(%0 : memref<4xf32>) outs(%1 : memref<4xf32>)
// CHECK:      linalg.generic {{.*}} ins(%0, %1 : {{.*}}) outs(%out0 : memref<4xf32>)

// -----

// What is only an argument, a constant or another result is copied.
func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %c = mx.constant @c_1 : tensor<4xf32>
  func.return %x, %c : tensor<4xf32>, tensor<4xf32>
}
// CHECK:      %[[C:.*]] = npu.constant @c_1 {part = "data"} : memref<4xf32>
// CHECK-NEXT: "memref.copy"(%x, %out0)
// CHECK-NEXT: "memref.copy"(%[[C]], %out1)

// -----

// An insertion keeps the old value if it is read later, else it works in place.
func.func @main(%x: tensor<2xf32>, %y: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %0 = tensor.insert_slice %x into %y[0] [2] [1] : tensor<2xf32> into tensor<4xf32>
  %1 = tensor.insert_slice %x into %0[1] [2] [1] : tensor<2xf32> into tensor<4xf32>
  func.return %0, %1 : tensor<4xf32>, tensor<4xf32>
}
// CHECK:      "memref.copy"(%y, %out0)
// CHECK-NEXT: %[[A:.*]] = memref.reinterpret_cast %out0 to offset: [0], sizes: [2], strides: [1]
// CHECK-NEXT: "memref.copy"(%x, %[[A]])
// CHECK-NEXT: "memref.copy"(%out0, %out1)
// CHECK-NEXT: %[[B:.*]] = memref.reinterpret_cast %out1 to offset: [1], sizes: [2], strides: [1]
// CHECK-NEXT: "memref.copy"(%x, %[[B]])
// CHECK-NEXT: func.return

// -----
#id = affine_map<(d0) -> (d0)>

// Parts of a concatenation are computed in their places.
func.func @main(%x: tensor<2xf32>) -> tensor<4xf32> {
  %e = tensor.empty() : tensor<2xf32>
  %a = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%x : tensor<2xf32>) outs(%e : tensor<2xf32>) {
  ^bb0(%p: f32, %q: f32):
    %s = arith.negf %p : f32
    linalg.yield %s : f32
  } -> tensor<2xf32>
  %t = tensor.empty() : tensor<4xf32>
  %0 = tensor.insert_slice %a into %t[2] [2] [1] : tensor<2xf32> into tensor<4xf32>
  %1 = tensor.insert_slice %x into %0[0] [2] [1] : tensor<2xf32> into tensor<4xf32>
  func.return %1 : tensor<4xf32>
}
// CHECK:      %[[A:.*]] = memref.reinterpret_cast %out0 to offset: [2]
// CHECK-NEXT: linalg.generic {{.*}} ins(%x : {{.*}}) outs(%[[A]] : {{.*}})
// CHECK:      %[[B:.*]] = memref.reinterpret_cast %out0 to offset: [0]
// CHECK-NEXT: "memref.copy"(%x, %[[B]])
// CHECK-NEXT: func.return

// -----

// A blocked tensor is codes and scales; a transposed one is the same bytes with other strides.
func.func @main(%x: tensor<4x64xf32>, %y: tensor<8x64xf32>) -> tensor<4x8xf32> {
  %p = mx.quantize %x {recipe = #mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>} : tensor<4x64xf32> -> tensor<4x64x!mx.block<f8E4M3FN, 1x32>>
  %q = mx.quantize %y {recipe = #mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>} : tensor<8x64xf32> -> tensor<8x64x!mx.block<f8E4M3FN, 1x32>>
  %t = mx.transpose %q {permutation = array<i64: 1, 0>} : tensor<8x64x!mx.block<f8E4M3FN, 1x32>> -> tensor<64x8x!mx.block<f8E4M3FN, 32x1>>
  %m = mx.matmul %p, %t {contract = "block-exact"} : tensor<4x64x!mx.block<f8E4M3FN, 1x32>>, tensor<64x8x!mx.block<f8E4M3FN, 32x1>> -> tensor<4x8xf32>
  func.return %m : tensor<4x8xf32>
}
// CHECK: npu.quantize %x into %0, %1 {format = "mxfp8_e4m3", block = array<i64: 1, 32>
// CHECK: npu.quantize %y into %2, %3
// CHECK: %4 = memref.reinterpret_cast %2 to offset: [0], sizes: [64, 8], strides: [1, 64]
// CHECK: %5 = memref.reinterpret_cast %3 to offset: [0], sizes: [2, 8], strides: [1, 2]
// CHECK: npu.matmul %0 scaled %1, %4 scaled %5 into %out0

// -----

// A loop works in the buffer of what it carries; here the caller's, since the argument is kept.
func.func @main(%x: tensor<4x2xf32>, %r: tensor<1x2xf32>) -> tensor<4x2xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %y = scf.for %i = %c0 to %c4 step %c1 iter_args(%a = %x) -> (tensor<4x2xf32>) {
    %n = tensor.insert_slice %r into %a[%i, 0] [1, 2] [1, 1] : tensor<1x2xf32> into tensor<4x2xf32>
    scf.yield %n : tensor<4x2xf32>
  }
  func.return %y : tensor<4x2xf32>
}
// CHECK:      "memref.copy"(%x, %out0)
// CHECK-NEXT: scf.for %i = %c0 to %c4 step %c1 {
// CHECK:        %[[P:.*]] = memref.reinterpret_cast %out0 to offset: [%{{.*}}], sizes: [1, 2], strides: [2, 1]
// CHECK-NEXT:   "memref.copy"(%r, %[[P]])
// CHECK-NEXT: }
// CHECK-NEXT: func.return

// -----
// RUN: bufferize
// RUN-ERROR: bufferize has no rule for tensor.cast
func.func @main(%x: tensor<4xf32>) -> tensor<?xf32> {
  %y = tensor.cast %x : tensor<4xf32> to tensor<?xf32>
  func.return %y : tensor<?xf32>
}
