// A node that makes its outputs itself, because only its data tells their shapes, or because they
// are no tensors: the seam beside device::compile. Operations run on the host.
#pragma once

#include "inference/device/device.hpp"
#include "inference/runtime/item.hpp"
#include "inference/runtime/loading_limits.hpp"

#include <mizzen/core/cancellation.hpp>
#include <mizzen/core/log.hpp>
#include <mizzen/inference/weight_cache.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace mizzen::inference::detail {

class run_recorder;

// What a graph and its subgraphs are compiled with.
struct compile_settings {
  std::shared_ptr<device> on;
  std::size_t memory_limit = 0;
  std::size_t cached_plans = 0;  // of each stage
  bool optimize = true;
  logger log = {};
  std::function<void(std::string_view, const std::string&)> on_graph = {};
  std::shared_ptr<weight_cache> weights = {};  // null: not shared with other sessions
  std::shared_ptr<loading_limits> limits = std::make_shared<loading_limits>();  // of compilation
  element_type precision = element_type::float32;
};

// What one run is made with; handed down into subgraphs.
struct run_state {
  const cancellation& cancel;
  std::shared_ptr<memory_account> account;
  run_recorder* recorder = nullptr;  // null: nobody asks where the time goes

  std::shared_ptr<tensor> make(element_type type, shape_type shape) const {
    return make_tensor(type, std::move(shape), account);
  }
};

struct operation_context {
  std::span<const item> inputs;  // as node::inputs, captured ones included; empty where left out
  const run_state& state;

  // The input as a tensor or sequence; throws error(invalid_argument) if it is missing or another
  // kind. optional_tensor() gives null for one that is left out.
  const tensor& one(std::size_t i) const;
  const std::vector<shared_tensor>& many(std::size_t i) const;
  const tensor* optional_one(std::size_t i) const;
};

// Immutable once compiled; run() is called from several threads at once.
class operation {
 public:
  operation() = default;
  operation(const operation&) = delete;
  operation& operator=(const operation&) = delete;
  virtual ~operation() = default;

  // Fills outputs, one for each of node::outputs (those that nobody wants may stay empty). Checks
  // what depends on data; throws error(invalid_argument).
  virtual void run(const operation_context& context, std::span<item> outputs) const = 0;

  // False if run() never looks at this input.
  virtual bool reads_input(std::size_t /*input*/) const { return true; }

  // Gives back the memory kept for the next run; see session::release_memory().
  virtual void release_memory() const noexcept {}
};

struct operation_compile_context {
  compile_context about;
  const compile_settings& settings;
};

using compile_operation_function = std::unique_ptr<operation> (*)(const operation_compile_context&);

// Whether some operation has this name (what it makes of its types is seen when it is compiled).
bool has_operation(const node& n);

// Whether the node is to be run as an operation. Types must be inferred.
bool runs_as_operation(const node& n, const graph& g);

// Whether the operation may be run while the model is loaded, on constants.
bool may_fold(const node& n, const graph& g);

// Throws error(unimplemented) for what it lacks.
std::unique_ptr<operation> compile_operation(const operation_compile_context& context);

}  // namespace mizzen::inference::detail
