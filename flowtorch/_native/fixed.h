// Maps without parameters; formulas as in flowtorch/ops/{elementary,bounded,cdf}.py, the functions that are named there.
#pragma once
#include "normal.h"
#include "tile.h"

namespace {

enum FixedMap { kExp_, kSigmoid_, kTanh, kSoftplus_, kElu, kLeakyRelu, kSoftclip, kNormalCdf, kCauchyCdf, kFixedMaps };

// The value and the log-derivative, or with `backward` the derivatives of both: 0 where a value is clamped.
template <class T, int map, bool backward>
FLOWTORCH_INLINE void fixed_map(const Problem& p, Vec<T> x, Vec<T>& first, Vec<T>& second) {
    using M = Maths<T>;
    using V = Vec<T>;
    const T a = T(p.options[0]), b = T(p.options[1]);
    const V one = M::splat(T(1));
    constexpr T infinity = T(__builtin_inf());
    const auto clamped = [&](V value, V slope, T least, T most) {
        if constexpr (backward) {
            // Of NaN both comparisons are false.
            return M::select((value < least) | (value > most), V{}, slope);
        } else {
            return M::clamp(value, least, most);
        }
    };
    if constexpr (map == kExp_) {
        const V y = M::exp(x), beyond = M::splat(backward ? T(0) : infinity);
        first = M::select(x > Real<T>::kLogLargest, beyond, clamped(y, y, Real<T>::kTiny, infinity));
        second = backward ? one : x;
    } else if constexpr (map == kSigmoid_ || map == kTanh) {
        const V size = map == kTanh ? T(2) * M::abs(x) : M::abs(x);
        const V e = M::exp(-size), share = T(1) / (T(1) + e);
        if constexpr (map == kSigmoid_) {
            const V y = M::select(x < T(0), e, one) * share;
            first = clamped(y, e * share * share, Real<T>::kTiny, Real<T>::kBelowOne);
        } else {
            const V y = M::tanh(x);
            first = clamped(y, T(4) * e * share * share, -Real<T>::kBelowOne, Real<T>::kBelowOne);
        }
        if constexpr (backward) {
            const V slope = (map == kTanh ? T(2) : T(1)) * (T(1) - e) * share;
            second = M::select(x < T(0), slope, -slope);
        } else {
            second = (map == kTanh ? T(1.3862943611198906) : T(0)) - size - T(2) * M::log1p(e);
        }
    } else if constexpr (map == kSoftplus_) {
        const V e = M::exp(-M::abs(x));
        const Mask<T> negative = x < T(0);
        const V log = M::log1p(e), share = one / (T(1) + e);
        const V y = M::select(negative, V{}, x) + log;
        first = clamped(y, M::select(negative, e, one) * share, Real<T>::kTiny, infinity);
        second = backward ? M::select(negative, one, e) * share : M::select(negative, x, V{}) - log;
    } else if constexpr (map == kElu) {
        const Mask<T> positive = x > T(0);
        const V y = M::expm1(M::select(positive, V{}, x));
        first = M::select(positive, backward ? one : x, clamped(y, y + T(1), -Real<T>::kBelowOne, T(0)));
        second = M::select(positive, V{}, backward ? one : x);
    } else if constexpr (map == kLeakyRelu) {  // a: the slope
        const Mask<T> negative = x < T(0);
        if constexpr (backward) {
            first = M::select(negative, M::splat(a), one);
            second = V{};
        } else {
            first = M::select(negative, a * x, x);
            second = M::select(negative, M::splat(T(__builtin_log(p.options[0]))), M::select(x == x, V{}, x));
        }
    } else if constexpr (map == kSoftclip) {  // a: the bound
        constexpr double eps = 2.0 * (1.0 - double(Real<T>::kBelowOne)), tiny = double(Real<T>::kTiny);
        const double lost = p.options[0] * eps;
        const T most = T(p.options[0] - (lost > tiny ? lost : tiny));
        const T far = a < Real<T>::kLargest * T(eps / 4) ? a * T(4 / eps) : Real<T>::kLargest;  // nothing changes there
        const V size = M::abs(x), near = M::clamp(x, -far, far), factor = T(1) / (T(1) + M::abs(near) / a);
        const V y = near * factor;
        first = clamped(y, factor * factor, -most, most);
        if constexpr (backward) {
            const V slope = T(2) / (a + size);
            second = M::select(x < T(0), slope, M::select(x > T(0), -slope, V{}));
        } else {
            second = T(-2) * M::log1p(size / a);
        }
    } else {  // a: the location, b: the scale
        const V z = (x - a) / b;
        V y, slope;
        if constexpr (map == kNormalCdf) {
            const V u = M::clamp(M::abs(z), T(0), T(60)), e = bell<T>(u), tail = e * scaled_tail<T>(u);
            y = M::select(z < T(0), tail, T(1) - tail);
            slope = e * T(kNormalPeak);
            second = backward ? -z : T(-0.5) * z * z - T(kHalfLog2Pi);
        } else {
            const V size = M::abs(z);
            const Mask<T> far = size > T(1);
            const V t = M::select(far, T(1) / size, size), tail = M::atan(t) * T(0.3183098861837907);
            y = M::select(far, M::select(z < T(0), tail, T(1) - tail), T(0.5) + M::select(z < T(0), -tail, tail));
            const V share = T(1) / (T(1) + t * t);
            slope = M::select(far, t * t, one) * share * T(0.3183098861837907);
            if constexpr (backward) {
                const V bend = T(2) * t * share;
                second = M::select(z < T(0), bend, -bend);
            } else {
                const Mask<T> huge = size > T(0x1p60);  // the square may be beyond the dtype
                const V log = M::log1p(M::select(huge, size, size * size));
                second = T(-1.1447298858494002) - M::select(huge, T(2) * log, log);
            }
        }
        first = clamped(y, slope, Real<T>::kTiny, Real<T>::kBelowOne);
        if constexpr (backward) {
            first /= b;
            second /= b;
        } else {
            second -= T(__builtin_log(p.options[1]));
        }
    }
}

// Calls `work` with the vectors of x and of two gradients, if there are any, and stores the `results` that it returns in
// the operands after those. A map of this kind takes as long as finding a tile does: rows without gaps are read straight.
template <class T, int inputs, int results, class Work>
FLOWTORCH_INLINE void for_each(const Problem& p, int64_t start, int64_t end, const Work& work) {
    bool flat = p.dims == 1;
    for (int n = 0; n < inputs + results; ++n) {
        flat = flat && p.operand[n].data != nullptr && p.operand[n].strides[0] == 1;
    }
    T* data[inputs + results];
    for (int n = 0; n < inputs + results; ++n) {
        data[n] = static_cast<T*>(p.operand[n].data);
    }
    Vec<T> in[inputs], out[results];
    for (; flat && start + kLanes<T> <= end; start += kLanes<T>) {
        for (int n = 0; n < inputs; ++n) {
            __builtin_memcpy(&in[n], data[n] + start, sizeof(in[n]));
        }
        work(in, out);
        for (int n = 0; n < results; ++n) {
            __builtin_memcpy(data[inputs + n] + start, &out[n], sizeof(out[n]));
        }
    }
    for (Tile<T> tile(p, start, end); tile.next();) {
        for (int n = 0; n < inputs; ++n) {
            in[n] = tile.load(n);
        }
        work(in, out);
        for (int n = 0; n < results; ++n) {
            tile.store(out[n], inputs + n);
        }
    }
}

template <class T, int map>
void fixed_forward(const Problem& p, int64_t begin, int64_t end) {
    for_each<T, 1, 2>(p, begin, end, [&p](const Vec<T>* in, Vec<T>* out) __attribute__((always_inline)) {
        fixed_map<T, map, false>(p, in[0], out[0], out[1]);
    });
}

template <class T, int map>
void fixed_backward(const Problem& p, int64_t begin, int64_t end) {
    for_each<T, 3, 1>(p, begin, end, [&p](const Vec<T>* in, Vec<T>* out) __attribute__((always_inline)) {
        Vec<T> by_value, by_log;
        fixed_map<T, map, true>(p, in[0], by_value, by_log);
        out[0] = in[1] * by_value + in[2] * by_log;
    });
}

template <class T, bool backward, int map = 0>
void fixed(const Problem& p, int64_t begin, int64_t end) {
    if constexpr (map < kFixedMaps) {
        if (p.kind != map) {
            fixed<T, backward, map + 1>(p, begin, end);
        } else if constexpr (backward) {
            fixed_backward<T, map>(p, begin, end);
        } else {
            fixed_forward<T, map>(p, begin, end);
        }
    }
}

}  // namespace
