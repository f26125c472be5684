// The operators `flowtorch::...` that torch sees; what they have in common is in call.h.
//
// Only torch's stable headers are used, so that what is built with one torch runs with later ones.
#include <torch/csrc/stable/library.h>

#include <cmath>
#include <string>
#include <tuple>

#include "call.h"
#include "dense.h"
#include "steps.h"

namespace flowtorch {
namespace {

template <class>
using One = Tensor;

// Allocates the gradients of x and of the parameters, all of these in one tensor if they are `joined`, and runs.
template <bool joined, class... Parameters>
auto backward(Call& call, Op op, bool have_bins, const Tensor& x, const Parameters&... parameters) {
    Tensor by_x = call.output(x);
    if constexpr (joined) {
        Tensor whole = call.joined_outputs(x, {&parameters...});
        call.run(op, true);
        return std::tuple<Tensor, Tensor>{by_x, whole};
    } else {
        std::tuple<Tensor, One<Parameters>...> found{by_x, call.output(parameters, have_bins)...};
        call.run(op, true);
        return found;
    }
}

// Adds the inputs of a spline, and what the kernels need of its options: see Box in spline.h.
void add_spline(
    Call& call, const Tensor& x, const Tensor& widths, const Tensor& heights, const Tensor& derivatives, double bound,
    double min_bin_width, double min_bin_height, double min_derivative, bool inverse) {
    Problem& p = call.problem;
    STD_TORCH_CHECK(
        widths.dim() > 0 && derivatives.dim() > 0, "flowtorch: parameters with an axis of bins are expected.");
    const int64_t bins = widths.sizes()[widths.dim() - 1], given = derivatives.sizes()[derivatives.dim() - 1];
    STD_TORCH_CHECK(1 <= bins && bins <= kMaxBins, "flowtorch: 1 to ", kMaxBins, " bins are expected; got ", bins, ".");
    STD_TORCH_CHECK(
        given == bins - 1 || given == bins + 1, "flowtorch: K - 1 or K + 1 derivatives are expected; got ", given, ".");
    p.bins = bins;
    p.ends = given > bins;
    p.inverse = inverse;
    const double box = 2.0 * bound;
    const double options[] = {
        bound,
        box * min_bin_width,
        box * (1.0 - double(bins) * min_bin_width),
        box * min_bin_height,
        box * (1.0 - double(bins) * min_bin_height),
        min_derivative,
        std::log(std::expm1(1.0 - min_derivative)),
    };
    std::memcpy(p.options, options, sizeof(options));
    call.input(x);
    call.input(widths, bins);
    call.input(heights, bins);
    call.input(derivatives, given);
}

std::tuple<Tensor, Tensor> quadratic(
    Tensor x, Tensor widths, Tensor heights, Tensor derivatives, double bound, double min_bin_width,
    double min_bin_height, double min_derivative, bool inverse) {
    Call call(x);
    add_spline(
        call, x, widths, heights, derivatives, bound, min_bin_width, min_bin_height, min_derivative, inverse);
    Tensor value = call.output(x), log_derivative = call.output(x);
    call.run(kRationalQuadratic, false);
    return {value, log_derivative};
}

template <bool joined>
auto quadratic_backward(
    Maybe grad_value, Maybe grad_log, Tensor x, Tensor widths, Tensor heights, Tensor derivatives, double bound,
    double min_bin_width, double min_bin_height, double min_derivative, bool inverse) {
    Call call(x);
    add_spline(
        call, x, widths, heights, derivatives, bound, min_bin_width, min_bin_height, min_derivative, inverse);
    call.input(grad_value);
    call.input(grad_log);
    return backward<joined>(call, kRationalQuadratic, true, x, widths, heights, derivatives);
}

std::tuple<Tensor, Tensor> linear(
    Tensor x, Tensor widths, Tensor heights, Tensor derivatives, Tensor lambdas, double bound, double min_bin_width,
    double min_bin_height, double min_derivative, double min_lambda, bool inverse) {
    Call call(x);
    add_spline(
        call, x, widths, heights, derivatives, bound, min_bin_width, min_bin_height, min_derivative, inverse);
    call.problem.options[7] = min_lambda;
    call.input(lambdas, call.problem.bins);
    Tensor value = call.output(x), log_derivative = call.output(x);
    call.run(kRationalLinear, false);
    return {value, log_derivative};
}

template <bool joined>
auto linear_backward(
    Maybe grad_value, Maybe grad_log, Tensor x, Tensor widths, Tensor heights, Tensor derivatives, Tensor lambdas,
    double bound, double min_bin_width, double min_bin_height, double min_derivative, double min_lambda,
    bool inverse) {
    Call call(x);
    add_spline(
        call, x, widths, heights, derivatives, bound, min_bin_width, min_bin_height, min_derivative, inverse);
    call.problem.options[7] = min_lambda;
    call.input(lambdas, call.problem.bins);
    call.input(grad_value);
    call.input(grad_log);
    return backward<joined>(call, kRationalLinear, true, x, widths, heights, derivatives, lambdas);
}

// scale_fn: 0 softplus, 1 exp, 2 sigmoid, with `shift` added to what the first and the last are given.
void add_affine(
    Call& call, const Tensor& x, const Tensor& loc, const Tensor& raw_scale, int64_t scale_fn, double shift, bool gated,
    bool clamp_values, double least, double most, bool inverse) {
    Problem& p = call.problem;
    p.scale_fn = scale_fn;
    p.gated = gated;
    p.clamp_values = clamp_values;
    p.inverse = inverse;
    const double options[] = {shift, least, most};
    std::memcpy(p.options, options, sizeof(options));
    call.input(x);
    call.input(loc);
    call.input(raw_scale);
}

std::tuple<Tensor, Tensor> affine(
    Tensor x, Tensor loc, Tensor raw_scale, int64_t scale_fn, double shift, bool gated, bool clamp_values, double least,
    double most, bool inverse) {
    Call call(x);
    add_affine(call, x, loc, raw_scale, scale_fn, shift, gated, clamp_values, least, most, inverse);
    Tensor value = call.output(x), log_derivative = call.output(x);
    call.run(kAffine, false);
    return {value, log_derivative};
}

std::tuple<Tensor, Tensor, Tensor> affine_backward(
    Maybe grad_value, Maybe grad_log, Tensor x, Tensor loc, Tensor raw_scale, int64_t scale_fn, double shift, bool gated,
    bool clamp_values, double least, double most, bool inverse) {
    Call call(x);
    add_affine(call, x, loc, raw_scale, scale_fn, shift, gated, clamp_values, least, most, inverse);
    call.input(grad_value);
    call.input(grad_log);
    return backward<false>(call, kAffine, false, x, loc, raw_scale);
}

// kind: 0 logistic, 1 normal. `start` is added to the logarithms of the slopes; `spread` is half of the distance between
// the places of components. These are biases, or with `centred` locations, and then slopes are one divided by scales.
void add_mixture(
    Call& call, const Tensor& x, const Tensor& logits, const Tensor& raw_slopes, const Tensor& places, int64_t kind,
    double start, double spread, bool centred) {
    Problem& p = call.problem;
    STD_TORCH_CHECK(logits.dim() > 0, "flowtorch: parameters with an axis of components are expected.");
    const int64_t count = logits.sizes()[logits.dim() - 1];
    STD_TORCH_CHECK(
        1 <= count && count <= kMaxBins, "flowtorch: 1 to ", kMaxBins, " components are expected; got ", count, ".");
    p.bins = count;
    p.kind = kind;
    p.centred = centred;
    const double options[] = {start, spread};
    std::memcpy(p.options, options, sizeof(options));
    call.input(x);
    call.input(logits, count);
    call.input(raw_slopes, count);
    call.input(places, count);
}

std::tuple<Tensor, Tensor> mixture(
    Tensor x, Tensor logits, Tensor raw_slopes, Tensor places, int64_t kind, double start, double spread, bool centred) {
    Call call(x);
    add_mixture(call, x, logits, raw_slopes, places, kind, start, spread, centred);
    Tensor value = call.output(x), log_derivative = call.output(x);
    call.run(kMixture, false);
    return {value, log_derivative};
}

template <bool joined>
auto mixture_backward(
    Maybe grad_value, Maybe grad_log, Tensor x, Tensor logits, Tensor raw_slopes, Tensor places, int64_t kind,
    double start, double spread, bool centred) {
    Call call(x);
    add_mixture(call, x, logits, raw_slopes, places, kind, start, spread, centred);
    call.input(grad_value);
    call.input(grad_log);
    return backward<joined>(call, kMixture, true, x, logits, raw_slopes, places);
}

std::tuple<Tensor, Tensor> signed_power(Tensor x, Tensor log_exponent) {
    Call call(x);
    call.input(x);
    call.input(log_exponent);
    Tensor value = call.output(x), log_derivative = call.output(x);
    call.run(kSignedPower, false);
    return {value, log_derivative};
}

std::tuple<Tensor, Tensor> signed_power_backward(Maybe grad_value, Maybe grad_log, Tensor x, Tensor log_exponent) {
    Call call(x);
    call.input(x);
    call.input(log_exponent);
    call.input(grad_value);
    call.input(grad_log);
    return backward<false>(call, kSignedPower, false, x, log_exponent);
}

// kind: the map, see fixed.h, where `a` and `b` are explained too.
void add_fixed(Call& call, const Tensor& x, int64_t kind, double a, double b) {
    call.problem.kind = kind;
    call.problem.options[0] = a;
    call.problem.options[1] = b;
    call.input(x);
}

std::tuple<Tensor, Tensor> fixed(Tensor x, int64_t kind, double a, double b) {
    Call call(x);
    add_fixed(call, x, kind, a, b);
    Tensor value = call.output(x), log_derivative = call.output(x);
    call.run(kFixed, false);
    return {value, log_derivative};
}

Tensor fixed_backward(Maybe grad_value, Maybe grad_log, Tensor x, int64_t kind, double a, double b) {
    Call call(x);
    add_fixed(call, x, kind, a, b);
    call.input(grad_value);
    call.input(grad_log);
    Tensor by_x = call.output(x);
    call.run(kFixed, true);
    return by_x;
}

}  // namespace
}  // namespace flowtorch

