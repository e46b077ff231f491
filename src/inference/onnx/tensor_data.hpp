// From a TensorProto to a tensor.
#pragma once

#include "inference/onnx/file_memory.hpp"
#include "inference/onnx/model.hpp"

#include <mizzen/inference/tensor.hpp>

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace mizzen::inference::detail {

// Where the bytes of external tensors may be found, and how many bytes all tensors may take.
struct tensor_source {
  std::optional<std::filesystem::path> folder;  // nullopt: external data is refused
  std::size_t budget = 0;                       // counted down by each tensor
  std::shared_ptr<file_memory> file = {};       // null: the model's bytes are the caller's
  bool map_external = false;                    // map files of external data, not read them
  // Those that are mapped, by location.
  std::map<std::string, std::shared_ptr<file_memory>, std::less<>> external = {};

  // All tensors are made; see file_memory::seal().
  void seal() const;
};

// Checks before it allocates that the claimed shape and the data agree. Throws error naming the
// subject: invalid_argument / data_loss for wrong content, resource_exhausted beyond the budget,
// permission_denied for external data that leads outside the model's folder.
tensor make_tensor(const tensor_proto& proto, std::string_view subject, tensor_source& source);

}  // namespace mizzen::inference::detail
