// Vectors of float or double as wide as a register of the instruction set compiled for, and functions of them.
//
// Vectors are those of GCC and Clang, so this is ordinary C++ on every processor. Everything stands in an unnamed
// namespace and no header with code is included: this is compiled once for each instruction set, and of functions with
// one name the linker keeps one, which might be the AVX-512 one and crash an older processor.
#pragma once
#include <cstdint>

#if defined(__AVX512F__)
#define FLOWTORCH_BYTES 64
#elif defined(__AVX2__)
#define FLOWTORCH_BYTES 32
#else
#define FLOWTORCH_BYTES 16
#endif
#define FLOWTORCH_INLINE inline __attribute__((always_inline))
#define FLOWTORCH_LAMBDA __attribute__((always_inline))
#define FLOWTORCH_EACH(i, count) _Pragma("GCC unroll 8") for (int i = 0; i < (count); ++i)

namespace {

// What differs between the two dtypes. The thresholds of exp are where the result is infinite or zero.
template <class T>
struct Real;
template <>
struct Real<float> {
    using Int = int32_t;
    static constexpr int kMantissa = 23, kExpTerms = 7, kLogTerms = 5, kAtanTerms = 9;
    static constexpr Int kBias = 127, kSqrtHalfBits = 0x3f3504f3;
    static constexpr float kRound = 0x1.8p23f, kLn2High = 0x1.63p-1f, kLn2Low = -2.12194440e-4f;
    static constexpr float kExpMost = 90.0f, kExpLeast = -105.0f, kExpLeastNormal = -87.0f, kTiny = 0x1p-126f, kLogEps = -15.942385f;
    static constexpr float kBelowOne = 0x1.fffffep-1f, kLargest = 0x1.fffffep127f,
                           kLogLargest = 88.72282847548175f;
};
template <>
struct Real<double> {
    using Int = int64_t;
    static constexpr int kMantissa = 52, kExpTerms = 13, kLogTerms = 11, kAtanTerms = 21;
    static constexpr Int kBias = 1023, kSqrtHalfBits = 0x3fe6a09e667f3bcd;
    static constexpr double kRound = 0x1.8p52, kLn2High = 6.93145751953125e-1, kLn2Low = 1.42860682030941723212e-6;
    static constexpr double kExpMost = 711.0, kExpLeast = -747.0, kExpLeastNormal = -708.0, kTiny = 0x1p-1022, kLogEps = -36.04365338911715;
    static constexpr double kBelowOne = 0x1.fffffffffffffp-1, kLargest = 0x1.fffffffffffffp1023,
                            kLogLargest = 709.7827128933839;
};

// A vector of T, and of the integers of the same size, which comparisons return.
template <class T>
struct VectorOf;
#define FLOWTORCH_VECTOR_OF(T) \
    template <> \
    struct VectorOf<T> { \
        typedef T V __attribute__((vector_size(FLOWTORCH_BYTES))); \
        typedef Real<T>::Int I __attribute__((vector_size(FLOWTORCH_BYTES))); \
    };
FLOWTORCH_VECTOR_OF(float)
FLOWTORCH_VECTOR_OF(double)
#undef FLOWTORCH_VECTOR_OF

template <class T>
using Vec = typename VectorOf<T>::V;
template <class T>
using Mask = typename VectorOf<T>::I;
template <class T>
constexpr int kLanes = FLOWTORCH_BYTES / sizeof(T);

template <class T>
FLOWTORCH_INLINE Vec<T> load(const T* from) {
    Vec<T> result;
    __builtin_memcpy(&result, from, sizeof(result));
    return result;
}

template <class T>
struct Maths {
    using V = Vec<T>;
    using I = Mask<T>;
    using R = Real<T>;

    // Less zero, which the compiler knows to be the number itself; zero plus it might be another zero.
    static FLOWTORCH_INLINE V splat(T value) { return value - V{}; }

    static FLOWTORCH_INLINE V select(I mask, V yes, V no) { return mask ? yes : no; }

    static FLOWTORCH_INLINE V abs(V x) { return select(x < T(0), -x, x); }

    // NaN stays NaN in all of these.
    static FLOWTORCH_INLINE V clamp(V x, T least, T most) {
        x = select(x < splat(least), splat(least), x);
        return select(x > splat(most), splat(most), x);
    }

    static FLOWTORCH_INLINE V sqrt(V x) {
        V result;
        for (int i = 0; i < kLanes<T>; ++i) {  // one instruction, with -fno-math-errno
            if constexpr (sizeof(T) == 4) {
                result[i] = __builtin_sqrtf(x[i]);
            } else {
                result[i] = __builtin_sqrt(x[i]);
            }
        }
        return result;
    }

