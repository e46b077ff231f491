// A small multi-layer perceptron, trained with plain loops: it stands for the trainer that a user
// of Mizzen already has.
#pragma once

#include "digits.hpp"

#include <cstdint>
#include <vector>

namespace digits {

// softmax(relu(x W1 + b1) W2 + b2); weights are row-major [inputs, outputs].
class network {
 public:
  network(std::size_t hidden, std::uint32_t seed);

  // One pass over the shuffled data by stochastic gradient descent with momentum; gives the mean
  // cross-entropy loss.
  double train_epoch(const data_set& data, std::size_t batch, float rate, std::uint32_t seed);

  // Share of the images whose most probable class is right.
  double accuracy(const data_set& data) const;

  struct layer {
    std::size_t inputs, outputs;
    std::vector<float> weights, bias, weight_velocity, bias_velocity;
  };
  const layer& first() const { return first_; }
  const layer& second() const { return second_; }

 private:
  void forward(const float* image, std::vector<float>& hidden, std::vector<float>& scores) const;

  layer first_, second_;
};

}  // namespace digits
