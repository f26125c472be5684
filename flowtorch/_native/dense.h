// The operators of dense networks: all layers at once, forward and backward.
#pragma once
#include <algorithm>

#include "call.h"

namespace flowtorch {
namespace {

using Tensors = std::vector<Tensor>;

// A call: what all layers have in common, and buffers that they share.
class Dense {
public:
    Dense(const Tensor& x, const Tensors& weights, const Tensors& masks, int64_t activation, double slope, bool last)
        : weights_(weights), masks_(masks), activation_(activation), slope_(slope), last_(last) {
        is_double_ = x.scalar_type() == ScalarType::Double;
        STD_TORCH_CHECK(
            is_double_ || x.scalar_type() == ScalarType::Float, "flowtorch: float32 or float64 is expected.");
        STD_TORCH_CHECK(
            !weights.empty() && (masks.empty() || masks.size() == weights.size()),
            "flowtorch: layers are expected, and a mask for each or for none.");
        check(x);
        int64_t inputs = x.sizes()[1];
        for (size_t l = 0; l < weights.size(); ++l) {
            const Weights layer = weights_of(l);
            STD_TORCH_CHECK(
                layer.inputs <= inputs && (l == 0 || layer.inputs == inputs),
                "flowtorch: weights of the layers' sizes are expected.");
            inputs = layer.outputs;
        }
    }

    Weights weights_of(size_t l) const {
        check(weights_[l]);
        const auto sizes = weights_[l].sizes();
        Weights layer{weights_[l].data_ptr(), nullptr, weights_[l].strides()[0], sizes[0], sizes[1]};
        if (!masks_.empty()) {
            check(masks_[l]);
            STD_TORCH_CHECK(
                masks_[l].is_contiguous() && masks_[l].sizes()[0] == sizes[0] && masks_[l].sizes()[1] == sizes[1],
                "flowtorch: contiguous masks of the sizes of the weights are expected.");
            layer.mask = masks_[l].data_ptr();
        }
        return layer;
    }

    void check(const Tensor& t) const {
        STD_TORCH_CHECK(
            t.dim() == 2 && t.device().is_cpu() &&
                t.scalar_type() == (is_double_ ? ScalarType::Double : ScalarType::Float) &&
                (t.strides()[1] == 1 || t.sizes()[1] <= 1),
            "flowtorch: matrices of one dtype on the CPU are expected, whose columns lie side by side.");
    }

    // The layer's output.
    Tensor forward(size_t l, const Tensor& x, const Tensor& bias, const Maybe& add) {
        const Weights layer = weights_of(l);
        find_reaches(layer);
        pack(layer, kernel().pack_outputs, layer.outputs, layer.inputs, 1);
        const int64_t points = x.sizes()[0];
        Tensor y = torch::stable::new_empty(x, {points, layer.outputs});
        Product p = packed_product(layer.outputs);
        p.a = x.data_ptr();
        p.a_row = x.strides()[0];
        STD_TORCH_CHECK(bias.is_contiguous() && bias.numel() == layer.outputs, "flowtorch: a bias is expected.");
        p.start = bias.data_ptr();
        if (add) {
            p.add = add->data_ptr();
            p.add_row = add->strides()[0];
        }
        p.c = y.data_ptr();
        p.activation = activated(l) ? activation_ : 0;
        run(p, points);
        return y;
    }

    // The gradient before the activation; that of the bias is written to `by_bias`.
    Tensor before_activation(size_t l, const Tensor& gradient, const Tensor& y, const Tensor& by_bias) {
        const auto sizes = gradient.sizes();
        Tensor result = activated(l) ? torch::stable::new_empty(gradient, {sizes[0], sizes[1]}) : gradient;
        Gradient g{gradient.data_ptr(), y.data_ptr(), activated(l) ? result.data_ptr() : nullptr, by_bias.data_ptr(),
                   gradient.strides()[0], sizes[1], sizes[0], activation_, slope_};
        torch::stable::parallel_for(
            0, (sizes[1] + kernel().panel - 1) / kernel().panel, 4,
            [&](int64_t begin, int64_t end) { kernel().before_activation(g, begin, end); });
        return result;
    }

    Tensor by_weights(size_t l, const Tensor& gradient, const Tensor& x) {
        const Weights layer = weights_of(l);
        find_reaches(layer);
        Tensor result = torch::stable::new_empty(x, {layer.outputs, layer.inputs});
        Product p{};
        p.a = gradient.data_ptr();
        p.a_row = 1;
        p.a_step = gradient.strides()[0];
        p.b = x.data_ptr();
        p.b_row = x.strides()[0];
        p.points = x.sizes()[0];
        p.c = result.data_ptr();
        p.c_row = p.add_row = p.times_row = p.columns = layer.inputs;
        p.times = layer.mask;
        p.reaches = reaches_.data();
        if (p.points == 0) {
            return torch::stable::zero_(result);
        }
        torch::stable::parallel_for(0, (layer.outputs + kRowsTogether - 1) / kRowsTogether, 1, [&](int64_t b, int64_t e) {
            kernel().product_of_points(p, b * kRowsTogether, std::min(e * kRowsTogether, layer.outputs));
        });
        return result;
    }

