// Powers on both sides of 0; formulas and names as in flowtorch/ops/tails.py.
#pragma once
#include "tile.h"

namespace {

template <class T>
void signed_power_forward(const Problem& p, int64_t begin, int64_t end) {
    using M = Maths<T>;
    using V = Vec<T>;
    for (Tile<T> tile(p, begin, end); tile.next();) {
        const V x = tile.load(0), log_exponent = tile.load(1);
        const V log_size = M::log1p(M::abs(x)), exponent = M::exp(log_exponent), power = exponent * log_size;
        const V size = M::select(power > Real<T>::kLogLargest, M::splat(T(__builtin_inf())), M::expm1(power)) / exponent;
        tile.store(M::select(x < T(0), -size, size), 2);
        tile.store(M::expm1(log_exponent) * log_size, 3);
    }
}

template <class T>
void signed_power_backward(const Problem& p, int64_t begin, int64_t end) {
    using M = Maths<T>;
    using V = Vec<T>;
    for (Tile<T> tile(p, begin, end); tile.next();) {
        const V x = tile.load(0), log_exponent = tile.load(1), gv = tile.load(2), gl = tile.load(3);
        const Mask<T> negative = x < T(0);
        const V size = M::abs(x), log_size = M::log1p(size), exponent = M::exp(log_exponent);
        const V power = exponent * log_size, less_one = M::expm1(power);
        const Mask<T> over = power > Real<T>::kLogLargest;
        const V slope = M::select(over, V{}, less_one + T(1));
        const V by_size = gl * M::expm1(log_exponent);
        tile.store((gv * slope + M::select(negative, -by_size, by_size)) / (T(1) + size), 4);
        const V by_log = M::select(over, V{}, log_size * slope - less_one / exponent);
        tile.store(gv * M::select(negative, -by_log, by_log) + gl * power, 5);
    }
}

}  // namespace
