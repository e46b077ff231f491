// Operators on strings.
#include "inference/dynamic/elements.hpp"
#include "inference/dynamic/operations.hpp"
#include "inference/dynamic/regex.hpp"
#include "inference/graph/shape_inference.hpp"
#include "inference/runtime/executable.hpp"

#include <mizzen/core/checked.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <system_error>
#include <unordered_set>
#include <utility>

namespace mizzen::inference::detail {
namespace {

// Runs an operator that moves or compares elements on strings: on their places in the sorted list
// of all strings of its inputs, which are equal and in order exactly where the strings are.
class ranked_operation final : public operation {
 public:
  explicit ranked_operation(const operation_compile_context& context) {
    const compile_context& c = context.about;
    graph g;
    node n = c.n;
    for (auto* list : {&n.inputs, &n.outputs}) {
      for (value_id& v : *list) {
        if (v == no_value) continue;
        value copy = c.g.values[v];
        const bool is_string = copy.type == element_type::string;
        if (list == &n.outputs) strings_out_.push_back(is_string);
        if (is_string) {
          copy.type = element_type::int64;
          copy.constant = nullptr;
        }
        for (std::int64_t& d : copy.shape ? *copy.shape : no_dims_) d = std::max(d, unknown_dim);
        const bool constant = copy.constant != nullptr;
        v = g.add_value(std::move(copy));
        if (list == &n.outputs) {
          g.outputs.push_back(v);
        } else if (!constant) {
          g.inputs.push_back(v);
          given_.push_back(static_cast<std::size_t>(&v - n.inputs.data()));
        }
      }
    }
    for (const value_id v : c.n.outputs) outputs_.push_back(v != no_value);
    g.nodes.push_back(std::move(n));
    infer_graph(g);
    compile_settings settings = context.settings;
    settings.optimize = false;
    inner_ = std::make_unique<const executable>(std::move(g), settings);
  }

  void run(const operation_context& c, std::span<item> outputs) const override {
    std::map<std::string_view, std::int64_t> ranks;
    for (const std::size_t i : given_) {
      const tensor& t = c.one(i);
      if (t.type() != element_type::string) continue;
      for (const std::string& s : t.data<std::string>()) ranks.emplace(s, 0);
    }
    std::vector<std::string_view> texts;
    for (auto& [text, rank] : ranks) {
      rank = static_cast<std::int64_t>(texts.size());
      texts.push_back(text);
    }
    std::vector<item> given;
    for (const std::size_t i : given_) {
      const tensor& t = c.one(i);
      if (t.type() != element_type::string) {
        given.push_back(c.inputs[i]);
        continue;
      }
      auto numbers = c.state.make(element_type::int64, t.shape());
      const auto to = numbers->data<std::int64_t>();
      const auto from = t.data<std::string>();
      for (std::size_t k = 0; k < to.size(); ++k) to[k] = ranks.find(from[k])->second;
      given.emplace_back(shared_tensor(std::move(numbers)));
    }
    const std::vector<item> made = inner_->run(given, c.state);
    std::size_t next = 0;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (!outputs_[i]) continue;
      outputs[i] = strings_out_[next] ? texts_of(*made[next].one, texts, c.state) : made[next];
      ++next;
    }
  }

 private:
  static shared_tensor texts_of(const tensor& numbers, const std::vector<std::string_view>& texts,
                                const run_state& state) {
    const auto from = numbers.data<std::int64_t>();
    std::size_t bytes = 0;
    for (const std::int64_t rank : from) {
      if (static_cast<std::size_t>(rank) < texts.size()) {
        bytes = checked_add(bytes, texts[static_cast<std::size_t>(rank)].size(), "strings");
      }
    }
    auto out = make_strings(numbers.shape(), bytes, state);
    const auto to = out->data<std::string>();
    for (std::size_t i = 0; i < to.size(); ++i) {
      const auto rank = static_cast<std::size_t>(from[i]);
      // What the operator put in between elements (a fill of 0) is no string of the inputs.
      if (rank < texts.size()) to[i] = texts[rank];
    }
    return out;
  }

