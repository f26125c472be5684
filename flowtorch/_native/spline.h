// What the two rational splines share: the bin of each point, and the way back from a bin to the raw parameters.
#pragma once
#include "tile.h"

namespace {

// Options as register.cpp computes them: sizes of bins are least + scale * softmax(raw).
template <class T>
struct Box {
    T bound, least_width, scale_width, least_height, scale_height, min_derivative, shift, min_lambda;

    explicit Box(const Problem& p)
        : bound(T(p.options[0])), least_width(T(p.options[1])), scale_width(T(p.options[2])),
          least_height(T(p.options[3])), scale_height(T(p.options[4])), min_derivative(T(p.options[5])),
          shift(T(p.options[6])), min_lambda(T(p.options[7])) {}
};

enum SplineInput { kX, kWidths, kHeights, kDerivatives, kLambdas };

// The softmax along one axis of the box, not yet divided by its sum.
template <class T>
struct Shares {
    Vec<T> share[flowtorch::kMaxBins];
    Vec<T> total;

    FLOWTORCH_INLINE Shares(const Tile<T>& tile, int operand, int64_t bins) {
        using M = Maths<T>;
        Vec<T> most = share[0] = tile.load(operand, 0);
        for (int64_t k = 1; k < bins; ++k) {
            share[k] = tile.load(operand, k);
            most = M::select(share[k] > most, share[k], most);
        }
        total = Vec<T>{};
        for (int64_t k = 0; k < bins; ++k) {
            share[k] = M::exp_not_positive(share[k] - most);
            total += share[k];
        }
    }
};

// The bin of each point: number, corners, and the raw parameters that belong to it.
template <class T>
struct Bin {
    using V = Vec<T>;
    V which, left, right, bottom, top;
    V raw0, raw1, raw_lambda;                            // of the derivatives at the two knots, and of the cut
    V left_share, right_share, bottom_share, top_share;  // the sums of shares up to the knots
    V width, height, slope0, slope1;                     // see `complete`
};

template <class T, bool inverse, bool linear>
FLOWTORCH_INLINE Bin<T> find_bin(
    const Tile<T>& tile, const Problem& p, const Box<T>& box, const Shares<T>& widths, const Shares<T>& heights,
    Vec<T> point) {
    using M = Maths<T>;
    using V = Vec<T>;
    V which{}, left{}, right{}, bottom{}, top{}, raw0{}, raw1{}, raw_lambda{};
    V left_share{}, right_share{}, bottom_share{}, top_share{};
    const V width_scale = box.scale_width / widths.total, height_scale = box.scale_height / heights.total;
    V x = M::splat(-box.bound), y = x, x_share{}, y_share{};
    V raw = p.ends ? tile.load(kDerivatives, 0) : V{};  // a raw 0 is a derivative of 1
    for (int64_t k = 0; k < p.bins; ++k) {
        const bool last = k + 1 == p.bins;
        const V next_x = last ? M::splat(box.bound) : x + (box.least_width + widths.share[k] * width_scale);
        const V next_y = last ? M::splat(box.bound) : y + (box.least_height + heights.share[k] * height_scale);
        const V next_x_share = x_share + widths.share[k], next_y_share = y_share + heights.share[k];
        const V next_raw = p.ends ? tile.load(kDerivatives, k + 1) : last ? V{} : tile.load(kDerivatives, k);
        // Knots increase, so the last bin that begins at or before the point is its own; NaN is in the first.
        const Mask<T> here = k == 0 ? (Mask<T>{} == Mask<T>{}) : point >= (inverse ? y : x);
        which = M::select(here, M::splat(T(k)), which);
        left = M::select(here, x, left);
        right = M::select(here, next_x, right);
        bottom = M::select(here, y, bottom);
        top = M::select(here, next_y, top);
        raw0 = M::select(here, raw, raw0);
        raw1 = M::select(here, next_raw, raw1);
        left_share = M::select(here, x_share, left_share);
        right_share = M::select(here, next_x_share, right_share);
        bottom_share = M::select(here, y_share, bottom_share);
        top_share = M::select(here, next_y_share, top_share);
        if constexpr (linear) {
            raw_lambda = M::select(here, tile.load(kLambdas, k), raw_lambda);
        }
        x = next_x, y = next_y, x_share = next_x_share, y_share = next_y_share, raw = next_raw;
    }
    return {which, left, right, bottom, top, raw0, raw1, raw_lambda, left_share, right_share, bottom_share, top_share,
            V{}, V{}, V{}, V{}};
}

// What follows from the corners and the raw parameters; the slopes are derivatives in units of the slope of the chord.
template <class T>
FLOWTORCH_INLINE void complete(Bin<T>& bin, const Box<T>& box) {
    using M = Maths<T>;
    bin.width = bin.right - bin.left;
    bin.height = bin.top - bin.bottom;
    const Vec<T> stretch = bin.width / bin.height;
    bin.slope0 = (box.min_derivative + M::softplus(bin.raw0 + box.shift)) * stretch;
    bin.slope1 = (box.min_derivative + M::softplus(bin.raw1 + box.shift)) * stretch;
}

// The forward pass of both splines. `move(point, bin, box, value, derivative)` moves a point within its bin; outside of the
// box the map is the identity.
template <class T, bool inverse, bool linear, class Move>
FLOWTORCH_INLINE void move_points(const Problem& p, int64_t begin, int64_t end, const Move& move) {
    using M = Maths<T>;
    using V = Vec<T>;
    constexpr int kInputs = linear ? 5 : 4;
    const Box<T> box(p);
    for (Tile<T> in(p, begin, end, 0, kInputs), out(p, begin, end, kInputs, kInputs + 2);;) {
        V x[kTilesTogether], point[kTilesTogether], value[kTilesTogether], derivative[kTilesTogether];
        Bin<T> bins[kTilesTogether];
        int count = 0;
        for (; count < kTilesTogether && in.next(); ++count) {
            x[count] = in.load(kX);
            point[count] = M::clamp(x[count], -box.bound, box.bound);
            const Shares<T> widths(in, kWidths, p.bins), heights(in, kHeights, p.bins);
            bins[count] = find_bin<T, inverse, linear>(in, p, box, widths, heights, point[count]);
        }
        if (count == 0) {
            return;
        }
        for (int i = count; i < kTilesTogether; ++i) {
            x[i] = x[0], point[i] = point[0], bins[i] = bins[0];
        }
        FLOWTORCH_EACH(i, kTilesTogether) { complete(bins[i], box); }
        FLOWTORCH_EACH(i, kTilesTogether) { move(point[i], bins[i], box, value[i], derivative[i]); }
        FLOWTORCH_EACH(i, kTilesTogether) {
            const Mask<T> outside = M::abs(x[i]) >= box.bound;
            value[i] = M::select(outside, x[i], value[i]);
            derivative[i] = M::select(outside, V{}, M::log(derivative[i]));
        }
        for (int i = 0; i < count; ++i) {
            out.next();
            out.store(value[i], kInputs);
            out.store(derivative[i], kInputs + 1);
        }
    }
}

// Gradients with respect to a bin, as the formulas of a spline give them.
template <class T>
struct BinGradient {
    Vec<T> point, left, right, bottom, top, slope0, slope1, raw_lambda;
};

// The gradient with respect to the raw sizes along one axis. The sizes of the bins before move both knots, that of the
// bin itself only the second; the end of the box does not move.
template <class T>
FLOWTORCH_INLINE void store_sizes(
    const Tile<T>& tile, int operand, int64_t bins, const Shares<T>& shares, T scale, Vec<T> which, Vec<T> first,
    Vec<T> second, Vec<T> first_share, Vec<T> second_share) {
    using M = Maths<T>;
    second = M::select(which == T(bins - 1), Vec<T>{}, second);
    const Vec<T> both = first + second;
    const Vec<T> mean = (first * first_share + second * second_share) / shares.total;
    const Vec<T> factor = scale / shares.total;
    for (int64_t k = 0; k < bins; ++k) {
        const Vec<T> direct = M::select(which > T(k), both, M::select(which == T(k), second, Vec<T>{}));
        tile.store(shares.share[k] * factor * (direct - mean), operand, k);
    }
}

// Stores the gradients of all inputs in the operands from `out` on. Takes what the slopes, the widths and the heights of
// the bins contribute; `outside` the spline is the identity, and the gradients of the rest are 0.
template <class T, bool linear>
FLOWTORCH_INLINE void store_gradients(
    const Tile<T>& tile, const Problem& p, const Box<T>& box, const Shares<T>& widths, const Shares<T>& heights,
    const Bin<T>& bin, const BinGradient<T>& g, Mask<T> outside, Vec<T> grad_value, int out) {
    using M = Maths<T>;
    using V = Vec<T>;
    tile.store(M::select(outside, grad_value, g.point), out + kX);
    store_sizes(tile, out + kWidths, p.bins, widths, box.scale_width, bin.which, g.left, g.right, bin.left_share,
                bin.right_share);
    store_sizes(tile, out + kHeights, p.bins, heights, box.scale_height, bin.which, g.bottom, g.top, bin.bottom_share,
                bin.top_share);
    const V stretch = bin.width / bin.height;
    const V raw0 = g.slope0 * stretch * M::sigmoid(bin.raw0 + box.shift);
    const V raw1 = g.slope1 * stretch * M::sigmoid(bin.raw1 + box.shift);
    const int64_t first_knot = p.ends ? 0 : 1, last_knot = p.ends ? p.bins : p.bins - 1;
    for (int64_t knot = first_knot; knot <= last_knot; ++knot) {
        const V value = M::select(bin.which == T(knot), raw0, M::select(bin.which == T(knot - 1), raw1, V{}));
        tile.store(value, out + kDerivatives, knot - first_knot);
    }
    if constexpr (linear) {
        for (int64_t k = 0; k < p.bins; ++k) {
            tile.store(M::select(bin.which == T(k), g.raw_lambda, V{}), out + kLambdas, k);
        }
    }
}

}  // namespace
