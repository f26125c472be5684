// The operators of dense networks: all layers at once, forward and backward.
#pragma once
#include <algorithm>
#include <utility>

#include "call.h"

namespace flowtorch {
namespace {

using Tensors = std::vector<Tensor>;

// A call: what all layers have in common, and buffers that they share.
class Dense {
public:
    Dense(
        const Tensor& x, const Tensors& weights, const Tensors& masks, const Tensors& reaches, int64_t activation,
        double slope, bool last)
        : weights_(weights), masks_(masks), reaches_(reaches), activation_(activation), slope_(slope), last_(last) {
        is_double_ = x.scalar_type() == ScalarType::Double;
        STD_TORCH_CHECK(
            is_double_ || x.scalar_type() == ScalarType::Float, "flowtorch: float32 or float64 is expected.");
        STD_TORCH_CHECK(
            !weights.empty() && (reaches.empty() || reaches.size() == weights.size()) && masks.size() == reaches.size(),
            "flowtorch: layers are expected, and masks with what they reach for each or for none.");
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
        Weights layer{weights_[l].data_ptr(), nullptr, nullptr, weights_[l].strides()[0], sizes[0], sizes[1]};
        if (!reaches_.empty()) {
            const Tensor& reach = reaches_[l];
            STD_TORCH_CHECK(
                reach.scalar_type() == ScalarType::Long && reach.is_contiguous() && reach.device().is_cpu() &&
                    reach.numel() == sizes[0],
                "flowtorch: how far each output reaches is expected.");
            layer.reaches = static_cast<const int64_t*>(reach.data_ptr());
            for (int64_t n = 0; n < sizes[0]; ++n) {
                STD_TORCH_CHECK(
                    0 <= layer.reaches[n] && layer.reaches[n] <= sizes[1], "flowtorch: reaches within inputs are expected.");
            }
            if (masks_[l].numel() > 0) {
                check(masks_[l]);
                STD_TORCH_CHECK(
                    masks_[l].is_contiguous() && masks_[l].sizes()[0] == sizes[0] && masks_[l].sizes()[1] == sizes[1],
                    "flowtorch: contiguous masks of the sizes of the weights are expected.");
                layer.mask = masks_[l].data_ptr();
            }
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
        const bool sorted = sort(layer, kernel().chunk);
        pack(layer, kernel().pack_outputs, layer.outputs, layer.inputs, 1);
        const int64_t points = x.sizes()[0];
        Tensor y = torch::stable::new_empty(x, {points, layer.outputs});
        Product p = packed_product(layer.outputs);
        p.a = x.data_ptr();
        p.a_row = x.strides()[0];
        STD_TORCH_CHECK(bias.is_contiguous() && bias.numel() == layer.outputs, "flowtorch: a bias is expected.");
        p.places = sorted ? order_.data() : nullptr;
        p.start = in_order(bias, layer.outputs);
        if (add) {
            p.add = add->data_ptr();
            p.add_row = add->strides()[0];
        }
        p.c = y.data_ptr();
        p.activation = activated(l) ? activation_ : 0;
        run(p, points);
        return y;
    }

    // The gradient before the activation, in the place of that after it if that is `ours`; that of the bias is written to
    // `by_bias`.
    Tensor before_activation(size_t l, const Tensor& gradient, bool ours, const Tensor& y, const Tensor& by_bias) {
        const auto sizes = gradient.sizes();
        Tensor result = activated(l) && !ours ? torch::stable::new_empty(gradient, {sizes[0], sizes[1]}) : gradient;
        Gradient g{gradient.data_ptr(), y.data_ptr(), activated(l) ? result.data_ptr() : nullptr, by_bias.data_ptr(),
                   gradient.strides()[0], sizes[1], sizes[0], activation_, slope_};
        torch::stable::parallel_for(
            0, (sizes[1] + kernel().panel - 1) / kernel().panel, 4,
            [&](int64_t begin, int64_t end) { kernel().before_activation(g, begin, end); });
        return result;
    }

    Tensor by_weights(size_t l, const Tensor& gradient, const Tensor& x) {
        const Weights layer = weights_of(l);
        sort(layer, kernel().rows_together);
        Tensor result = torch::stable::new_empty(x, {layer.outputs, layer.inputs});
        Product p{};
        p.a = gradient.data_ptr();
        p.a_row = 1;
        p.a_step = gradient.strides()[0];
        p.b = x.data_ptr();
        p.b_row = x.strides()[0];
        p.points = x.sizes()[0];
        p.c = result.data_ptr();
        p.rows = layer.outputs;
        p.c_row = p.add_row = p.times_row = p.columns = layer.inputs;
        p.times = layer.mask;
        p.groups = order_.data();
        p.limits = limits_.data();
        if (p.points == 0) {
            return torch::stable::zero_(result);
        }
        constexpr int64_t kGrain = 6;
        const int64_t groups = order_.size();
        torch::stable::parallel_for(0, (groups + kGrain - 1) / kGrain, 1, [&](int64_t begin, int64_t end) {
            kernel().product_of_points(p, begin * kGrain, std::min(end * kGrain, groups));
        });
        return result;
    }

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
    const DenseKernels& kernel() const { return kernels().dense[is_double_]; }

    bool activated(size_t l) const { return activation_ != 0 && (last_ || l + 1 < weights_.size()); }

    // Puts the outputs, so many together, in the order of what they reach; returns whether they were in another one.
    // An incomplete group stays the last.
    bool sort(const Weights& layer, int64_t together) {
        limits_.resize(layer.outputs);
        for (int64_t n = 0; n < layer.outputs; ++n) {
            limits_[n] = layer.reach(n);
        }
        const int64_t whole = layer.outputs / together;
        order_.clear();
        for (int64_t n = 0; n < layer.outputs; n += together) {
            order_.push_back(n);
        }
        if (layer.reaches == nullptr) {
            return false;
        }
        std::vector<std::pair<int64_t, int64_t>> farthest;
        for (int64_t group = 0; group < whole; ++group) {
            const auto first = limits_.begin() + group * together;
            farthest.emplace_back(*std::max_element(first, first + together), group * together);
        }
        if (std::is_sorted(farthest.begin(), farthest.end())) {
            return false;
        }
        std::sort(farthest.begin(), farthest.end());
        for (int64_t group = 0; group < whole; ++group) {
            order_[group] = farthest[group].second;
        }
        return true;
    }

    // A bias in the order of panels.
    const void* in_order(const Tensor& bias, int64_t outputs) {
        const size_t size = is_double_ ? sizeof(double) : sizeof(float);
        const int64_t chunk = kernel().chunk;
        bias_.assign(order_.size() * chunk + kernel().panel, 0.0);
        for (size_t i = 0; i < order_.size(); ++i) {
            std::memcpy(
                reinterpret_cast<char*>(bias_.data()) + i * chunk * size,
                static_cast<const char*>(bias.data_ptr()) + order_[i] * size, std::min(chunk, outputs - order_[i]) * size);
        }
        return bias_.data();
    }

    // Panels of so many columns, each of at most so many rows, in at most so many ranges.
    void pack(const Weights& layer, Pack how, int64_t columns, int64_t rows, int64_t ranges) {
        const int64_t panels = (columns + kernel().panel - 1) / kernel().panel;
        ranges_.resize(panels * ranges);
        range_of_.resize(panels + 1);
        offsets_.resize(panels);
        packed_.resize(panels * kernel().panel * rows * (is_double_ ? 2 : 1));
        Packed packed{packed_.data(), ranges_.data(), range_of_.data(), offsets_.data()};
        how(layer, order_.data(), packed);
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

    const Tensors &weights_, &masks_, &reaches_;
    const int64_t activation_;
    const double slope_;
    const bool last_;  // whether the last layer is activated too
    bool is_double_;
    std::vector<int64_t> limits_, order_, range_of_, offsets_;
    std::vector<Range> ranges_;
    std::vector<float> packed_;
    std::vector<double> bias_;
};

// The outputs of all layers, of which the last is the network's.
Tensors dense_forward(
    Tensor x, Maybe add, Tensors weights, Tensors masks, Tensors reaches, Tensors biases, int64_t activation, double slope,
    bool last) {
    Dense network(x, weights, masks, reaches, activation, slope, last);
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
    Tensor gradient, Tensor x, Tensors outputs, Tensors weights, Tensors masks, Tensors reaches, int64_t activation,
    double slope, bool last, bool want_x) {
    Dense network(x, weights, masks, reaches, activation, slope, last);
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
        gradient = network.before_activation(l, gradient, l + 1 < layers, y, by_bias);
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
