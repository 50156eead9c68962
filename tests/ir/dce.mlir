// RUN: dce

// A chain that nothing uses goes, at every level; a loop's body goes with the loop.
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %a = onnx.Exp(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %b = onnx.Neg(%a) : (tensor<4xf32>) -> tensor<4xf32>
  %e = tensor.empty() : tensor<4xf32>
  %g = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%b : tensor<4xf32>) outs(%e : tensor<4xf32>) {
  ^bb0(%i: f32, %o: f32):
    %n = arith.negf %i : f32
    linalg.yield %n : f32
  } -> tensor<4xf32>
  func.return %x : tensor<4xf32>
}
// CHECK: func.func @main
// CHECK-NEXT: func.return %x

// -----

// Random numbers that nothing uses are not taken for pure, nor are writes to memory.
func.func @main(%x: tensor<4xf32>, %m: memref<4xf32>) -> tensor<4xf32> {
  %r = onnx.RandomNormalLike(%x) : (tensor<4xf32>) -> tensor<4xf32>
  linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%m : memref<4xf32>) outs(%m : memref<4xf32>) {
  ^bb0(%i: f32, %o: f32):
    linalg.yield %i : f32
  }
  func.return %x : tensor<4xf32>
}
// CHECK: onnx.RandomNormalLike
// CHECK-NEXT: linalg.generic
