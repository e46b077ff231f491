// What the server serves.
#pragma once

#include <mizzen/core/cancellation.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/serving/tensor.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace mizzen::serving {

// Source: Open Inference Protocol, $metadata_tensor; -1 in the shape is a dimension of any size.
struct tensor_metadata {
  std::string name = {};
  serving::datatype datatype = datatype::fp32;
  std::vector<std::int64_t> shape = {};
};

// What a model takes and gives.
struct model_metadata {
  std::string platform = "mizzen";
  std::vector<tensor_metadata> inputs = {};
  std::vector<tensor_metadata> outputs = {};
};

// One call of a model. The server has checked it against the metadata: every input is there once,
// of its datatype and of a shape that fits.
struct infer_call {
  std::vector<tensor> inputs = {};
  // Names of the outputs that are wanted, each one that the model has; empty means all.
  std::vector<std::string> outputs = {};
  // The request's "parameters" object, or null.
  json parameters = {};
  // Triggered when the client has gone away or its time is up.
  mizzen::cancellation cancel = {};
};

// A model. Called from several threads at once, so what it changes it must guard.
class model {
 public:
  model() = default;
  model(const model&) = delete;
  model& operator=(const model&) = delete;
  virtual ~model() = default;

  // Constant over its life.
  virtual const model_metadata& metadata() const noexcept = 0;

  // May block. An error with errc::invalid_argument or out_of_range is the client's fault (400),
  // anything else the server's (500). Outputs in any order; more than asked for does no harm.
  virtual std::vector<tensor> infer(infer_call call) const = 0;

  // False while it cannot answer (still loading its weights, say).
  virtual bool ready() const noexcept { return true; }
};

// A model that is a function; it may be called from several threads at once.
std::shared_ptr<const model> make_model(model_metadata metadata,
                                        std::function<std::vector<tensor>(infer_call)> function);

}  // namespace mizzen::serving