  dims no_dims_;
  std::vector<std::size_t> given_;  // inputs of the node that the inner graph takes
  std::vector<bool> outputs_;       // by output of the node: whether there is one
  std::vector<bool> strings_out_;   // by output of the inner graph
  std::unique_ptr<const executable> inner_;
};

std::unique_ptr<std::size_t[]> dense_strides(std::span<const std::int64_t> shape,
                                             std::span<const std::int64_t> out) {
  auto strides = std::make_unique<std::size_t[]>(out.size());
  std::size_t stride = 1;
  for (std::size_t i = shape.size(); i-- > 0;) {
    strides[i + out.size() - shape.size()] = shape[i] == 1 ? 0 : stride;
    stride *= static_cast<std::size_t>(shape[i]);
  }
  return strides;
}

class string_concat_operation final : public operation {
 public:
  void run(const operation_context& c, std::span<item> outputs) const override {
    const tensor& a = c.one(0);
    const tensor& b = c.one(1);
    shape_type shape(std::max(a.rank(), b.rank()), 1);
    for (std::size_t i = 0; i < shape.size(); ++i) {
      for (const tensor* t : {&a, &b}) {
        if (i + t->rank() < shape.size()) continue;
        const std::int64_t d = t->shape()[i + t->rank() - shape.size()];
        if (d != 1 && shape[i] != 1 && d != shape[i]) {
          throw error(errc::invalid_argument, "inputs",
                      "shapes " + to_string(a.shape()) + " and " + to_string(b.shape()) +
                          " do not broadcast");
        }
        if (d != 1) shape[i] = d;
      }
    }
    // Each text may be repeated as often as there are elements.
    const std::size_t count = checked_element_count(shape, "strings");
    const auto repeated = [&](const tensor& t) {
      const std::size_t times = t.empty() ? 0 : count / t.size();
      return checked_mul(text_bytes(t), times, "strings");
    };
    auto out = make_strings(shape, checked_add(repeated(a), repeated(b), "strings"), c.state);
    const auto to = out->data<std::string>();
    const auto a_strides = dense_strides(a.shape(), shape);
    const auto b_strides = dense_strides(b.shape(), shape);
    for (std::size_t i = 0; i < to.size(); ++i) {
      std::size_t rest = i;
      std::size_t at_a = 0;
      std::size_t at_b = 0;
      for (std::size_t d = shape.size(); d-- > 0;) {
        const auto size = static_cast<std::size_t>(shape[d]);
        at_a += rest % size * a_strides[d];
        at_b += rest % size * b_strides[d];
        rest /= size;
      }
      to[i] = a.data<std::string>()[at_a] + b.data<std::string>()[at_b];
    }
    outputs[0] = shared_tensor(std::move(out));
  }
};

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

class string_split_operation final : public operation {
 public:
  explicit string_split_operation(const attribute_map& attributes)
      : delimiter_(attributes.get_string("delimiter", "")),
        most_(attributes.get_int("maxsplit", std::numeric_limits<std::int64_t>::max())) {}

  void run(const operation_context& c, std::span<item> outputs) const override {
    const tensor& x = c.one(0);
    const auto texts = x.data<std::string>();
    std::vector<std::vector<std::string_view>> all;
    std::size_t widest = 0;
    for (const std::string& text : texts) {
      all.push_back(split(text));
      widest = std::max(widest, all.back().size());
    }
    shape_type shape = x.shape();
    shape.push_back(static_cast<std::int64_t>(widest));
    auto parts = make_strings(std::move(shape), text_bytes(x), c.state);
    auto counts = c.state.make(element_type::int64, x.shape());
    for (std::size_t i = 0; i < all.size(); ++i) {
      counts->data<std::int64_t>()[i] = static_cast<std::int64_t>(all[i].size());
      for (std::size_t k = 0; k < all[i].size(); ++k) {
        parts->data<std::string>()[i * widest + k] = all[i][k];
      }
    }
    outputs[0] = shared_tensor(std::move(parts));
    if (outputs.size() > 1) outputs[1] = shared_tensor(std::move(counts));
  }

 private:
  std::vector<std::string_view> split(std::string_view text) const {
    std::vector<std::string_view> parts;
    std::int64_t splits = 0;
    if (!delimiter_.empty()) {
      for (std::size_t end; splits < most_ && (end = text.find(delimiter_)) != text.npos;
           ++splits) {
        parts.push_back(text.substr(0, end));
        text.remove_prefix(end + delimiter_.size());
      }
      parts.push_back(text);
      return parts;
    }
    // By runs of white space, of which those at the ends count for nothing.
    for (;; ++splits) {
      while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
      if (text.empty()) return parts;
      std::size_t end = 0;
      while (end < text.size() && !is_space(text[end])) ++end;
      if (splits >= most_) end = text.size();
      parts.push_back(text.substr(0, end));
      text.remove_prefix(end);
    }
  }

