#include "kubernetes/yaml.hpp"

#include <mizzen/core/error.hpp>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <limits>
#include <map>
#include <sstream>
#include <utility>

namespace mizzen::kubernetes::detail {
namespace {

constexpr std::string_view core_tag = "tag:yaml.org,2002:";

bool is_any_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

// YAML 1.1 integers as Go reads them: sign, prefix 0x 0o 0b or 0, and underscores between digits.
bool read_integer(std::string_view text, json& into) {
  std::string digits(text);
  std::erase(digits, '_');
  std::string_view rest = digits;
  const bool negative = rest.starts_with('-');
  if (negative || rest.starts_with('+')) rest.remove_prefix(1);
  int base = 10;
  if (rest.size() > 1 && rest[0] == '0') {
    const char kind = rest[1];
    base = kind == 'x' || kind == 'X' ? 16 : kind == 'b' || kind == 'B' ? 2 : 8;
    rest.remove_prefix(base != 8 || kind == 'o' || kind == 'O' ? 2 : 1);
  }
  std::uint64_t value = 0;
  const auto [end, ec] = std::from_chars(rest.data(), rest.data() + rest.size(), value, base);
  if (rest.empty() || ec != std::errc() || end != rest.data() + rest.size()) return false;
  if (!negative) {
    into = value;
    return true;
  }
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (value > most + 1) return false;
  into = value == most + 1 ? std::numeric_limits<std::int64_t>::min()
                           : -static_cast<std::int64_t>(value);
  return true;
}

// [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?
bool read_float(std::string_view text, json& into) {
  std::string digits(text);
  if (!text.starts_with('.')) std::erase(digits, '_');
  std::string_view rest = digits;
  const bool negative = rest.starts_with('-');
  if (negative || rest.starts_with('+')) rest.remove_prefix(1);
  if (rest.empty() || !(rest[0] == '.' || (rest[0] >= '0' && rest[0] <= '9'))) return false;
  if (rest[0] == '.' && (rest.size() == 1 || rest[1] < '0' || rest[1] > '9')) return false;
  double value = 0;
  const auto [end, ec] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  if (ec != std::errc() || end != rest.data() + rest.size()) return false;
  into = negative ? -value : value;
  return true;
}

json plain_scalar(const std::string& text) {
  if (is_any_of(text, {"", "~", "null", "Null", "NULL"})) return nullptr;
  if (is_any_of(text, {"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})) {
    return true;
  }
  if (is_any_of(text,
                {"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})) {
    return false;
  }
  const char first = text.front();
  if ((first >= '0' && first <= '9') || first == '+' || first == '-' || first == '.') {
    json number;
    if (read_integer(text, number) || read_float(text, number)) return number;
  }
  return text;
}

class builder : public YAML::EventHandler {
 public:
  builder(std::string_view origin, const yaml_limits& limits, std::vector<std::string>& warnings)
      : origin_(origin), limits_(limits), warnings_(warnings) {}

  json take() { return std::exchange(root_, nullptr); }

  // Anchors end with their document; the budget does not.
  void OnDocumentStart(const YAML::Mark&) override { anchors_.clear(); }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add(mark, anchor, {nullptr, {1, 0}}, "");
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) fail(mark, "an alias inside of what it stands for");
    // The text of it is charged once more: that is what bounds an alias bomb.
    charge(mark, found->second.cost);
    const json& value = found->second.value;
    std::string key;
    if (value.is_string()) {
      key = value.get<std::string>();
    } else if (!value.is_structured()) {
      key = value.dump();
    }
    add(mark, 0, found->second, key);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& text) override {
    json value = text;
    if (tag == "?" || tag.empty()) value = plain_scalar(text);
    if (tag.starts_with(core_tag) && tag != "tag:yaml.org,2002:str" &&
        tag != "tag:yaml.org,2002:binary") {
      value = plain_scalar(text);
    }
    const bool merges = tag == "?" && text == "<<";
    charge(mark, {1, text.size()});
    add(mark, anchor, {std::move(value), {1, text.size()}}, text, merges);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, anchor, json::array());
  }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, anchor, json::object());
  }
  void OnSequenceEnd() override { close(); }
  void OnMapEnd() override { close(); }

 private:
  struct weight {
    std::size_t values = 0;
    std::size_t bytes = 0;
  };
  struct weighed {
    json value;
    weight cost;
  };
  // A collection that is being read.
  struct frame {
    json value;
    YAML::Mark mark;
    YAML::anchor_t anchor = 0;
    weight cost = {1, 0};
    bool has_key = false;
    bool merges = false;
    std::string key = {};
    std::vector<json> merged = {};
  };

  [[noreturn]] void fail(const YAML::Mark& mark, std::string_view why,
                         errc code = errc::invalid_argument) const {
    throw error(code, place(mark), why);
  }

  std::string place(const YAML::Mark& mark) const {
    return std::string(origin_) + ":" + std::to_string(mark.line + 1) + ":" +
           std::to_string(mark.column + 1);
  }

