// The rational quadratic spline; formulas and names as in flowtorch/ops/rational_spline.py.
#pragma once
#include "spline.h"

namespace {

template <class T, bool inverse>
struct Quadratic {
    using M = Maths<T>;
    using V = Vec<T>;

    V theta, rest, near, cross, far, denominator, numerator;

    FLOWTORCH_INLINE Quadratic(V point, const Bin<T>& bin) {
        const V d0 = bin.slope0, d1 = bin.slope1;
        if constexpr (inverse) {
            solve((point - bin.bottom) / bin.height, d0, d1);
        } else {
            theta = (point - bin.left) / bin.width;
            rest = T(1) - theta;
        }
        near = rest * rest, cross = theta * rest, far = theta * theta;
        denominator = near + far + (d0 + d1) * cross;
        numerator = d0 * near + T(2) * cross + d1 * far;
    }

    // Of the two forms of the root the one in which nothing cancels.
    FLOWTORCH_INLINE void solve(V eta, V d0, V d1) {
        const V below = T(1) - eta;
        const V r = d0 * below - d1 * eta;
        V discriminant = r * r + T(4) * eta * below;
        discriminant = M::select(discriminant < Real<T>::kTiny, M::splat(Real<T>::kTiny), discriminant);
        const Mask<T> positive = r >= T(0);
        const V larger = M::abs(r) + M::sqrt(discriminant);
        const V smaller = T(2) * M::select(positive, eta, below);
        const V total = smaller + larger;
        theta = M::select(positive, smaller, larger) / total;
        rest = M::select(positive, larger, smaller) / total;
    }
};

template <class T, bool inverse>
void quadratic_forward(const Problem& p, int64_t begin, int64_t end) {
    using V = Vec<T>;
    const auto move = [](V point, const Bin<T>& bin, const Box<T>&, V& value, V& derivative) FLOWTORCH_LAMBDA {
        const Quadratic<T, inverse> q(point, bin);
        const V square = q.denominator * q.denominator;
        if constexpr (inverse) {
            value = bin.left + bin.width * q.theta;
            derivative = bin.width * square / (bin.height * q.numerator);
        } else {
            value = bin.bottom + bin.height * ((q.far + bin.slope0 * q.cross) / q.denominator);
            derivative = bin.height * q.numerator / (bin.width * square);
        }
    };
    move_points<T, inverse, false>(p, begin, end, move);
}

// With Q(theta, d0, d1) the height in the bin, N the numerator and D the denominator of its slope Q' = N / D^2,
//     dQ/dd0 = cross (near + d1 cross) / D^2,    dQ/dd1 = -cross (far + d0 cross) / D^2.
// The inverse solves Q = eta, so dtheta = (deta - dQ/dd0 dd0 - dQ/dd1 dd1) / Q'.
template <class T, bool inverse>
void quadratic_backward(const Problem& p, int64_t begin, int64_t end) {
    using M = Maths<T>;
    using V = Vec<T>;
    const Box<T> box(p);
    for (Tile<T> tile(p, begin, end); tile.next();) {
        const V x = tile.load(kX), point = M::clamp(x, -box.bound, box.bound);
        const Shares<T> widths(tile, kWidths, p.bins), heights(tile, kHeights, p.bins);
        Bin<T> bin = find_bin<T, inverse, false>(tile, p, box, widths, heights, point);
        complete(bin, box);
        const Quadratic<T, inverse> q(point, bin);
        const Mask<T> outside = M::abs(x) >= box.bound;
        const V grad_value = tile.load(4);
        const V gv = M::select(outside, V{}, grad_value);
        V gl = M::select(outside, V{}, tile.load(5));
        if constexpr (inverse) {
            gl = -gl;  // the logarithm of the slope of the inverse is minus that of the slope at theta
        }
        const V d0 = bin.slope0, d1 = bin.slope1, inverse_n = T(1) / q.numerator, inverse_d = T(1) / q.denominator;
        const V lower = (q.far + d0 * q.cross) * inverse_d;   // Q
        const V upper = (q.near + d1 * q.cross) * inverse_d;  // 1 - Q
        const V twice = T(2) * q.cross * inverse_d;
        // The log-slope log(height / width) + log N - 2 log D.
        V by_theta = gl * T(2) * (((T(1) - d0) * q.rest - (T(1) - d1) * q.theta) * inverse_n -
                                  (d0 + d1 - T(2)) * (q.rest - q.theta) * inverse_d);
        V by_d0 = gl * (q.near * inverse_n - twice);
        V by_d1 = gl * (q.far * inverse_n - twice);
        BinGradient<T> g;
        V by_width = -gl, by_height = gl;  // times the width and the height
        if constexpr (inverse) {
            by_theta += gv * bin.width;
            const V by_eta = by_theta * inverse_n * q.denominator;  // one factor D stays in lower and upper
            by_d0 -= by_eta * q.cross * upper;
            by_d1 += by_eta * q.cross * lower;
            const V by_point = by_eta * q.denominator / bin.height;
            g.point = by_point;
            by_width += gv * q.theta * bin.width;
            by_height -= by_point * lower * bin.height;
            g.left = gv, g.bottom = -by_point;
        } else {
            const V by_q = gv * bin.height * inverse_d;
            by_theta += by_q * q.numerator * inverse_d;
            by_d0 += by_q * q.cross * upper;
            by_d1 -= by_q * q.cross * lower;
            g.point = by_theta / bin.width;
            by_width -= by_theta * q.theta;
            by_height += gv * lower * bin.height;
            g.left = -g.point, g.bottom = gv;
        }
        const V by_stretch = by_d0 * d0 + by_d1 * d1;  // the derivatives are in units of height / width
        g.right = (by_width + by_stretch) / bin.width;
        g.top = (by_height - by_stretch) / bin.height;
        g.left -= g.right;
        g.bottom -= g.top;
        g.slope0 = by_d0, g.slope1 = by_d1;
        store_gradients<T, false>(tile, p, box, widths, heights, bin, g, outside, grad_value, 6);
    }
}

}  // namespace