  std::string delimiter_;
  std::int64_t most_;
};

class string_normalizer_operation final : public operation {
 public:
  explicit string_normalizer_operation(const attribute_map& attributes)
      : action_(attributes.get_string("case_change_action", "NONE")),
        case_sensitive_(attributes.get_int("is_case_sensitive", 0) != 0) {
    if (action_ != "NONE" && action_ != "LOWER" && action_ != "UPPER") {
      throw error(errc::invalid_argument, "attribute 'case_change_action'",
                  "it must be NONE, LOWER or UPPER");
    }
    for (const std::string& word : attributes.get_strings("stopwords")) {
      stopwords_.insert(case_sensitive_ ? word : changed(word, false));
    }
  }

  void run(const operation_context& c, std::span<item> outputs) const override {
    const tensor& x = c.one(0);
    std::vector<std::string> kept;
    for (const std::string& word : x.data<std::string>()) {
      if (!stopwords_.empty() &&
          stopwords_.contains(case_sensitive_ ? word : changed(word, false))) {
        continue;
      }
      kept.push_back(action_ == "NONE" ? word : changed(word, action_ == "UPPER"));
    }
    // Nothing left is one empty string. Source: ONNX StringNormalizer.
    if (kept.empty()) kept.emplace_back();
    shape_type shape(x.rank(), 1);
    shape.back() = static_cast<std::int64_t>(kept.size());
    auto out = c.state.make(element_type::string, std::move(shape));
    std::move(kept.begin(), kept.end(), out->data<std::string>().begin());
    outputs[0] = shared_tensor(std::move(out));
  }

