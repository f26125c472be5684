// The affine map; formulas and names as in flowtorch/ops/affine.py.
#pragma once
#include "tile.h"

namespace {

enum ScaleFn { kSoftplus, kExp, kSigmoid };

// The logarithms of scales before and after their bound, and their derivatives by what is before each.
//
// One function after the other, of all: see kTilesTogether.
template <class T, int count>
struct LogScales {
    using M = Maths<T>;
    using V = Vec<T>;
    V value[count], slope[count];

    FLOWTORCH_INLINE LogScales(const V* raw, const Problem& p, bool need_slope) {
        V a[count], x[count];
        FLOWTORCH_EACH(i, count) {
            slope[i] = M::splat(T(1));
            a[i] = raw[i];
            x[i] = raw[i] + T(p.options[0]);  // the constant that belongs to the scale function
        }
        if (p.scale_fn == kSigmoid) {
            FLOWTORCH_EACH(i, count) { a[i] = -M::softplus(-x[i]); }
            if (need_slope) {
                FLOWTORCH_EACH(i, count) { slope[i] = M::sigmoid(-x[i]); }
            }
        } else if (p.scale_fn == kSoftplus) {
            // log(softplus(x)) = x - exp(x) / 2 + ...: far down, where softplus would underflow, x itself is right.
            V scale[count];
            FLOWTORCH_EACH(i, count) {
                scale[i] = M::softplus(M::select(x[i] < Real<T>::kLogEps, M::splat(Real<T>::kLogEps), x[i]));
            }
            FLOWTORCH_EACH(i, count) { a[i] = M::select(x[i] < Real<T>::kLogEps, x[i], M::log(scale[i])); }
            if (need_slope) {
                FLOWTORCH_EACH(i, count) {
                    slope[i] = M::select(x[i] < Real<T>::kLogEps, M::splat(T(1)), M::sigmoid(x[i]) / scale[i]);
                }
            }
        }
        const T least = T(p.options[1]), most = T(p.options[2]);
        if (p.clamp_values) {
            FLOWTORCH_EACH(i, count) { value[i] = M::clamp(a[i], least, most); }  // with the gradient of no bound at all
            return;
        }
        FLOWTORCH_EACH(i, count) {
            const V bound = M::select(a[i] < T(0), M::splat(least), M::splat(most));
            const Mask<T> bounded = M::abs(bound) < T(__builtin_inf());
            const V tangent = M::tanh(a[i] / bound);
            value[i] = M::select(bounded, bound * tangent, a[i]);
            slope[i] *= M::select(bounded, T(1) - tangent * tangent, M::splat(T(1)));
        }
    }
};

template <class T>
void affine_forward(const Problem& p, int64_t begin, int64_t end) {
    using M = Maths<T>;
    using V = Vec<T>;
    for (Tile<T> in(p, begin, end, 0, 3), out(p, begin, end, 3, 5);;) {
        V x[kTilesTogether] = {}, loc[kTilesTogether] = {}, raw[kTilesTogether] = {}, value[kTilesTogether];
        int count = 0;
        for (; count < kTilesTogether && in.next(); ++count) {
            x[count] = in.load(0), loc[count] = in.load(1), raw[count] = in.load(2);
        }
        const LogScales<T, kTilesTogether> log_scale(raw, p, false);
        FLOWTORCH_EACH(i, kTilesTogether) {
            const V s = M::exp(p.inverse ? -log_scale.value[i] : log_scale.value[i]);
            if (p.gated) {
                value[i] = s * (x[i] - loc[i]) + loc[i];
            } else {
                value[i] = p.inverse ? s * (x[i] - loc[i]) : s * x[i] + loc[i];
            }
        }
        for (int i = 0; i < count; ++i) {
            out.next();
            out.store(value[i], 3);
            out.store(p.inverse ? -log_scale.value[i] : log_scale.value[i], 4);
        }
        if (count < kTilesTogether) {
            return;
        }
    }
}

template <class T>
void affine_backward(const Problem& p, int64_t begin, int64_t end) {
    using M = Maths<T>;
    using V = Vec<T>;
    for (Tile<T> in(p, begin, end, 0, 5), out(p, begin, end, 5, 8);;) {
        V x[kTilesTogether] = {}, loc[kTilesTogether] = {}, raw[kTilesTogether] = {};
        V gv[kTilesTogether] = {}, gl[kTilesTogether] = {}, by_x[kTilesTogether];
        int count = 0;
        for (; count < kTilesTogether && in.next(); ++count) {
            x[count] = in.load(0), loc[count] = in.load(1), raw[count] = in.load(2);
            gv[count] = in.load(3), gl[count] = in.load(4);
        }
        const LogScales<T, kTilesTogether> log_scale(raw, p, true);
        FLOWTORCH_EACH(i, kTilesTogether) {
            by_x[i] = gv[i] * M::exp(p.inverse ? -log_scale.value[i] : log_scale.value[i]);
        }
        for (int i = 0; i < count; ++i) {
            const V moved = p.gated || p.inverse ? x[i] - loc[i] : x[i];
            const V by_log = by_x[i] * moved + gl[i];
            out.next();
            out.store(by_x[i], 5);
            out.store(p.gated ? gv[i] - by_x[i] : p.inverse ? -by_x[i] : gv[i], 6);
            out.store((p.inverse ? -by_log : by_log) * log_scale.slope[i], 7);
        }
        if (count < kTilesTogether) {
            return;
        }
    }
}

}  // namespace
