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

void op_registry::add_plain(std::string_view op_type, op_definition definition, std::int64_t first,
                            std::int64_t last, std::string_view domain) {
  plain_[key_of(domain, op_type)].push_back({first, last, definition});
}

const op_definition* op_registry::find(const node& n) const { return find_in(entries_, n); }

const op_definition* op_registry::find_plain(const node& n) const { return find_in(plain_, n); }

const op_definition* op_registry::find_in(const table& entries, const node& n) {
  const auto found = entries.find(key_of(n.domain, n.op_type));
  if (found == entries.end()) return nullptr;
  for (auto it = found->second.rbegin(); it != found->second.rend(); ++it) {
    if (it->first <= n.opset && n.opset <= it->last) return &it->definition;
  }
  return nullptr;
}

}  // namespace mizzen::inference::detail
