// The activations that networks know here.
#pragma once
#include "vector.h"

namespace {

enum class Activation { kNone, kReLU, kLeakyReLU, kTanh, kSiLU, kELU };

template <class T>
FLOWTORCH_INLINE Vec<T> activated(Vec<T> x, Activation activation, T slope) {
    using M = Maths<T>;
    switch (activation) {
        case Activation::kReLU: return M::select(x < T(0), Vec<T>{}, x);
        case Activation::kLeakyReLU: return M::select(x < T(0), slope * x, x);
        case Activation::kTanh: return M::tanh(x);
        case Activation::kSiLU: return x * M::sigmoid(x);
        case Activation::kELU: return M::select(x > T(0), x, slope * M::expm1(M::select(x > T(0), Vec<T>{}, x)));
        default: return x;
    }
}

// The derivative where the activation is y. That of SiLU cannot be told from y; its networks keep to torch.
template <class T>
FLOWTORCH_INLINE Vec<T> slope_at(Vec<T> y, Activation activation, T slope) {
    using M = Maths<T>;
    const Vec<T> one = M::splat(T(1));
    switch (activation) {
        case Activation::kReLU: return M::select(y > T(0), one, Vec<T>{});
        case Activation::kLeakyReLU: return M::select(y > T(0), one, M::splat(slope));
        case Activation::kTanh: return one - y * y;
        case Activation::kELU: return M::select(y > T(0), one, y + slope);
        default: return one;
    }
}

}  // namespace