// Asked by the loader, for flowtorch.show_config().
extern "C" __attribute__((visibility("default"))) const char* flowtorch_capability() {
    return flowtorch::kernels().capability;
}

extern "C" __attribute__((visibility("default"))) const char* flowtorch_built_with() {
    return FLOWTORCH_TORCH_VERSION;
}

// `f` is the op that torch.library gives a derivative (see ops/fused.py); `f_forward` and `f_backward`, without one, are
// what it is made of, and what runs outside of the compiler, where a derivative registered in Python costs too much;
// `f_backward_joined` gives the gradients of all parameters, which have bins, in one tensor.
STABLE_TORCH_LIBRARY(flowtorch, library) {
    const std::string spline = "Tensor x, Tensor widths, Tensor heights, Tensor derivatives, ";
    const std::string box = "float bound, float min_bin_width, float min_bin_height, float min_derivative, ";
    const std::string scale =
        "int scale_fn, float shift, bool gated, bool clamp_values, float least, float most, bool inverse";
    const auto define = [&library](const std::string& name, bool have_bins, const std::string& arguments,
                                   const std::string& gradients) {
        library.def((name + "(" + arguments + ") -> (Tensor, Tensor)").c_str());
        library.def((name + "_forward(" + arguments + ") -> (Tensor, Tensor)").c_str());
        const std::string given = "(Tensor? grad_value, Tensor? grad_log, " + arguments + ") -> (";
        library.def((name + "_backward" + given + gradients + ")").c_str());
        if (have_bins) {
            library.def((name + "_backward_joined" + given + "Tensor, Tensor)").c_str());
        }
    };
    define("rational_quadratic_spline", true, spline + box + "bool inverse", "Tensor, Tensor, Tensor, Tensor");
    define(
        "rational_linear_spline", true, spline + "Tensor lambdas, " + box + "float min_lambda, bool inverse",
        "Tensor, Tensor, Tensor, Tensor, Tensor");
    define("affine", false, "Tensor x, Tensor loc, Tensor raw_scale, " + scale, "Tensor, Tensor, Tensor");
    define(
        "mixture", true,
        "Tensor x, Tensor logits, Tensor raw_slopes, Tensor places, int kind, float start, float spread, bool centred",
        "Tensor, Tensor, Tensor, Tensor");
    define("signed_power", false, "Tensor x, Tensor log_exponent", "Tensor, Tensor");
    define("fixed", false, "Tensor x, int kind, float a, float b", "Tensor");
    library.def(
        "masked_step(Tensor(a!) units, Tensor weights, Tensor biases, Tensor program, Tensor? last, int step, int layers, int outputs, "
        "int activation, float slope, bool residual, bool context) -> Tensor");
    library.def(
        "affine_steps(Tensor(a!) units, Tensor weights, Tensor biases, Tensor program, int steps, int layers, "
        "int activation, float slope, bool residual, bool context, int scale_fn, float shift, bool gated, "
        "bool clamp_values, float least, float most) -> Tensor");
    library.def(
        "dense_forward(Tensor x, Tensor? add, Tensor[] weights, Tensor[] masks, Tensor[] reaches, Tensor[] biases, "
        "int activation, float slope, bool last) -> Tensor[]");
    library.def(
        "dense_backward(Tensor gradient, Tensor x, Tensor[] outputs, Tensor[] weights, Tensor[] masks, Tensor[] reaches, "
        "int activation, float slope, bool last, bool want_x) -> Tensor[]");
}

