// The operators of masked networks, step by step: one step, and all of them with affine maps.
#pragma once
#include "call.h"

namespace flowtorch {
namespace {

// Writes values (points, coordinates) into rows of `units` from `row` on.
template <class T>
void transpose_into(const Tensor& values, const Tensor& units, int64_t row) {
    const auto sizes = values.sizes(), strides = values.strides();
    const T* from = static_cast<const T*>(values.data_ptr());
    for (int64_t c = 0; c < sizes[1]; ++c) {
        T* to = static_cast<T*>(units.data_ptr()) + (row + c) * units.sizes()[1];
        for (int64_t i = 0; i < sizes[0]; ++i) {
            to[i] = from[i * strides[0] + c * strides[1]];
        }
    }
}

// The task of a step, without a place for what comes of it; the tensors are checked.
Step step_of(
    const Tensor& units, const Tensor& weights, const Tensor& biases, const Tensor& program, int64_t step,
    int64_t layers, int64_t outputs, int64_t activation, double slope, bool residual, bool context) {
    const auto fits = [&units](const Tensor& t, int64_t dims, ScalarType type) {
        return t.dim() == dims && t.scalar_type() == type && t.device().is_cpu() && t.is_contiguous();
    };
    const bool known = units.scalar_type() == ScalarType::Double || units.scalar_type() == ScalarType::Float;
    STD_TORCH_CHECK(
        known && fits(units, 2, units.scalar_type()) && fits(weights, 1, units.scalar_type()) &&
            fits(biases, 1, units.scalar_type()) && fits(program, 1, ScalarType::Long) &&
            units.sizes()[1] % kPointsTogether == 0,
        "flowtorch: contiguous tensors of one dtype on the CPU are expected, with a multiple of ", kPointsTogether,
        " points.");
    const int64_t fields = kUnits + layers, start = kOfLayer * layers;
    STD_TORCH_CHECK(
        layers >= 0 && step >= 0 && start + (step + 1) * fields <= program.numel(),
        "flowtorch: the program of a network has no step ", step, ".");
    const int64_t* of_layers = static_cast<const int64_t*>(program.data_ptr());
    const int64_t* now = of_layers + start + step * fields;
    return {units.data_ptr(), nullptr, weights.data_ptr(), biases.data_ptr(), units.sizes()[1], layers, outputs,
            of_layers, now, step > 0 ? now - fields : nullptr, activation, slope, residual, context};
}

template <class F>
void for_points(int64_t points, const F& work) {
    constexpr int64_t kGrain = 256;
    torch::stable::parallel_for(0, (points + kGrain - 1) / kGrain, 1, [&](int64_t begin, int64_t end) {
        const int64_t last = end * kGrain;
        work(begin * kGrain, last < points ? last : points);
    });
}

// What is known so far is in rows of `units`: first `last`, the values of the step before, are added to it, then the
// hidden units that are known with them; see masked_step.h.
Tensor masked_step(
    Tensor units, Tensor weights, Tensor biases, Tensor program, Maybe last, int64_t step, int64_t layers,
    int64_t outputs, int64_t activation, double slope, bool residual, bool context) {
    Step task = step_of(
        units, weights, biases, program, step, layers, outputs, activation, slope, residual, context);
    const bool is_double = units.scalar_type() == ScalarType::Double;
    if (last) {
        const int64_t here = step > 0 ? task.before[kHere] : 0;
        STD_TORCH_CHECK(
            last->dim() == 2 && last->scalar_type() == units.scalar_type() && last->device().is_cpu() &&
                last->sizes()[0] <= task.points && last->sizes()[1] == here && task.now[kKnown] <= units.sizes()[0],
            "flowtorch: values (points, ", here, ") of the step before are expected, of the dtype of the network.");
        const int64_t row = task.now[kKnown] - here;
        is_double ? transpose_into<double>(*last, units, row) : transpose_into<float>(*last, units, row);
    }
    Tensor out = torch::stable::new_empty(units, {task.now[kHere] * outputs, task.points});
    task.out = out.data_ptr();
    const StepKernel kernel = kernels().step[is_double];
    for_points(task.points, [&](int64_t begin, int64_t end) { kernel(task, begin, end); });
    return out;
}

// The inverse of an affine map of the coordinates in the first rows of `units`, in place; returns the logarithms of the
// derivatives, a row for each coordinate. Options as in register.cpp.
Tensor affine_steps(
    Tensor units, Tensor weights, Tensor biases, Tensor program, int64_t steps, int64_t layers, int64_t activation,
    double slope, bool residual, bool context, int64_t scale_fn, double shift, bool gated, bool clamp_values,
    double least, double most) {
    const Step first = step_of(units, weights, biases, program, 0, layers, 2, activation, slope, residual, context);
    const int64_t fields = kUnits + layers;
    STD_TORCH_CHECK(
        steps > 0 && kOfLayer * layers + steps * fields <= program.numel(),
        "flowtorch: the program of a network has no step ", steps - 1, ".");
    int64_t most_here = 0, coordinates = 0;
    for (int64_t s = 0; s < steps; ++s) {
        const int64_t here = first.now[s * fields + kHere];
        most_here = here > most_here ? here : most_here;
        coordinates += here;
    }
    STD_TORCH_CHECK(coordinates <= units.sizes()[0], "flowtorch: a row for each coordinate is expected.");
    Problem options;
    options.scale_fn = scale_fn;
    options.gated = gated;
    options.clamp_values = clamp_values;
    options.options[0] = shift;
    options.options[1] = least;
    options.options[2] = most;
    Tensor out = torch::stable::new_empty(units, {2 * most_here, first.points});
    Tensor logs = torch::stable::new_empty(units, {coordinates, first.points});
    Step task = first;
    task.out = out.data_ptr();
    const StepsKernel kernel = kernels().affine_steps[units.scalar_type() == ScalarType::Double];
    for_points(first.points, [&](int64_t begin, int64_t end) {
        kernel(task, options, logs.data_ptr(), steps, begin, end);
    });
    return logs;
}

}  // namespace
}  // namespace flowtorch
