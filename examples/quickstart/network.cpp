#include "network.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

namespace digits {
namespace {

network::layer make_layer(std::size_t inputs, std::size_t outputs, std::mt19937& random) {
  network::layer layer{inputs, outputs, {}, {}, {}, {}};
  // He initialisation, uniform so that every standard library draws the same numbers.
  const float range = std::sqrt(6.0F / static_cast<float>(inputs));
  layer.weights.resize(inputs * outputs);
  for (float& weight : layer.weights) {
    weight = range * (static_cast<float>(random() >> 8) / static_cast<float>(1 << 23) - 1.0F);
  }
  layer.bias.resize(outputs);
  layer.weight_velocity.resize(layer.weights.size());
  layer.bias_velocity.resize(outputs);
  return layer;
}

void apply(const network::layer& layer, const float* input, std::vector<float>& output) {
  output = layer.bias;
  for (std::size_t i = 0; i < layer.inputs; ++i) {
    const float* const row = layer.weights.data() + i * layer.outputs;
    for (std::size_t j = 0; j < layer.outputs; ++j) output[j] += input[i] * row[j];
  }
}

struct gradient {
  std::vector<float> weights, bias;

  explicit gradient(const network::layer& layer)
      : weights(layer.weights.size()), bias(layer.bias.size()) {}
  void reset() {
    std::fill(weights.begin(), weights.end(), 0.0F);
    std::fill(bias.begin(), bias.end(), 0.0F);
  }
  void add(const float* input, const std::vector<float>& error) {
    const std::size_t outputs = bias.size();
    for (std::size_t i = 0; i < weights.size() / outputs; ++i) {
      for (std::size_t j = 0; j < outputs; ++j) weights[i * outputs + j] += input[i] * error[j];
    }
    for (std::size_t j = 0; j < outputs; ++j) bias[j] += error[j];
  }
};

void descend(std::vector<float>& values, std::vector<float>& velocity,
             const std::vector<float>& gradient, float rate) {
  constexpr float momentum = 0.9F;
  for (std::size_t i = 0; i < values.size(); ++i) {
    velocity[i] = momentum * velocity[i] - rate * gradient[i];
    values[i] += velocity[i];
  }
}

}  // namespace

network::network(std::size_t hidden, std::uint32_t seed) {
  std::mt19937 random(seed);
  first_ = make_layer(pixels, hidden, random);
  second_ = make_layer(hidden, classes, random);
}

void network::forward(const float* image, std::vector<float>& hidden,
                      std::vector<float>& scores) const {
  apply(first_, image, hidden);
  for (float& value : hidden) value = std::max(value, 0.0F);
  apply(second_, hidden.data(), scores);
}

double network::train_epoch(const data_set& data, std::size_t batch, float rate,
                            std::uint32_t seed) {
  std::vector<std::size_t> order(data.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::mt19937 random(seed);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random() % i]);

  std::vector<float> hidden, scores, hidden_error(first_.outputs);
  gradient first(first_), second(second_);
  double loss = 0;
  for (std::size_t begin = 0; begin < order.size(); begin += batch) {
    const std::size_t end = std::min(begin + batch, order.size());
    first.reset();
    second.reset();
    for (std::size_t at = begin; at < end; ++at) {
      const float* const image = data.images.data() + order[at] * pixels;
      const auto label = static_cast<std::size_t>(data.labels[order[at]]);
      forward(image, hidden, scores);
      const float most = *std::max_element(scores.begin(), scores.end());
      float sum = 0;
      for (float& score : scores) sum += score = std::exp(score - most);
      for (float& score : scores) score /= sum;
      loss -= std::log(std::max(scores[label], 1e-12F));
      scores[label] -= 1;  // now the gradient of the loss by the scores
      second.add(hidden.data(), scores);
      for (std::size_t i = 0; i < hidden.size(); ++i) {
        const float* const row = second_.weights.data() + i * classes;
        hidden_error[i] =
            hidden[i] > 0 ? std::inner_product(row, row + classes, scores.data(), 0.0F) : 0.0F;
      }
      first.add(image, hidden_error);
    }
    const float step = rate / static_cast<float>(end - begin);
    descend(first_.weights, first_.weight_velocity, first.weights, step);
    descend(first_.bias, first_.bias_velocity, first.bias, step);
    descend(second_.weights, second_.weight_velocity, second.weights, step);
    descend(second_.bias, second_.bias_velocity, second.bias, step);
  }
  return loss / static_cast<double>(data.size());
}

double network::accuracy(const data_set& data) const {
  std::vector<float> hidden, scores;
  std::size_t right = 0;
  for (std::size_t row = 0; row < data.size(); ++row) {
    forward(data.images.data() + row * pixels, hidden, scores);
    const auto best = std::max_element(scores.begin(), scores.end()) - scores.begin();
    right += best == data.labels[row] ? 1 : 0;
  }
  return static_cast<double>(right) / static_cast<double>(data.size());
}

}  // namespace digits