STABLE_TORCH_LIBRARY_IMPL(flowtorch, CPU, library) {
    library.impl("rational_quadratic_spline", TORCH_BOX(&flowtorch::quadratic));
    library.impl("rational_quadratic_spline_forward", TORCH_BOX(&flowtorch::quadratic));
    library.impl("rational_quadratic_spline_backward", TORCH_BOX(&flowtorch::quadratic_backward<false>));
    library.impl("rational_quadratic_spline_backward_joined", TORCH_BOX(&flowtorch::quadratic_backward<true>));
    library.impl("rational_linear_spline", TORCH_BOX(&flowtorch::linear));
    library.impl("rational_linear_spline_forward", TORCH_BOX(&flowtorch::linear));
    library.impl("rational_linear_spline_backward", TORCH_BOX(&flowtorch::linear_backward<false>));
    library.impl("rational_linear_spline_backward_joined", TORCH_BOX(&flowtorch::linear_backward<true>));
    library.impl("affine", TORCH_BOX(&flowtorch::affine));
    library.impl("affine_forward", TORCH_BOX(&flowtorch::affine));
    library.impl("affine_backward", TORCH_BOX(&flowtorch::affine_backward));
    library.impl("mixture", TORCH_BOX(&flowtorch::mixture));
    library.impl("mixture_forward", TORCH_BOX(&flowtorch::mixture));
    library.impl("mixture_backward", TORCH_BOX(&flowtorch::mixture_backward<false>));
    library.impl("mixture_backward_joined", TORCH_BOX(&flowtorch::mixture_backward<true>));
    library.impl("signed_power", TORCH_BOX(&flowtorch::signed_power));
    library.impl("signed_power_forward", TORCH_BOX(&flowtorch::signed_power));
    library.impl("signed_power_backward", TORCH_BOX(&flowtorch::signed_power_backward));
    library.impl("fixed", TORCH_BOX(&flowtorch::fixed));
    library.impl("fixed_forward", TORCH_BOX(&flowtorch::fixed));
    library.impl("fixed_backward", TORCH_BOX(&flowtorch::fixed_backward));
    library.impl("masked_step", TORCH_BOX(&flowtorch::masked_step));
    library.impl("affine_steps", TORCH_BOX(&flowtorch::affine_steps));
    library.impl("dense_forward", TORCH_BOX(&flowtorch::dense_forward));
    library.impl("dense_backward", TORCH_BOX(&flowtorch::dense_backward));
}
