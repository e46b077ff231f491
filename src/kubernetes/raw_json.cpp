#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/kubernetes/raw_json.hpp>
#include <mizzen/kubernetes/serialization.hpp>

namespace mizzen::kubernetes {

namespace detail {

json parse_json(std::string_view text) {
  try {
    return json::parse(text);
  } catch (const json::exception& problem) {
    throw error(errc::invalid_argument, {}, problem.what());
  }
}

std::string dump_json(const json& value) {
  try {
    return value.dump();
  } catch (const json::exception& problem) {
    throw error(errc::invalid_argument, {}, problem.what());
  }
}

}  // namespace detail

json raw_json::value() const { return text.empty() ? json() : detail::parse_json(text); }

raw_json raw_json::of(const json& value) { return {detail::dump_json(value)}; }

}  // namespace mizzen::kubernetes
