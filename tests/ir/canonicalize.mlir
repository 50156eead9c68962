// RUN: canonicalize

// Two transposes are one; one that undoes the other is none.
func.func @main(%x: tensor<2x3x4xf32>) -> (tensor<3x4x2xf32>, tensor<2x3x4xf32>) {
  %a = onnx.Transpose(%x) <{perm = array<i64: 2, 0, 1>}> : (tensor<2x3x4xf32>) -> tensor<4x2x3xf32>
  %b = onnx.Transpose(%a) <{perm = array<i64: 2, 0, 1>}> : (tensor<4x2x3xf32>) -> tensor<3x4x2xf32>
  %c = onnx.Transpose(%a) <{perm = array<i64: 1, 2, 0>}> : (tensor<4x2x3xf32>) -> tensor<2x3x4xf32>
  func.return %b, %c : tensor<3x4x2xf32>, tensor<2x3x4xf32>
}
// CHECK: [[B:%.*]] = onnx.Transpose(%x) <{perm = array<i64: 1, 2, 0>}> : (tensor<2x3x4xf32>) -> tensor<3x4x2xf32>
// CHECK-NEXT: func.return [[B]], %x

// -----

// Operations that do nothing, and pairs that undo each other.
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %a = onnx.Identity(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %b = onnx.Dropout(%a) : (tensor<4xf32>) -> tensor<4xf32>
  %c = onnx.Neg(%b) : (tensor<4xf32>) -> tensor<4xf32>
  %d = onnx.Neg(%c) : (tensor<4xf32>) -> tensor<4xf32>
  %e = onnx.Cast(%d) <{to = 11 : i64}> : (tensor<4xf32>) -> tensor<4xf64>
  %f = onnx.Cast(%e) <{to = 1 : i64}> : (tensor<4xf64>) -> tensor<4xf32>
  %g = onnx.Concat(%f) <{axis = 0 : i64}> : (tensor<4xf32>) -> tensor<4xf32>
  func.return %g : tensor<4xf32>
}
// CHECK: func.func @main
// CHECK-NEXT: func.return %x

// -----

// Relu of Relu is one Relu.
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %a = onnx.Relu(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %b = onnx.Relu(%a) : (tensor<4xf32>) -> tensor<4xf32>
  func.return %b : tensor<4xf32>
}
// CHECK: onnx.Relu
// CHECK-NOT: onnx.Relu

// -----

// Reshapes of reshapes become one, whatever they are called.
func.func @main(%x: tensor<2x3x4xf32>, %s: tensor<2xi64>, %t: tensor<1xi64>) -> (tensor<6x4xf32>, tensor<2x3x4xf32>) {
  %a = onnx.Flatten(%x) <{axis = 1 : i64}> : (tensor<2x3x4xf32>) -> tensor<2x12xf32>
  %b = onnx.Reshape(%a, %s) : (tensor<2x12xf32>, tensor<2xi64>) -> tensor<6x4xf32>
  %c = onnx.Reshape(%b, %t) : (tensor<6x4xf32>, tensor<1xi64>) -> tensor<2x3x4xf32>
  func.return %b, %c : tensor<6x4xf32>, tensor<2x3x4xf32>
}
// CHECK: [[S:%.*]] = mx.constant @c_{{.*}} : tensor<2xi64>
// CHECK-NEXT: [[B:%.*]] = onnx.Reshape(%x, [[S]]) : (tensor<2x3x4xf32>, tensor<2xi64>) -> tensor<6x4xf32>
// CHECK-NEXT: func.return [[B]], %x

// -----

// Must not fire: a cast through a narrower type rounds; bool forgets; Dropout whose mask is read.
func.func @main(%x: tensor<4xf32>, %i: tensor<4xi32>) -> (tensor<4xf32>, tensor<4xi32>, tensor<4xf32>, tensor<4xi1>) {
  %a = onnx.Cast(%x) <{to = 10 : i64}> : (tensor<4xf32>) -> tensor<4xf16>
  %b = onnx.Cast(%a) <{to = 1 : i64}> : (tensor<4xf16>) -> tensor<4xf32>
  %c = onnx.Cast(%i) <{to = 9 : i64}> : (tensor<4xi32>) -> tensor<4xi1>
  %d = onnx.Cast(%c) <{to = 6 : i64}> : (tensor<4xi1>) -> tensor<4xi32>
  %e, %m = onnx.Dropout(%x) : (tensor<4xf32>) -> (tensor<4xf32>, tensor<4xi1>)
  func.return %b, %d, %e, %m : tensor<4xf32>, tensor<4xi32>, tensor<4xf32>, tensor<4xi1>
}
// CHECK-COUNT-4: onnx.Cast
// CHECK: onnx.Dropout
// CHECK: func.return %b, %d, %e, %m

// -----

// Must not fire: operands unknown at compile time, an Expand that expands, Sqrt of Sqrt.
func.func @main(%x: tensor<1x4xf32>, %o: tensor<1x4xf32>, %s: tensor<2xi64>) -> (tensor<1x4xf32>, tensor<3x4xf32>, tensor<1x4xf32>) {
  %a = onnx.Mul(%x, %o) : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<1x4xf32>
  %b = onnx.Expand(%x, %s) : (tensor<1x4xf32>, tensor<2xi64>) -> tensor<3x4xf32>
  %c = onnx.Sqrt(%x) : (tensor<1x4xf32>) -> tensor<1x4xf32>
  %d = onnx.Sqrt(%c) : (tensor<1x4xf32>) -> tensor<1x4xf32>
  func.return %a, %b, %d : tensor<1x4xf32>, tensor<3x4xf32>, tensor<1x4xf32>
}
// CHECK: onnx.Mul
// CHECK-NEXT: onnx.Expand
// CHECK-COUNT-2: onnx.Sqrt

// -----

// Views of loops that cancel, and a loop that copies.
func.func @main(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {
  %a = tensor.collapse_shape %x [[0, 1]] : tensor<2x3xf32> into tensor<6xf32>
  %b = tensor.expand_shape %a [[0, 1]] output_shape [2, 3] : tensor<6xf32> into tensor<2x3xf32>
  %e = tensor.empty() : tensor<2x3xf32>
  %c = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} ins(%b : tensor<2x3xf32>) outs(%e : tensor<2x3xf32>) {
  ^bb0(%i: f32, %o: f32):
    linalg.yield %i : f32
  } -> tensor<2x3xf32>
  func.return %c : tensor<2x3xf32>
}
// CHECK: func.func @main
// CHECK-NEXT: func.return %x

// -----

// Must not fire: a loop that copies transposed.
func.func @main(%x: tensor<3x3xf32>) -> tensor<3x3xf32> {
  %e = tensor.empty() : tensor<3x3xf32>
  %c = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d1, d0)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<3x3xf32>) outs(%e : tensor<3x3xf32>) {
  ^bb0(%i: f32, %o: f32):
    linalg.yield %i : f32
  } -> tensor<3x3xf32>
  func.return %c : tensor<3x3xf32>
}
// CHECK: linalg.generic
