#include "inference/cpu/op_registry.hpp"

namespace mizzen::inference::detail {
namespace {

std::string key_of(std::string_view domain, std::string_view op_type) {
  return std::string(domain) + ":" + std::string(op_type);
}

}  // namespace

void op_registry::add(std::string_view op_type, op_definition definition, std::int64_t first,
                      std::int64_t last, std::string_view domain) {
  entries_[key_of(domain, op_type)].push_back({first, last, definition});
}

const op_definition* op_registry::find(const node& n) const {
  const auto found = entries_.find(key_of(n.domain, n.op_type));
  if (found == entries_.end()) return nullptr;
  for (auto it = found->second.rbegin(); it != found->second.rend(); ++it) {
    if (it->first <= n.opset && n.opset <= it->last) return &it->definition;
  }
  return nullptr;
}

}  // namespace mizzen::inference::detail
