// Which operators the CPU has.
#pragma once

#include "inference/device/kernel.hpp"

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::inference::detail {

inline constexpr std::int64_t any_opset = std::numeric_limits<std::int64_t>::max();
inline constexpr std::string_view mizzen_domain = "mizzen";

// Filled once per device by the register_… functions of cpu/ops/ops.hpp; no static initialisers,
// because a static library would drop them.
class op_registry {
 public:
  // Versions first..last of the operator in the default domain (the imported opset version, not the
  // "since" version: a model at opset 13 asks for 13). A later call for the same version replaces
  // an earlier one.
  void add(std::string_view op_type, op_definition definition, std::int64_t first = 1,
           std::int64_t last = any_opset, std::string_view domain = "");

  // The same for a plain operator, which takes the nodes that the one above refuses
  // (cpu/ops/plain.hpp).
  void add_plain(std::string_view op_type, op_definition definition, std::int64_t first = 1,
                 std::int64_t last = any_opset, std::string_view domain = "");

  // null when there is none.
  const op_definition* find(const node& n) const;
  const op_definition* find_plain(const node& n) const;

 private:
  struct entry {
    std::int64_t first, last;
    op_definition definition;
  };
  using table = std::map<std::string, std::vector<entry>, std::less<>>;  // by "domain:op_type"
  static const op_definition* find_in(const table& entries, const node& n);

  table entries_;
  table plain_;
};

}  // namespace mizzen::inference::detail
