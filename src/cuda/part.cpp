#include "cuda/part.hpp"

#include <mizzen/core/checked.hpp>

#include <algorithm>
#include <cstring>

namespace mizzen::cuda {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw error(errc::invalid_argument, "graph of a part", what);
}

std::vector<value_id> read_ids(const std::uint32_t* ids, std::uint32_t count, std::size_t values) {
  std::vector<value_id> list;
  for (std::uint32_t i = 0; i < count; ++i) {
    if (ids[i] != no_value && ids[i] >= values) fail("it uses a value that it does not have");
    list.push_back(ids[i]);
  }
  return list;
}

value read_value(const mizzen_value& from) {
  value v;
  v.name = from.name != nullptr ? from.name : "";
  v.type = static_cast<element_type>(from.type);
  if (from.rank >= 0) {
    v.shape.emplace(from.shape, from.shape + from.rank);
    for (const std::int64_t d : *v.shape) {
      if (d < -1) fail("value '" + v.name + "' has a negative dimension");
    }
  }
  if (from.constant == nullptr) return v;
  const std::size_t size = size_of(v.type);
  if (!v.is_concrete()) fail("constant '" + v.name + "' has no shape");
  const std::size_t count = checked_element_count(*v.shape, "constant '" + v.name + "'");
  // Of other types there are none that anything here reads.
  if (size != 0 && checked_mul(count, size, "constant '" + v.name + "'") != from.bytes) {
    fail("constant '" + v.name + "' has another size than its shape");
  }
  if (size != 0) v.constant = from.constant;
  return v;
}

node read_node(const mizzen_node& from, std::size_t values) {
  node n;
  n.name = from.name != nullptr ? from.name : "";
  n.op_type = from.op_type;
  n.domain = from.domain != nullptr ? from.domain : "";
  n.opset = from.opset;
  n.inputs = read_ids(from.inputs, from.input_count, values);
  n.outputs = read_ids(from.outputs, from.output_count, values);
  for (std::uint32_t i = 0; i < from.attribute_count; ++i) {
    const mizzen_attribute& a = from.attributes[i];
    const std::size_t count = a.count;
    switch (a.kind) {
      case MIZZEN_ATTRIBUTE_INT:
        n.attributes[a.name] = a.i;
        break;
      case MIZZEN_ATTRIBUTE_FLOAT:
        n.attributes[a.name] = a.f;
        break;
      case MIZZEN_ATTRIBUTE_STRING:
      case MIZZEN_ATTRIBUTE_STRINGS:
        n.attributes[a.name] = std::string(a.s);
        break;
      case MIZZEN_ATTRIBUTE_INTS:
        n.attributes[a.name] = dims(a.ints, a.ints + count);
        break;
      case MIZZEN_ATTRIBUTE_FLOATS:
        n.attributes[a.name] = std::vector<float>(a.floats, a.floats + count);
        break;
      default:
        break;  // no operator here has others
    }
  }
  return n;
}

template <class T, class Fallback>
T get(const node& n, std::string_view attribute, Fallback&& fallback) {
  const auto found = n.attributes.find(attribute);
  if (found == n.attributes.end()) return T(std::forward<Fallback>(fallback));
  const T* v = std::get_if<T>(&found->second);
  return v != nullptr ? *v : T(std::forward<Fallback>(fallback));
}

}  // namespace

bool is_integer(element_type type) noexcept {
  return type == element_type::int32 || type == element_type::int64;
}

std::size_t size_of(element_type type) noexcept {
  switch (type) {
    case element_type::boolean:
    case element_type::int8:
    case element_type::uint8:
    case element_type::float8_e4m3fn:
    case element_type::float8_e5m2:
      return 1;
    case element_type::float16:
    case element_type::bfloat16:
      return 2;
    case element_type::float32:
    case element_type::int32:
      return 4;
    case element_type::int64:
      return 8;
    default:
      return 0;
  }
}

std::int64_t count_of(const dims& shape) {
  return narrow<std::int64_t>(checked_element_count(shape, "shape"), "shape");
}

bool value::is_concrete() const noexcept {
  return shape && std::all_of(shape->begin(), shape->end(), [](std::int64_t d) { return d >= 0; });
}

std::int64_t node::get_int(std::string_view a, std::int64_t f) const {
  return get<std::int64_t>(*this, a, f);
}
float node::get_float(std::string_view a, float f) const { return get<float>(*this, a, f); }
std::string node::get_string(std::string_view a, std::string_view f) const {
  return get<std::string>(*this, a, f);
}
dims node::get_ints(std::string_view a, dims f) const { return get<dims>(*this, a, std::move(f)); }

std::string describe(const node& n) {
  const std::string op = n.domain.empty() ? n.op_type : n.domain + "." + n.op_type;
  return n.name.empty() ? "node (" + op + ")" : "node '" + n.name + "' (" + op + ")";
}

std::optional<dims> part::ints(value_id id) const {
  if (id == no_value || values[id].constant == nullptr) return std::nullopt;
  const value& v = values[id];
  const auto count = static_cast<std::size_t>(count_of(*v.shape));
  dims list(count);
  if (v.type == element_type::int64) {
    std::memcpy(list.data(), v.constant, count * sizeof(std::int64_t));
  } else if (v.type == element_type::int32) {
    std::vector<std::int32_t> narrow_list(count);
    std::memcpy(narrow_list.data(), v.constant, count * sizeof(std::int32_t));
    std::copy(narrow_list.begin(), narrow_list.end(), list.begin());
  } else {
    return std::nullopt;
  }
  return list;
}

std::optional<std::vector<float>> part::floats(value_id id) const {
  if (id == no_value || values[id].constant == nullptr) return std::nullopt;
  const value& v = values[id];
  if (v.type != element_type::float32) return std::nullopt;
  std::vector<float> list(static_cast<std::size_t>(count_of(*v.shape)));
  if (!list.empty()) std::memcpy(list.data(), v.constant, list.size() * sizeof(float));
  return list;
}

std::optional<float> part::scalar(value_id id) const {
  const auto list = floats(id);
  if (!list || list->size() != 1) return std::nullopt;
  return list->front();
}

part read_part(const mizzen_graph& from) {
  part p;
  for (std::uint32_t i = 0; i < from.value_count; ++i)
    p.values.push_back(read_value(from.values[i]));
  const std::size_t count = p.values.size();
  p.inputs = read_ids(from.inputs, from.input_count, count);
  p.outputs = read_ids(from.outputs, from.output_count, count);
  std::vector<bool> there(count, false);
  for (std::size_t v = 0; v < count; ++v) there[v] = p.values[v].constant != nullptr;
  for (const value_id v : p.inputs) {
    if (v == no_value) fail("an input is left out");
    there[v] = true;
  }
  for (std::uint32_t i = 0; i < from.node_count; ++i) {
    node n = read_node(from.nodes[i], count);
    for (const value_id v : n.inputs) {
      if (v != no_value && !there[v]) fail(describe(n) + " comes before what it takes");
    }
    for (const value_id v : n.outputs) {
      if (v != no_value) there[v] = true;
    }
    p.nodes.push_back(std::move(n));
  }
  for (const value_id v : p.outputs) {
    if (v == no_value || !there[v]) fail("nothing makes an output");
  }
  return p;
}

}  // namespace mizzen::cuda
