// Options of the verbs of the API, the same for every kind.
#pragma once

#include <mizzen/core/cancellation.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/kubernetes/client.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::kubernetes {

// How a resourceVersion given to a list is meant. Source: Kubernetes documentation, "API concepts".
enum class version_match : std::uint8_t {
  unset,  // as the server takes it: not older than
  exact,  // that very version; 410 when it is gone
  not_older_than,
};

// What the server does with fields that it does not know or that come twice.
enum class field_validation : std::uint8_t {
  unset,  // as the server takes it: warn
  ignore,
  warn,    // a warning for each, see client_options::on_warning
  strict,  // 400
};

// What becomes of the objects that a deleted one owns.
enum class propagation : std::uint8_t {
  unset,       // as the kind has it: background for most
  background,  // the owner goes at once, the garbage collector follows
  foreground,  // the owner goes after what it owns
  orphan,      // what it owns stays
};

struct get_options {
  // Empty: the newest. "0": whatever the server has in its cache, which may be old. Else not older
  // than that.
  std::string resource_version = {};
  mizzen::cancellation cancel = {};
};

struct list_options {
  std::string label_selector = {};  // "app=web,tier in (a, b)"; see selector
  std::string field_selector = {};  // "spec.nodeName=n1,status.phase!=Running"

  // The most objects of one answer; 0: all in one. With api::list, what is left is named by the
  // list's continue token; api::each and api::list_all go on by themselves.
  std::int64_t limit = 0;
  std::string continue_token = {};

  std::string resource_version = {};
  version_match match = version_match::unset;

  kubernetes::encoding encoding = encoding::automatic;
  mizzen::cancellation cancel = {};
};

// For create and replace.
struct write_options {
  bool dry_run = false;            // everything but storing it
  std::string field_manager = {};  // empty: the client's
  field_validation validation = field_validation::unset;
  mizzen::cancellation cancel = {};
};

struct apply_options {
  bool force = false;  // take fields over from other managers instead of a conflict
  bool dry_run = false;
  std::string field_manager = {};  // empty: the client's
  field_validation validation = field_validation::unset;
  mizzen::cancellation cancel = {};
};

using patch_options = write_options;

struct remove_options {
  propagation propagate = propagation::unset;
  std::optional<std::chrono::seconds> grace_period = {};  // 0 s: at once
  // Only if it is still this one; else 409.
  std::string uid = {};
  std::string resource_version = {};
  bool dry_run = false;
  mizzen::cancellation cancel = {};
};

enum class patch_type : std::uint8_t {
  json,       // RFC 6902: a list of operations
  merge,      // RFC 7396
  strategic,  // merge with the kind's own rules for lists; not for custom resources
};

// A change to an object.
class patch {
 public:
  // A list of operations: patch::json(R"([{"op": "add", "path": "/metadata/labels/a", "value":
  // "b"}])").
  static patch json(mizzen::json operations) { return {patch_type::json, operations.dump()}; }
  static patch merge(mizzen::json changes) { return {patch_type::merge, changes.dump()}; }
  static patch strategic(mizzen::json changes) { return {patch_type::strategic, changes.dump()}; }

  // text: JSON as it goes out.
  patch(patch_type type, std::string text) : type_(type), text_(std::move(text)) {}

  patch_type type() const noexcept { return type_; }
  const std::string& text() const noexcept { return text_; }
  std::string_view content_type() const noexcept;

 private:
  patch_type type_;
  std::string text_;
};

// Builds a label or field selector, and refuses what would change its meaning: keys and values that
// are no label's are error(invalid_argument).
//
//   selector{}.equals("app", "web").in("tier", {"a", "b"}).exists("gpu").text()
class selector {
 public:
  selector& equals(std::string_view key, std::string_view value);
  selector& not_equals(std::string_view key, std::string_view value);
  selector& in(std::string_view key, const std::vector<std::string>& values);
  selector& not_in(std::string_view key, const std::vector<std::string>& values);
  selector& exists(std::string_view key);
  selector& not_exists(std::string_view key);

  const std::string& text() const& noexcept { return text_; }
  std::string text() && noexcept { return std::move(text_); }

 private:
  selector& append(std::string term);
  std::string text_;
};

// One field selector's term or several: field_selector{}.equals("metadata.name", "a"). Backslash,
// comma and equals sign in values are escaped.
class field_selector {
 public:
  field_selector& equals(std::string_view path, std::string_view value);
  field_selector& not_equals(std::string_view path, std::string_view value);

  const std::string& text() const& noexcept { return text_; }
  std::string text() && noexcept { return std::move(text_); }

 private:
  field_selector& append(std::string_view path, std::string_view sign, std::string_view value);
  std::string text_;
};

}  // namespace mizzen::kubernetes
