// RUN: cse

// Equal operations become one, then their users do.
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %a = onnx.Exp(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %b = onnx.Exp(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %c = onnx.Neg(%a) : (tensor<4xf32>) -> tensor<4xf32>
  %d = onnx.Neg(%b) : (tensor<4xf32>) -> tensor<4xf32>
  %e = onnx.Add(%c, %d) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  func.return %e : tensor<4xf32>
}
// CHECK: [[A:%.*]] = onnx.Exp(%x)
// CHECK-NEXT: [[C:%.*]] = onnx.Neg([[A]])
// CHECK-NEXT: onnx.Add([[C]], [[C]])

// -----

// Loops with equal bodies are equal, however their values are called; `tensor.empty` stays apart.
func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %e = tensor.empty() : tensor<4xf32>
  %f = tensor.empty() : tensor<4xf32>
  %a = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%x : tensor<4xf32>) outs(%e : tensor<4xf32>) {
  ^bb0(%i: f32, %o: f32):
    %c = arith.constant 2.0 : f32
    %n = arith.mulf %i, %c : f32
    linalg.yield %n : f32
  } -> tensor<4xf32>
  %b = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%x : tensor<4xf32>) outs(%e : tensor<4xf32>) {
  ^bb0(%j: f32, %p: f32):
    %two = arith.constant 2.0 : f32
    %m = arith.mulf %j, %two : f32
    linalg.yield %m : f32
  } -> tensor<4xf32>
  %g = onnx.Add(%f, %e) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  func.return %a, %b : tensor<4xf32>, tensor<4xf32>
}
// CHECK: tensor.empty
// CHECK-NEXT: tensor.empty
// CHECK-NEXT: [[G:%.*]] = linalg.generic
// CHECK-NOT: linalg.generic
// CHECK: func.return [[G]], [[G]]

// -----

// Not equal: another attribute, another operand order, random numbers.
func.func @main(%x: tensor<4x4xf32>, %y: tensor<4x4xf32>) -> (tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>) {
  %a = onnx.Softmax(%x) <{axis = 0 : i64}> : (tensor<4x4xf32>) -> tensor<4x4xf32>
  %b = onnx.Softmax(%x) <{axis = 1 : i64}> : (tensor<4x4xf32>) -> tensor<4x4xf32>
  %c = onnx.Sub(%x, %y) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %d = onnx.Sub(%y, %x) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %r = onnx.RandomNormalLike(%x) : (tensor<4x4xf32>) -> tensor<4x4xf32>
  %s = onnx.RandomNormalLike(%x) : (tensor<4x4xf32>) -> tensor<4x4xf32>
  func.return %a, %b, %c, %d, %r, %s : tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>
}
// CHECK-COUNT-2: onnx.Softmax
// CHECK-COUNT-2: onnx.Sub
// CHECK-COUNT-2: onnx.RandomNormalLike
// CHECK: func.return %a, %b, %c, %d, %r, %s

// -----

// A constant outside a loop does not replace the one in its body: bodies stay whole.
func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, f32) {
  %c = arith.constant 2.0 : f32
  %e = tensor.empty() : tensor<4xf32>
  %a = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%x : tensor<4xf32>) outs(%e : tensor<4xf32>) {
  ^bb0(%i: f32, %o: f32):
    %d = arith.constant 2.0 : f32
    %n = arith.mulf %i, %d : f32
    linalg.yield %n : f32
  } -> tensor<4xf32>
  func.return %a, %c : tensor<4xf32>, f32
}
// CHECK: linalg.generic
// CHECK: arith.constant 2.0
