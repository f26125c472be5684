// The standard normal distribution far into its tails; formulas and names as in flowtorch/ops/_normal.py.
#pragma once
#include "vector.h"

namespace {

constexpr double kNormalPeak = 0.3989422804014327, kHalfLog2Pi = 0.9189385332046727;

// exp(u^2 / 2) Phi(-u) / t, t = 4 / (4 + u), by powers of 2 t - 1.
template <class T>
struct ScaledTail;
template <>
struct ScaledTail<float> {
    static constexpr float kTerms[] = {
        0.1888212817838964f, 0.15197410095365885f, 0.09678439072771228f, 0.046631677717931246f, 0.015098823967489227f,
        0.0018780578454378914f, -0.0008690419737272307f, -0.00039094672470664006f, 3.233142033518819e-05f,
        3.9330142396146074e-05f,
    };
};
template <>
struct ScaledTail<double> {
    static constexpr double kTerms[] = {
        0.18882128260393785, 0.15197416049297308, 0.09678435018555664, 0.04663046448990915, 0.01509914372259023,
        0.001885047241846578, -0.0008699230891628756, -0.00040770461685247714, 3.3336052290036945e-05,
        5.7773754340693565e-05, -4.769190076797745e-07, -8.786277975709413e-06, 1.7865053828168654e-07,
        1.4804027614809944e-06, -1.5623877693912945e-07, -2.5619627541381934e-07, 6.61834320494967e-08,
        3.994349035559805e-08, -1.9695900856734096e-08, -4.461231943245354e-09, 4.01684673933235e-09,
        1.4684066912467977e-10, -4.221644241696684e-10, 2.999445507813274e-11,
    };
};

template <class T>
FLOWTORCH_INLINE Vec<T> scaled_tail(Vec<T> u) {
    const auto& terms = ScaledTail<T>::kTerms;
    const Vec<T> t = T(4) / (T(4) + u), s = T(2) * t - T(1);
    constexpr int kCount = sizeof(terms) / sizeof(T);
    Vec<T> sum = Maths<T>::splat(terms[kCount - 1]);
    for (int k = kCount - 2; k >= 0; --k) {
        sum = sum * s + terms[k];
    }
    return sum * t;
}

// exp(-u^2 / 2) of numbers from 0 to 60, with what is lost in rounding the square.
template <class T>
FLOWTORCH_INLINE Vec<T> bell(Vec<T> u) {
    constexpr int kDropped = sizeof(T) == 4 ? 12 : 27;  // bits, so that the square of the rest is exact
    const Vec<T> high = (Vec<T>)(((Mask<T>)u >> kDropped) << kDropped);
    const Vec<T> square = high * high, rest = (u - high) * (u + high), sum = square + rest;
    const Vec<T> lost = (square - sum) + rest;
    return Maths<T>::exp(T(-0.5) * sum) * (T(1) - T(0.5) * lost);
}

// The z <= 0 with log(Phi(z)) = log_p, for log_p <= log(1 / 2), and the logarithm of Phi(z) / phi(z) there.
template <class T>
FLOWTORCH_INLINE Vec<T> inverse_log_cdf(Vec<T> log_p) {
    using M = Maths<T>;
    using V = Vec<T>;
    const V w = M::sqrt(T(-2) * log_p), v = T(1) / w;
    V z = v * (T(0.010328) + v * (T(0.802853) + v * T(2.515517))) /
              (T(0.001308) + v * (T(0.189269) + v * (T(1.432788) + v))) -
          w;
    for (int i = 0; i < 2; ++i) {
        const V scaled = scaled_tail<T>(-z), mills = scaled / T(kNormalPeak);
        const V step = (M::log(scaled) - T(0.5) * z * z - log_p) * mills;
        z -= step / (T(1) + T(0.5) * step * (z + T(1) / mills));
    }
    return z;
}

}  // namespace
