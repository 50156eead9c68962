// RUN: expand-math

// In a loop body, where the constants it needs are put too.
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %e = tensor.empty() : tensor<4xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%x : tensor<4xf32>) outs(%e : tensor<4xf32>) {
  ^bb0(%i: f32, %o: f32):
    %r = math.rsqrt %i : f32
    linalg.yield %r : f32
  } -> tensor<4xf32>
  func.return %y : tensor<4xf32>
}
// CHECK: linalg.generic
// CHECK-NEXT: ^bb0
// CHECK-NEXT: [[ONE:%.*]] = arith.constant 1.0
// CHECK-NEXT: [[ROOT:%.*]] = math.sqrt %i : f32
// CHECK-NEXT: [[Y:%.*]] = arith.divf [[ONE]], [[ROOT]] : f32
// CHECK-NEXT: linalg.yield [[Y]]

// -----

// Short floats are widened, and rounded once at the end.
func.func @main(%x: bf16) -> bf16 {
  %r = math.rsqrt %x : bf16
  func.return %r : bf16
}
// CHECK: [[W:%.*]] = arith.extf %x : bf16 to f32
// CHECK-NEXT: [[ROOT:%.*]] = math.sqrt [[W]] : f32
// CHECK-NEXT: [[Q:%.*]] = arith.divf %{{.*}}, [[ROOT]] : f32
// CHECK-NEXT: [[R:%.*]] = arith.truncf [[Q]] : f32 to bf16
// CHECK-NEXT: func.return [[R]] : bf16

// -----

// A square is a product.
func.func @main(%x: f32) -> f32 {
  %two = arith.constant 2.0 : f32
  %r = math.powf %x, %two : f32
  func.return %r : f32
}
// CHECK: [[R:%.*]] = arith.mulf %x, %x : f32
// CHECK-NEXT: func.return [[R]]

// -----

// Must not fire: operations that have one result already.
func.func @main(%x: f32, %i: i32) -> (f32, i32) {
  %a = math.sqrt %x : f32
  %b = math.fma %a, %x, %x : f32
  %c = math.floor %b : f32
  %d = math.ceil %c : f32
  %e = math.trunc %d : f32
  %f = math.roundeven %e : f32
  %g = math.absf %f : f32
  %h = math.copysign %g, %x : f32
  %j = math.absi %i : i32
  %k = math.ctlz %j : i32
  func.return %h, %k : f32, i32
}
// CHECK: func.func @main
// CHECK-NEXT: math.sqrt
// CHECK-NEXT: math.fma
// CHECK-NEXT: math.floor
// CHECK-NEXT: math.ceil
// CHECK-NEXT: math.trunc
// CHECK-NEXT: math.roundeven
// CHECK-NEXT: math.absf
// CHECK-NEXT: math.copysign
// CHECK-NEXT: math.absi
// CHECK-NEXT: math.ctlz
// CHECK-NEXT: func.return

// -----

// RUN-ERROR: expand-math cannot expand math.cttz
func.func @main(%i: i32) -> i32 {
  %k = math.cttz %i : i32
  func.return %k : i32
}