  void charge(const YAML::Mark& mark, const weight& cost) {
    total_.values += cost.values;
    total_.bytes += cost.bytes;
    if (total_.values > limits_.max_values) {
      fail(mark, "more than " + std::to_string(limits_.max_values) + " values, aliases written out",
           errc::resource_exhausted);
    }
    if (total_.bytes > 2 * limits_.max_bytes) {
      fail(mark, "its aliases written out, it is too large", errc::resource_exhausted);
    }
  }

  void open(const YAML::Mark& mark, YAML::anchor_t anchor, json value) {
    if (stack_.size() >= limits_.max_depth) {
      fail(mark, "nested deeper than " + std::to_string(limits_.max_depth) + " levels",
           errc::resource_exhausted);
    }
    if (!stack_.empty() && stack_.back().value.is_object() && !stack_.back().has_key) {
      fail(mark, "a key must be text, not a collection");
    }
    charge(mark, {1, 0});
    stack_.push_back({std::move(value), mark, anchor});
  }

  void close() {
    frame done = std::move(stack_.back());
    stack_.pop_back();
    for (json& other : done.merged) {
      for (auto& [key, value] : other.items()) {
        // What the mapping says itself comes first.
        if (!done.value.contains(key)) done.value[key] = std::move(value);
      }
    }
    add(done.mark, done.anchor, {std::move(done.value), done.cost}, "");
  }

  void add(const YAML::Mark& mark, YAML::anchor_t anchor, weighed what, const std::string& text,
           bool merges = false) {
    if (anchor != 0) {
      charge(mark, what.cost);
      anchors_.insert_or_assign(anchor, what);
    }
    if (stack_.empty()) {
      root_ = std::move(what.value);
      return;
    }
    frame& into = stack_.back();
    into.cost.values += what.cost.values;
    into.cost.bytes += what.cost.bytes;
    if (into.value.is_array()) {
      into.value.push_back(std::move(what.value));
    } else if (!into.has_key) {
      if (what.value.is_structured() || what.value.is_null()) {
        fail(mark, "a key must be text, neither a collection nor nothing");
      }
      // As Go does it, the text of what a plain key means: `on` is "true", 0x10 is "16".
      into.key =
          what.value.is_boolean() || what.value.is_number_integer() ? what.value.dump() : text;
      into.has_key = true;
      into.merges = merges;
    } else {
      into.has_key = false;
      if (into.merges) return merge(mark, into, std::move(what.value));
      if (into.value.contains(into.key)) {
        warnings_.push_back(place(mark) + ": the key '" + into.key +
                            "' is there twice in one mapping; the first value is lost");
      }
      into.value[into.key] = std::move(what.value);
    }
  }

  void merge(const YAML::Mark& mark, frame& into, json what) {
    if (what.is_object()) what = json::array({std::move(what)});
    if (!what.is_array()) fail(mark, "'<<' needs a mapping or a list of mappings");
    for (json& each : what) {
      if (!each.is_object()) fail(mark, "'<<' needs a mapping or a list of mappings");
      into.merged.push_back(std::move(each));
    }
  }

  std::string_view origin_;
  const yaml_limits& limits_;
  std::vector<std::string>& warnings_;
  std::vector<frame> stack_;
  std::map<YAML::anchor_t, weighed> anchors_;
  weight total_;
  json root_;
};

}  // namespace

namespace {

// Reads documents with `read(parser, builder)`; what the parser throws becomes an error.
template <class Read>
void parse(std::string_view text, std::string_view origin, const yaml_limits& limits,
           std::vector<std::string>& warnings, Read read) {
  if (text.size() > limits.max_bytes) {
    throw error(errc::resource_exhausted, origin,
                "larger than " + std::to_string(limits.max_bytes >> 20) + " MiB");
  }
  std::istringstream stream{std::string(text)};
  builder into(origin, limits, warnings);
  try {
    YAML::Parser parser(stream);
    read(parser, into);
  } catch (const YAML::Exception& e) {
    std::string subject(origin);
    if (!e.mark.is_null()) {
      subject += ":" + std::to_string(e.mark.line + 1) + ":" + std::to_string(e.mark.column + 1);
    }
    throw error(errc::invalid_argument, subject, "no YAML: " + e.msg);
  }
}

}  // namespace

json yaml_to_json(std::string_view text, std::string_view origin, const yaml_limits& limits,
                  std::vector<std::string>& warnings) {
  json document;
  parse(text, origin, limits, warnings, [&](YAML::Parser& parser, builder& into) {
    parser.HandleNextDocument(into);
    document = into.take();
    if (parser) {
      warnings.push_back(std::string(origin) + ": what follows the first YAML document is ignored");
    }
  });
  return document;
}

std::vector<json> yaml_documents(std::string_view text, std::string_view origin,
                                 const yaml_limits& limits, std::vector<std::string>& warnings) {
  std::vector<json> documents;
  parse(text, origin, limits, warnings, [&](YAML::Parser& parser, builder& into) {
    while (parser.HandleNextDocument(into)) documents.push_back(into.take());
  });
  return documents;
}

}  // namespace mizzen::kubernetes::detail
