// Small models that the tests of the server serve.
#pragma once

#include <mizzen/core/error.hpp>
#include <mizzen/serving/model.hpp>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace mizzen::serving::test {

using inference::element_type;

// Gives every input back under the name "out_" + its name; takes whatever the metadata says.
inline std::shared_ptr<const model> echo_model(std::vector<inference::value_info> inputs) {
  model_metadata metadata{.platform = "echo", .inputs = inputs, .outputs = std::move(inputs)};
  for (inference::value_info& each : metadata.outputs) each.name = "out_" + each.name;
  return make_model(std::move(metadata), [](const infer_call& call) {
    inference::tensor_map outputs;
    for (const auto& [name, value] : call.inputs) outputs.emplace("out_" + name, value.clone());
    return outputs;
  });
}

// y = 2 x, for x of shape [batch, 2].
inline std::shared_ptr<const model> doubling_model() {
  const std::vector<inference::dimension> shape = {"batch", 2};
  return make_model({.inputs = {{"x", element_type::float32, shape}},
                     .outputs = {{"y", element_type::float32, shape}}},
                    [](const infer_call& call) {
                      tensor y = call.inputs.at("x").clone();
                      for (float& each : y.data<float>()) each *= 2;
                      inference::tensor_map outputs;
                      outputs.emplace("y", std::move(y));
                      return outputs;
                    });
}

// A gate that models wait at, and which a cancelled call leaves.
class gate {
 public:
  void pass(const mizzen::cancellation& cancel) {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    while (!open_ && !cancel.requested()) changed_.wait_for(lock, std::chrono::milliseconds(2));
    --waiting_;
    if (cancel.requested()) ++cancelled_;
    lock.unlock();
    cancel.check("model");
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  int waiting() const {
    const std::lock_guard lock(mutex_);
    return waiting_;
  }
  int cancelled() const {
    const std::lock_guard lock(mutex_);
    return cancelled_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  int waiting_ = 0;
  int cancelled_ = 0;
};

inline std::shared_ptr<const model> gated_model(gate& at) {
  return make_model({}, [&at](const infer_call& call) {
    at.pass(call.cancel);
    return inference::tensor_map{};
  });
}

}  // namespace mizzen::serving::test
