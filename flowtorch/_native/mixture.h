// Mixtures of logistics or normals; formulas and names as in flowtorch/ops/_mixture.py.
#pragma once
#include "normal.h"
#include "tile.h"

namespace {

enum MixtureInput { kPoint, kLogits, kRawSlopes, kPlaces };

// Both tails of the mixture. Weights need no normalizing constant: it is the sum of the tails.
template <class T, bool normal>
struct Mixture {
    using M = Maths<T>;
    using V = Vec<T>;
    static constexpr int kMost = flowtorch::kMaxBins;

    V logit[kMost], tangent[kMost], slope[kMost], moved[kMost], z[kMost];  // moved: the derivative of z by the slope
    V shift, shift_left, shift_right;  // about the logarithms of the largest terms

    // Sums of what `Terms` gives of each component, and what the results need of them.
    V left{}, rest{}, density{}, scale_left, scale_right;
    V smaller, larger, log_ratio;  // logarithms of the two tails, and of F' / F (1 - F)
    Mask<T> is_left;               // whether the left one is the smaller

    struct Terms {
        V left, rest, density;
    };

    FLOWTORCH_INLINE Mixture(const Tile<T>& tile, const Problem& p) {
        const V x = tile.load(kPoint);
        const T sign = p.centred ? T(-1) : T(1), start = T(p.options[0]), spread = T(p.options[1]);
        const T first = -spread * T(p.bins - 1);
        shift = shift_left = shift_right = M::splat(-T(__builtin_inf()));
        for (int64_t k = 0; k < p.bins; ++k) {
            const V raw = tile.load(kRawSlopes, k), place = tile.load(kPlaces, k) + (first + T(2 * k) * spread);
            const V limit = M::select(raw < T(0), M::splat(T(5)), M::splat(T(3)));
            tangent[k] = M::tanh(raw / limit);
            slope[k] = M::exp(start + sign * limit * tangent[k]);
            moved[k] = p.centred ? x - place : x;
            z[k] = p.centred ? slope[k] * moved[k] : slope[k] * x + place;
            logit[k] = tile.load(kLogits, k);
            const V u = M::abs(z[k]), depth = normal ? T(0.5) * u * u : u;
            const Mask<T> right = z[k] >= T(0);
            const V low = logit[k] - depth;
            const V for_left = M::select(right, logit[k], low), for_right = M::select(right, low, logit[k]);
            shift = M::select(low > shift, low, shift);
            shift_left = M::select(for_left > shift_left, for_left, shift_left);
            shift_right = M::select(for_right > shift_right, for_right, shift_right);
        }
        scale_left = M::exp(shift - shift_left);
        scale_right = M::exp(shift - shift_right);
    }

    FLOWTORCH_INLINE Terms terms(int64_t k) const {
        const Mask<T> right = z[k] >= T(0);
        const V u = M::abs(z[k]), depth = normal ? T(0.5) * u * u : u;
        const V e = M::exp(logit[k] - depth - shift);
        const V weight = M::exp(logit[k] - M::select(right, shift_left, shift_right));
        V m, d;
        if constexpr (normal) {
            m = scaled_tail<T>(u);
            d = M::splat(T(kNormalPeak));
        } else {
            m = T(1) / (T(1) + M::exp(-u));
            d = m * m;
        }
        const V small = e * m, small_left = small * scale_left, small_right = small * scale_right;
        return {M::select(right, weight - small_left, small_left), M::select(right, small_right, weight - small_right), e * d};
    }

    FLOWTORCH_INLINE void add(const Terms& t, int64_t k) {
        left += t.left;
        rest += t.rest;
        density += t.density * slope[k];
    }

