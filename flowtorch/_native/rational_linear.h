// The rational linear spline; formulas and names as in flowtorch/ops/rational_spline.py.
#pragma once
#include "spline.h"

namespace {

// A bin is two parts, each seen from its own end: `near` is the distance from there, `image` where it is mapped to, both
// in units of the bin.
template <class T, bool inverse>
struct Linear {
    using M = Maths<T>;
    using V = Vec<T>;

    Mask<T> first;
    V sigmoid, cut, root0, root1, middle, near, part, root, denominator, image, log_slope_root;

    FLOWTORCH_INLINE Linear(V point, const Bin<T>& bin, const Box<T>& box) {
        sigmoid = M::sigmoid(bin.raw_lambda);
        cut = box.min_lambda + (T(1) - T(2) * box.min_lambda) * sigmoid;
        root0 = M::sqrt(bin.slope0), root1 = M::sqrt(bin.slope1);
        middle = cut * root0 + (T(1) - cut) * root1;
        if constexpr (inverse) {
            near = (point - bin.bottom) / bin.height;
            first = near * middle <= cut * root0;
        } else {
            near = (point - bin.left) / bin.width;
            first = near <= cut;
        }
        near = M::select(first, near, T(1) - near);
        part = M::select(first, cut, T(1) - cut);
        root = M::select(first, root0, root1);
        V ratio;
        if constexpr (inverse) {
            denominator = root * (part * root - near * middle) + near;
            ratio = part / denominator;
            image = ratio * near;
        } else {
            denominator = part - near + root * middle * near;
            ratio = part / denominator;
            image = ratio * root * root * near;
        }
        log_slope_root = ratio * root;
    }
};

template <class T, bool inverse>
void linear_forward(const Problem& p, int64_t begin, int64_t end) {
    using M = Maths<T>;
    using V = Vec<T>;
    const auto move = [](V point, const Bin<T>& bin, const Box<T>& box, V& value, V& derivative) FLOWTORCH_LAMBDA {
        const Linear<T, inverse> q(point, bin, box);
        V stretch;
        if constexpr (inverse) {
            value = M::select(q.first, bin.left + bin.width * q.image, bin.right - bin.width * q.image);
            stretch = bin.width / bin.height;
        } else {
            value = M::select(q.first, bin.bottom + bin.height * q.image, bin.top - bin.height * q.image);
            stretch = bin.height / bin.width;
        }
        derivative = stretch * q.log_slope_root * q.log_slope_root;
    };
    move_points<T, inverse, true>(p, begin, end, move);
}

// With u for near, p for part, r for root, m for middle and D for the denominator, the image is
//     forward  p r^2 u / D, D = p - u + r m u,      inverse  p u / D, D = r (p r - u m) + u,
// and its slope in both (p r / D)^2.
template <class T, bool inverse>
void linear_backward(const Problem& problem, int64_t begin, int64_t end) {
    using M = Maths<T>;
    using V = Vec<T>;
    const Box<T> box(problem);
    for (Tile<T> tile(problem, begin, end); tile.next();) {
        const V x = tile.load(kX), point = M::clamp(x, -box.bound, box.bound);
        const Shares<T> widths(tile, kWidths, problem.bins), heights(tile, kHeights, problem.bins);
        Bin<T> bin = find_bin<T, inverse, true>(tile, problem, box, widths, heights, point);
        complete(bin, box);
        const Linear<T, inverse> q(point, bin, box);
        const Mask<T> outside = M::abs(x) >= box.bound;
        const V grad_value = tile.load(5);
        const V gv = M::select(outside, V{}, grad_value);
        const V gl = M::select(outside, V{}, tile.load(6));
        const V u = q.near, p = q.part, r = q.root, m = q.middle, inverse_d = T(1) / q.denominator;
        const V signed_value = M::select(q.first, gv, -gv);  // the second part is measured downwards
        const V by_image = signed_value * (inverse ? bin.width : bin.height);
        const V curve = by_image * inverse_d * inverse_d;
        const V twice = T(2) * gl;
        V by_u = by_image * q.log_slope_root * q.log_slope_root, by_p, by_r, by_m;
        if constexpr (inverse) {
            const V bend = T(1) - r * m, by_root = T(2) * p * r - u * m;  // the derivatives of D by u and r
            by_u -= twice * bend * inverse_d;
            by_p = curve * u * u * bend + twice * (T(1) / p - r * r * inverse_d);
            by_r = -curve * p * u * by_root + twice * (T(1) / r - by_root * inverse_d);
            by_m = curve * p * u * u * r + twice * r * u * inverse_d;
        } else {
            const V bend = r * m - T(1);
            by_u -= twice * bend * inverse_d;
            by_p = curve * r * r * u * u * bend + twice * (T(1) / p - inverse_d);
            by_r = curve * p * r * u * (T(2) * q.denominator - r * m * u) + twice * (T(1) / r - m * u * inverse_d);
            by_m = -curve * p * r * r * r * u * u - twice * r * u * inverse_d;
        }
        const V by_cut = M::select(q.first, by_p, -by_p) + by_m * (q.root0 - q.root1);
        const V by_root0 = M::select(q.first, by_r, V{}) + by_m * q.cut;
        const V by_root1 = M::select(q.first, V{}, by_r) + by_m * (T(1) - q.cut);
        const V by_near = M::select(q.first, by_u, -by_u);
        const V position = M::select(q.first, u, T(1) - u);

        BinGradient<T> g;
        g.raw_lambda = by_cut * (T(1) - T(2) * box.min_lambda) * q.sigmoid * (T(1) - q.sigmoid);
        g.slope0 = T(0.5) * by_root0 / q.root0;
        g.slope1 = T(0.5) * by_root1 / q.root1;
        const V by_stretch = T(0.5) * (by_root0 * q.root0 + by_root1 * q.root1);
        const V by_first = M::select(q.first, gv, V{}), by_second = M::select(q.first, V{}, gv);
        V by_width = by_stretch, by_height = -by_stretch;  // times the width and the height
        if constexpr (inverse) {
            g.point = by_near / bin.height;
            by_width += by_image * q.image + gl;
            by_height -= by_near * position + gl;
            g.left = by_first, g.right = by_second, g.bottom = -g.point, g.top = V{};
        } else {
            g.point = by_near / bin.width;
            by_width -= by_near * position + gl;
            by_height += by_image * q.image + gl;
            g.left = -g.point, g.right = V{}, g.bottom = by_first, g.top = by_second;
        }
        const V through_width = by_width / bin.width, through_height = by_height / bin.height;
        g.left -= through_width, g.right += through_width;
        g.bottom -= through_height, g.top += through_height;
        store_gradients<T, true>(tile, problem, box, widths, heights, bin, g, outside, grad_value, 7);
    }
}

}  // namespace