    // x = n log(2) + r with |r| <= log(2) / 2; returns exp(r) - 1 by its Taylor series, and n.
    static FLOWTORCH_INLINE V reduced_expm1(V x, I& n) {
        const V shifted = x * T(1.44269504088896340736) + R::kRound;  // rounds to an integer, kept in the last bits
        n = (I)shifted - (I)splat(R::kRound);
        const V whole = shifted - R::kRound;
        const V r = (x - whole * R::kLn2High) - whole * R::kLn2Low;
        V sum = splat(T(1.0 / factorial(R::kExpTerms)));
        for (int k = R::kExpTerms - 1; k >= 2; --k) {
            sum = sum * r + T(1.0 / factorial(k));
        }
        return sum * r * r + r;
    }

    static constexpr double factorial(int n) { return n < 2 ? 1.0 : n * factorial(n - 1); }

    static FLOWTORCH_INLINE V power_of_two(I n) { return (V)((n + R::kBias) << R::kMantissa); }

    static FLOWTORCH_INLINE V exp(V x) {
        I n;
        const V tail = reduced_expm1(clamp(x, R::kExpLeast, R::kExpMost), n);
        const I half = n >> 1;  // in two steps, so that the least and the largest results are right
        return (T(1) + tail) * power_of_two(half) * power_of_two(n - half);
    }

    // Of numbers that are not positive; what is below the least normal number is that.
    static FLOWTORCH_INLINE V exp_not_positive(V x) {
        I n;
        const V tail = reduced_expm1(select(x < R::kExpLeastNormal, splat(R::kExpLeastNormal), x), n);
        const V scale = power_of_two(n);
        return tail * scale + scale;
    }

    static FLOWTORCH_INLINE V expm1(V x) {
        I n;
        const V tail = reduced_expm1(clamp(x, T(-80), R::kExpMost), n);
        const I half = n >> 1;
        const V first = power_of_two(half);
        return (first * tail + (first - power_of_two(half - n))) * power_of_two(n - half);
    }

    // The logarithm of positive, normal numbers: of m 2^n with m between sqrt(1/2) and sqrt(2).
    static FLOWTORCH_INLINE V log(V x) {
        const I n = exponent(x);
        return log_of(x, (V)((I)x - (n << R::kMantissa)) - T(1), n);
    }

    // log(1 + x) of numbers that are not negative: m - 1 is (x - (2^n - 1)) / 2^n, whatever 1 + x loses.
    static FLOWTORCH_INLINE V log1p(V x) {
        const V sum = T(1) + x;
        const I n = exponent(sum);
        const I far = sum > T(0x1p60);  // to infinity; nothing is lost there
        const V scale = power_of_two(select_int(far, I{}, -n));
        return log_of(sum, select(far, (V)((I)sum - (n << R::kMantissa)) - T(1), x * scale + (scale - T(1))), n);
    }

    static FLOWTORCH_INLINE I exponent(V x) { return ((I)x - R::kSqrtHalfBits) >> R::kMantissa; }

    static FLOWTORCH_INLINE I select_int(I mask, I yes, I no) { return mask ? yes : no; }

    // log(x) from f = m - 1: with s = f / (2 + f), log(m) = 2 artanh(s) = f - s (f - 2 s^2 (1/3 + s^2/5 + ...)).
    static FLOWTORCH_INLINE V log_of(V x, V f, I n) {
        const V s = f / (T(2) + f), z = s * s;
        V sum = splat(T(1.0 / (2 * R::kLogTerms + 1)));
        for (int k = R::kLogTerms - 1; k >= 1; --k) {
            sum = sum * z + T(1.0 / (2 * k + 1));
        }
        const V whole = __builtin_convertvector(n, V);
        const V result = whole * R::kLn2High + (f - (s * (f - T(2) * z * sum) - whole * R::kLn2Low));
        return select(x < splat(T(__builtin_inf())), result, x);  // of infinity, and of NaN
    }

    static FLOWTORCH_INLINE V softplus(V x) { return select(x > T(40), x, log1p(exp(select(x > T(40), splat(40), x)))); }

    static FLOWTORCH_INLINE V sigmoid(V x) {
        const V e = exp(-abs(x));
        return select(x < T(0), e, splat(1)) / (T(1) + e);
    }

    static FLOWTORCH_INLINE V tanh(V x) {
        I n;
        const V tail = reduced_expm1(clamp(abs(x) * T(2), T(0), T(80)), n);
        const V scale = power_of_two(n);
        const V e = scale * tail + (scale - T(1));  // exp(2 |x|) - 1, without cancellation where n = 0
        const V result = e / (e + T(2));
        return select(x < T(0), -result, result);
    }

    // The arc tangent of numbers from 0 to 1: 1/8 of a turn less those above tan(pi / 8), and the Taylor series.
    static FLOWTORCH_INLINE V atan(V x) {
        const I far = x > T(0.41421356237309503);
        const V t = select(far, (x - T(1)) / (x + T(1)), x), z = -t * t;
        V sum = splat(T(1.0 / (2 * R::kAtanTerms + 1)));
        for (int k = R::kAtanTerms - 1; k >= 1; --k) {
            sum = sum * z + T(1.0 / (2 * k + 1));
        }
        const V result = sum * z * t + t;
        return select(far, T(0.78539816339744831) + result, result);
    }
};

}  // namespace