    FLOWTORCH_INLINE void finish() {
        const V log_left = M::log(left), log_rest = M::log(rest);
        const V difference = (log_left - log_rest) + (shift_left - shift_right);
        is_left = difference <= T(0);
        smaller = -M::abs(difference);
        larger = -M::log1p(M::exp(smaller));
        log_ratio = M::log(density) - M::select(is_left, log_left, log_rest) +
                    (shift - M::select(is_left, shift_left, shift_right)) - larger;
        smaller += larger;
    }
};

template <class T, bool normal>
void mixture_forward_of(const Problem& p, int64_t begin, int64_t end) {
    using M = Maths<T>;
    using V = Vec<T>;
    for (Tile<T> tile(p, begin, end); tile.next();) {
        Mixture<T, normal> f(tile, p);
        for (int64_t k = 0; k < p.bins; ++k) {
            f.add(f.terms(k), k);
        }
        f.finish();
        V size = f.smaller - f.larger, log_derivative = f.log_ratio;
        if constexpr (normal) {
            size = inverse_log_cdf<T>(f.smaller);
            log_derivative += f.larger + M::log(scaled_tail<T>(-size)) + T(kHalfLog2Pi);
        }
        tile.store(M::select(f.is_left, size, -size), 4);
        tile.store(log_derivative, 5);
    }
}

template <class T, bool normal>
void mixture_backward_of(const Problem& p, int64_t begin, int64_t end) {
    using M = Maths<T>;
    using V = Vec<T>;
    const T sign = p.centred ? T(-1) : T(1);
    for (Tile<T> tile(p, begin, end); tile.next();) {
        Mixture<T, normal> f(tile, p);
        typename Mixture<T, normal>::Terms terms[flowtorch::kMaxBins];
        for (int64_t k = 0; k < p.bins; ++k) {
            terms[k] = f.terms(k);
            f.add(terms[k], k);
        }
        f.finish();
        const V gv = M::select(f.is_left, tile.load(4), -tile.load(4)), gl = tile.load(5);
        V for_smaller = gv, for_larger = -gv;  // and through log_ratio, which has -1 of each, on top
        if constexpr (normal) {
            const V size = inverse_log_cdf<T>(f.smaller), mills = scaled_tail<T>(-size) / T(kNormalPeak);
            for_smaller = gv * mills + gl * (T(1) + size * mills);
            for_larger = gl;
        }
        const V common = for_smaller + for_larger - gl;  // all weights together times as much change nothing
        for_smaller -= gl;
        for_larger -= gl;
        const V for_left = M::select(f.is_left, for_smaller, for_larger) / f.left;
        const V for_rest = M::select(f.is_left, for_larger, for_smaller) / f.rest;
        const V small = M::exp(f.smaller) * common, large = M::exp(f.larger) * common;
        const V weigh_left = for_left - M::select(f.is_left, small, large) / f.left;
        const V weigh_rest = for_rest - M::select(f.is_left, large, small) / f.rest;
        const V by_density = gl / f.density, direct = for_left * f.scale_left - for_rest * f.scale_right;
        V by_x{};
        for (int64_t k = 0; k < p.bins; ++k) {
            const V by_slope = terms[k].density * by_density, part = by_slope * f.slope[k];
            V bend;  // the derivative of the logarithm of the density of one component
            if constexpr (normal) {
                bend = -f.z[k];
            } else {
                bend = T(1) - T(2) * M::sigmoid(f.z[k]);
            }
            const V by_z = terms[k].density * direct + part * bend, by_place = by_z * f.slope[k];
            by_x += by_place;
            tile.store(terms[k].left * weigh_left + terms[k].rest * weigh_rest + part, 6 + kLogits, k);
            tile.store(
                (by_slope + by_z * f.moved[k]) * f.slope[k] * sign * (T(1) - f.tangent[k] * f.tangent[k]), 6 + kRawSlopes,
                k);
            tile.store(p.centred ? -by_place : by_z, 6 + kPlaces, k);
        }
        tile.store(by_x, 6 + kPoint);
    }
}

template <class T>
void mixture_forward(const Problem& p, int64_t begin, int64_t end) {
    (p.kind ? mixture_forward_of<T, true> : mixture_forward_of<T, false>)(p, begin, end);
}

template <class T>
void mixture_backward(const Problem& p, int64_t begin, int64_t end) {
    (p.kind ? mixture_backward_of<T, true> : mixture_backward_of<T, false>)(p, begin, end);
}

}  // namespace
