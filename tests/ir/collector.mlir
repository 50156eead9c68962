// RUN:

// Without passes a module is parsed, verified and printed.
// CHECK-LABEL: func.func @identity
// CHECK-NEXT:    func.return %x : tensor<4xf32>
func.func @identity(%x: tensor<4xf32>) -> tensor<4xf32> {
  func.return %x : tensor<4xf32>
}

// -----

// A module that does not verify is an error.
// RUN-ERROR: Expected arguments to have the same types as the function output types
func.func @wrong(%x: tensor<4xf32>) -> tensor<5xf32> {
  func.return %x : tensor<4xf32>
}

// -----

// An unknown pass is an error.
// RUN: no-such-pass
// RUN-ERROR: no-such-pass
func.func @f() {
  func.return
}