    // To be called after by_weights: what each output reaches is then known.
    Tensor by_input(size_t l, const Tensor& gradient, int64_t columns) {
        const Weights layer = weights_of(l);
        pack(layer, kernel().pack_inputs, layer.inputs, layer.outputs, (layer.outputs + 1) / 2);
        const int64_t points = gradient.sizes()[0];
        Tensor result = torch::stable::new_empty(gradient, {points, columns});
        if (columns > layer.inputs) {
            torch::stable::zero_(result);
        }
        Product p = packed_product(layer.inputs);
        p.a = gradient.data_ptr();
        p.a_row = gradient.strides()[0];
        p.c = result.data_ptr();
        p.c_row = columns;
        run(p, points);
        return result;
    }

private:
    static constexpr int64_t kRowsTogether = 24;

    const DenseKernels& kernel() const { return kernels().dense[is_double_]; }

    bool activated(size_t l) const { return activation_ != 0 && (last_ || l + 1 < weights_.size()); }

    void find_reaches(const Weights& layer) {
        reaches_.resize(layer.outputs);
        kernel().reach(layer, reaches_.data());
    }

    // Panels of so many columns, each of at most so many rows, in at most so many ranges.
    void pack(const Weights& layer, Pack how, int64_t columns, int64_t rows, int64_t ranges) {
        const int64_t panels = (columns + kernel().panel - 1) / kernel().panel;
        ranges_.resize(panels * ranges);
        range_of_.resize(panels + 1);
        offsets_.resize(panels);
        packed_.resize(panels * kernel().panel * rows * (is_double_ ? 2 : 1));
        how(layer, reaches_.data(), ranges_.data(), range_of_.data(), offsets_.data(), packed_.data());
    }

    Product packed_product(int64_t columns) const {
        Product p{};
        p.a_step = 1;
        p.b = packed_.data();
        p.b_row = kernel().panel;
        p.columns = p.c_row = columns;
        p.ranges = ranges_.data();
        p.range_of = range_of_.data();
        p.offsets = offsets_.data();
        p.slope = slope_;
        return p;
    }

    void run(const Product& p, int64_t points) const {
        constexpr int64_t kGrain = 48;  // whole tiles
        torch::stable::parallel_for(0, (points + kGrain - 1) / kGrain, 1, [&](int64_t begin, int64_t end) {
            kernel().product(p, begin * kGrain, std::min(end * kGrain, points));
        });
    }

    const Tensors &weights_, &masks_;
    const int64_t activation_;
    const double slope_;
    const bool last_;  // whether the last layer is activated too
    bool is_double_;
    std::vector<int64_t> reaches_, range_of_, offsets_;
    std::vector<Range> ranges_;
    std::vector<float> packed_;
};

// The outputs of all layers, of which the last is the network's.
Tensors dense_forward(
    Tensor x, Maybe add, Tensors weights, Tensors masks, Tensors biases, int64_t activation, double slope, bool last) {
    Dense network(x, weights, masks, activation, slope, last);
    STD_TORCH_CHECK(biases.size() == weights.size(), "flowtorch: a bias for each layer is expected.");
    if (add) {
        network.check(*add);
        STD_TORCH_CHECK(
            add->sizes()[0] == x.sizes()[0] && add->sizes()[1] == weights[0].sizes()[0],
            "flowtorch: a row for each point is expected, to add to the first layer.");
    }
    Tensors outputs;
    for (size_t l = 0; l < weights.size(); ++l) {
        network.check(weights[l]);
        outputs.push_back(network.forward(l, l == 0 ? x : outputs.back(), biases[l], l == 0 ? add : Maybe{}));
    }
    return outputs;
}

// `outputs` are those of all layers that an activation may follow: without `last`, not that of the last layer.
// The gradients of x (without rows if it is not wanted), of what was added, of all weights, and of all biases.
Tensors dense_backward(
    Tensor gradient, Tensor x, Tensors outputs, Tensors weights, Tensors masks, int64_t activation, double slope,
    bool last, bool want_x) {
    Dense network(x, weights, masks, activation, slope, last);
    network.check(gradient);
    const size_t layers = weights.size();
    STD_TORCH_CHECK(
        outputs.size() + 1 == layers + (last ? 1 : 0), "flowtorch: the output of each activation is expected.");
    Tensors found(2 * layers + 2);
    for (size_t l = layers; l-- > 0;) {
        const Tensor& y = l < outputs.size() ? outputs[l] : gradient;  // without an activation it is not read
        STD_TORCH_CHECK(
            gradient.sizes()[0] == x.sizes()[0] && gradient.sizes()[1] == weights[l].sizes()[0] &&
                (l >= outputs.size() || y.is_contiguous()) && y.sizes()[0] == x.sizes()[0] &&
                y.sizes()[1] == weights[l].sizes()[0],
            "flowtorch: gradients and outputs of the layers' sizes are expected.");
        Tensor by_bias = torch::stable::new_empty(x, {weights[l].sizes()[0]});
        gradient = network.before_activation(l, gradient, y, by_bias);
        const Tensor& below = l == 0 ? x : outputs[l - 1];
        found[2 + l] = network.by_weights(l, gradient, below);
        found[2 + layers + l] = by_bias;
        if (l == 0) {
            found[1] = gradient;
            found[0] = want_x ? network.by_input(l, gradient, x.sizes()[1]) : torch::stable::new_empty(x, {0});
        } else {
            gradient = network.by_input(l, gradient, weights[l].sizes()[1]);
        }
    }
    return found;
}

}  // namespace
}  // namespace flowtorch
