// The affine map; formulas and names as in flowtorch/ops/affine.py.
#pragma once
#include "tile.h"

namespace {

enum ScaleFn { kSoftplus, kExp, kSigmoid };

// The logarithm of the scale before and after its bound, and their derivatives by what is before each.
template <class T>
struct LogScale {
    using M = Maths<T>;
    using V = Vec<T>;
    V value, slope;

    FLOWTORCH_INLINE LogScale(V raw, const Problem& p, bool need_slope) {
        const V shifted = raw + T(p.options[0]);  // the constant that belongs to the scale function
        V a;
        slope = M::splat(T(1));
        if (p.scale_fn == kExp) {
            a = raw;
        } else if (p.scale_fn == kSigmoid) {
            a = -M::softplus(-shifted);
            if (need_slope) {
                slope = M::sigmoid(-shifted);
            }
        } else {
            // log(softplus(a)) = a - exp(a) / 2 + ...: far down, where softplus would underflow, a itself is right.
            const Mask<T> small = shifted < Real<T>::kLogEps;
            const V scale = M::softplus(M::select(small, M::splat(Real<T>::kLogEps), shifted));
            a = M::select(small, shifted, M::log(scale));
            if (need_slope) {
                slope = M::select(small, M::splat(T(1)), M::sigmoid(shifted) / scale);
            }
        }
        const T least = T(p.options[1]), most = T(p.options[2]);
        if (p.clamp_values) {
            value = M::clamp(a, least, most);  // with the gradient of no bound at all
            return;
        }
        const Mask<T> negative = a < T(0);
        const V bound = M::select(negative, M::splat(least), M::splat(most));
        const Mask<T> bounded = M::abs(bound) < T(__builtin_inf());
        const V tangent = M::tanh(a / bound);
        value = M::select(bounded, bound * tangent, a);
        slope *= M::select(bounded, T(1) - tangent * tangent, M::splat(T(1)));
    }
};

template <class T>
void affine_forward(const Problem& p, int64_t begin, int64_t end) {
    using M = Maths<T>;
    using V = Vec<T>;
    for (Tile<T> tile(p, begin, end); tile.next();) {
        const V x = tile.load(0), loc = tile.load(1);
        V log_s = LogScale<T>(tile.load(2), p, false).value;
        log_s = p.inverse ? -log_s : log_s;
        const V s = M::exp(log_s);
        V value;
        if (p.gated) {
            value = s * (x - loc) + loc;
        } else {
            value = p.inverse ? s * (x - loc) : s * x + loc;
        }
        tile.store(value, 3);
        tile.store(log_s, 4);
    }
}

template <class T>
void affine_backward(const Problem& p, int64_t begin, int64_t end) {
    using M = Maths<T>;
    using V = Vec<T>;
    for (Tile<T> tile(p, begin, end); tile.next();) {
        const V x = tile.load(0), loc = tile.load(1);
        const LogScale<T> log_scale(tile.load(2), p, true);
        const V gv = tile.load(3), gl = tile.load(4);
        const V s = M::exp(p.inverse ? -log_scale.value : log_scale.value);
        const V by_x = gv * s;
        const V moved = p.gated || p.inverse ? x - loc : x;
        const V by_log = by_x * moved + gl;
        tile.store(by_x, 5);
        tile.store(p.gated ? gv - by_x : p.inverse ? -by_x : gv, 6);
        tile.store((p.inverse ? -by_log : by_log) * log_scale.slope, 7);
    }
}

}  // namespace