 private:
  static std::string changed(std::string text, bool upper) {
    for (char& c : text) {
      if (static_cast<unsigned char>(c) >= 0x80) {
        throw error(errc::unimplemented, "input 0", "the case of letters beyond ASCII");
      }
      if (upper && c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
      if (!upper && c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return text;
  }

  std::string action_;
  bool case_sensitive_;
  std::unordered_set<std::string> stopwords_;
};

class regex_full_match_operation final : public operation {
 public:
  explicit regex_full_match_operation(const attribute_map& attributes)
      : regex_(attributes.get_string("pattern", "")) {}

  void run(const operation_context& c, std::span<item> outputs) const override {
    const tensor& x = c.one(0);
    auto out = c.state.make(element_type::boolean, x.shape());
    const auto to = out->data<bool>();
    const auto from = x.data<std::string>();
    for (std::size_t i = 0; i < to.size(); ++i) {
      to[i] = regex_.matches(from[i], c.state.cancel);
    }
    outputs[0] = shared_tensor(std::move(out));
  }

 private:
  regex regex_;
};

// Shortest text that reads back as the number, as Python writes it.
template <class T>
std::string text_of(T value) {
  if constexpr (std::same_as<T, bool>) {
    return value ? "True" : "False";
  } else if constexpr (std::floating_point<T>) {
    if (std::isnan(value)) return "nan";
    if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
    char buffer[64];
    const T size = std::abs(value);
    const bool plain = size == 0 || (size >= T(1e-4) && size < T(1e16));
    const auto end =
        std::to_chars(buffer, buffer + sizeof buffer, value,
                      plain ? std::chars_format::fixed : std::chars_format::scientific);
    std::string text(buffer, end.ptr);
    if (plain && text.find('.') == text.npos) text += ".0";
    return text;
  } else {
    return std::to_string(value);
  }
}

template <class T>
T number_of(std::string_view text) {
  const auto fail = [&] {
    throw error(errc::invalid_argument, "input 0",
                "'" + std::string(text.substr(0, 60)) + "' is no number of its type");
  };
  std::string_view digits = text;
  while (!digits.empty() && is_space(digits.front())) digits.remove_prefix(1);
  while (!digits.empty() && is_space(digits.back())) digits.remove_suffix(1);
  if (digits.starts_with('+') && !digits.starts_with("+-")) digits.remove_prefix(1);
  if constexpr (std::same_as<T, bool>) {
    if (digits == "1" || digits == "True" || digits == "true") return true;
    if (digits != "0" && digits != "False" && digits != "false") fail();
    return false;
  } else {
    T value{};
    const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (code == std::errc::result_out_of_range && std::floating_point<T>) {
      // Beyond the type's range: what strtod makes of it is an infinity or 0.
      return static_cast<T>(std::strtod(std::string(digits).c_str(), nullptr));
    }
    if (code != std::errc{} || end != digits.data() + digits.size()) fail();
    return value;
  }
}

class string_cast_operation final : public operation {
 public:
  explicit string_cast_operation(element_type to) : to_(to) {}

  void run(const operation_context& c, std::span<item> outputs) const override {
    const tensor& x = c.one(0);
    if (x.type() == to_) {
      outputs[0] = c.inputs[0];
      return;
    }
    auto out = c.state.make(to_, x.shape());
    const bool parse = x.type() == element_type::string;
    const bool done = dispatch_numbers(parse ? to_ : x.type(), [&]<class T>(T) {
      if (parse) {
        const auto from = x.data<std::string>();
        std::transform(from.begin(), from.end(), out->data<T>().begin(), number_of<T>);
      } else {
        const auto from = x.data<T>();
        std::transform(from.begin(), from.end(), out->data<std::string>().begin(), text_of<T>);
      }
    });
    if (!done) throw error(errc::unimplemented, "input 0", "its element type as a string");
    outputs[0] = shared_tensor(std::move(out));
  }

  template <class Fn>
  static bool dispatch_numbers(element_type type, Fn&& fn) {
    return dispatch<float, double, bool, std::int8_t, std::int16_t, std::int32_t, std::int64_t,
                    std::uint8_t, std::uint16_t, std::uint32_t, std::uint64_t>(type, fn);
  }

 private:
  template <class... Ts, class Fn>
  static bool dispatch(element_type type, Fn& fn) {
    return ((type == element_type_of<Ts>() ? (fn(Ts{}), true) : false) || ...);
  }

  element_type to_;
};

std::unique_ptr<operation> compile_cast(const operation_compile_context& c) {
  const element_type from = c.about.input_type(0);
  const element_type to = c.about.output_type(0);
  const element_type other = from == element_type::string ? to : from;
  if (other != element_type::string &&
      !string_cast_operation::dispatch_numbers(other, [](auto) {})) {
    c.about.unsupported("a cast from " + std::string(to_string(from)) + " to " +
                        std::string(to_string(to)));
  }
  return std::make_unique<string_cast_operation>(to);
}

}  // namespace

bool works_on_strings(const node& n) {
  static const std::unordered_set<std::string_view> names{
      "Concat",    "DepthToSpace",    "Equal",     "Expand",  "Flatten",
      "Gather",    "GatherElements",  "GatherND",  "Reshape", "ReverseSequence",
      "Scatter",   "ScatterElements", "ScatterND", "Shape",   "Size",
      "Slice",     "SpaceToDepth",    "Split",     "Squeeze", "Tile",
      "Transpose", "Unsqueeze",       "Where"};
  return n.domain.empty() && names.contains(n.op_type);
}

std::unique_ptr<operation> compile_on_strings(const operation_compile_context& context) {
  if (!works_on_strings(context.about.n)) return nullptr;
  return std::make_unique<ranked_operation>(context);
}

void add_string_operations(operation_table& table) {
  table["Cast"] = compile_cast;
  table["CastLike"] = compile_cast;
  table["StringConcat"] = [](const operation_compile_context&) -> std::unique_ptr<operation> {
    return std::make_unique<string_concat_operation>();
  };
  table["StringSplit"] = [](const operation_compile_context& c) -> std::unique_ptr<operation> {
    return std::make_unique<string_split_operation>(c.about.n.attributes);
  };
  table["RegexFullMatch"] = [](const operation_compile_context& c) -> std::unique_ptr<operation> {
    return std::make_unique<regex_full_match_operation>(c.about.n.attributes);
  };
  table["StringNormalizer"] = [](const operation_compile_context& c) -> std::unique_ptr<operation> {
    return std::make_unique<string_normalizer_operation>(c.about.n.attributes);
  };
}

}  // namespace mizzen::inference::detail
