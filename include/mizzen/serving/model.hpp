// What the server serves.
#pragma once

#include <mizzen/core/cancellation.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/inference/session.hpp>
#include <mizzen/inference/tensor.hpp>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace mizzen::serving {

// What a model takes and gives. Element types are those that the Open Inference Protocol has: bool,
// the integers from 8 to 64 bits, float16, bfloat16, float32, float64 and string (BYTES).
struct model_metadata {
  std::string platform = "mizzen";
  std::vector<inference::value_info> inputs = {};
  std::vector<inference::value_info> outputs = {};
};

// One call of a model. The server has checked it against the metadata: every input is there once,
// of its type and of a shape that fits.
struct infer_call {
  inference::tensor_map inputs = {};
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

  // May block. An error with errc::invalid_argument or out_of_range is the client's fault (400) and
  // its text is for the client; others are the server's (500) and are logged. Outputs beyond those
  // that are asked for do no harm.
  virtual inference::tensor_map infer(const infer_call& call) const = 0;

  // False while it cannot answer (still loading its weights, say).
  virtual bool ready() const noexcept { return true; }
};

// A model that is a function; it may be called from several threads at once.
std::shared_ptr<const model> make_model(
    model_metadata metadata, std::function<inference::tensor_map(const infer_call&)> function);

// A loaded ONNX model. Throws error(unimplemented) naming the input or output if one is of a type
// that the protocol does not have.
std::shared_ptr<const model> make_model(inference::session session);

}  // namespace mizzen::serving
