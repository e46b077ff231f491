#include "core/base64.hpp"
#include "kubernetes/files.hpp"
#include "kubernetes/yaml.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/kubeconfig.hpp>

#include <algorithm>
#include <cstdio>
#include <utility>

namespace mizzen::kubernetes {
namespace {

namespace fs = std::filesystem;
using namespace detail;

// A value of the document and where it is, so that errors name the field.
class node {
 public:
  node(const json* value, std::string_view origin, std::string path)
      : value_(value), origin_(origin), path_(std::move(path)) {}

  [[noreturn]] void fail(std::string_view why) const {
    throw error(errc::invalid_argument, place(), why);
  }
  std::string place() const {
    return path_.empty() ? std::string(origin_) : std::string(origin_) + ": " + path_;
  }
  std::string_view origin() const noexcept { return origin_; }

  // Absent and null are the same, as Go reads it.
  bool exists() const noexcept { return value_ != nullptr && !value_->is_null(); }
  const json& value() const noexcept { return *value_; }

  // A member of a mapping. A mapping that is absent has no members.
  node operator[](const char* key) const {
    std::string path = path_.empty() ? std::string(key) : path_ + "." + key;
    if (!exists()) return {nullptr, origin_, std::move(path)};
    if (!value_->is_object()) fail("must be a mapping, but is " + kind());
    const auto found = value_->find(key);
    return {found == value_->end() ? nullptr : &*found, origin_, std::move(path)};
  }

  // The elements of a list.
  template <typename Visit>
  void each(Visit visit) const {
    if (!exists()) return;
    if (!value_->is_array()) fail("must be a list, but is " + kind());
    for (std::size_t i = 0; i < value_->size(); ++i) {
      visit(node(&(*value_)[i], origin_, path_ + "[" + std::to_string(i) + "]"));
    }
  }

  // The members of a mapping.
  template <typename Visit>
  void each_member(Visit visit) const {
    if (!exists()) return;
    if (!value_->is_object()) fail("must be a mapping, but is " + kind());
    for (const auto& [key, value] : value_->items()) {
      visit(key, node(&value, origin_, path_ + "." + key));
    }
  }

  std::string text() const {
    if (!exists()) return {};
    if (!value_->is_string()) {
      fail("must be text, but is " + kind() +
           (value_->is_primitive() ? "; put it into quotes" : ""));
    }
    return value_->get<std::string>();
  }

  bool boolean() const {
    if (!exists()) return false;
    if (!value_->is_boolean()) fail("must be true or false, but is " + kind());
    return value_->get<bool>();
  }

  std::vector<std::string> texts() const {
    std::vector<std::string> list;
    each([&](const node& element) { list.push_back(element.text()); });
    return list;
  }

  std::map<std::string, std::string> text_map() const {
    std::map<std::string, std::string> map;
    each_member([&](const std::string& key, const node& member) { map[key] = member.text(); });
    return map;
  }

  std::string bytes() const {
    std::optional<std::string> decoded = mizzen::detail::base64_decode(text());
    if (!decoded) fail("is not base64 (padded, on one line or wrapped)");
    return *std::move(decoded);
  }

 private:
  std::string kind() const {
    if (value_->is_array()) return "a list";
    if (value_->is_object()) return "a mapping";
    if (value_->is_boolean()) return "a truth value (yes, no, on, off, true, false)";
    if (value_->is_number()) return "a number";
    return "text";
  }

  const json* value_;
  std::string_view origin_;
  std::string path_;
};

class reader {
 public:
  explicit reader(const fs::path& folder) : folder_(folder) {}

  kubeconfig read(const node& document) const {
    const std::string kind = document["kind"].text();
    if (!kind.empty() && kind != "Config") {
      document["kind"].fail("is '" + kind + "', not 'Config': this is no kubeconfig");
    }
    const std::string version = document["apiVersion"].text();
    if (!version.empty() && version != "v1") {
      document["apiVersion"].fail("is '" + version + "', but kubeconfigs are 'v1'");
    }
    kubeconfig into;
    into.current_context = document["current-context"].text();
    into.extensions = extensions(document["extensions"]);
    read_named(document["clusters"], "cluster", into.clusters, &reader::cluster);
    read_named(document["users"], "user", into.users, &reader::user);
    read_named(document["contexts"], "context", into.contexts, &reader::context);
    return into;
  }

 private:
  template <typename T>
  void read_named(const node& list, const char* member, std::map<std::string, T>& into,
                  T (reader::*read_one)(const node&) const) const {
    list.each([&](const node& entry) {
      std::string name = entry["name"].text();
      if (into.contains(name)) entry["name"].fail("'" + name + "' is there twice");
      T value = (this->*read_one)(entry[member]);
      value.origin = entry[member].place();
      into.emplace(std::move(name), std::move(value));
    });
  }

  kubeconfig_cluster cluster(const node& from) const {
    return {.server = from["server"].text(),
            .tls_server_name = from["tls-server-name"].text(),
            .insecure_skip_tls_verify = from["insecure-skip-tls-verify"].boolean(),
            .certificate_authority = path(from["certificate-authority"].text()),
            .certificate_authority_data = from["certificate-authority-data"].bytes(),
            .proxy_url = from["proxy-url"].text(),
            .disable_compression = from["disable-compression"].boolean(),
            .extensions = extensions(from["extensions"])};
  }

  kubeconfig_user user(const node& from) const {
    kubeconfig_user into{.client_certificate = path(from["client-certificate"].text()),
                         .client_certificate_data = from["client-certificate-data"].bytes(),
                         .client_key = path(from["client-key"].text()),
                         .client_key_data = from["client-key-data"].bytes(),
                         .token = from["token"].text(),
                         .token_file = path(from["tokenFile"].text()),
                         .username = from["username"].text(),
                         .password = from["password"].text(),
                         .extensions = extensions(from["extensions"])};
    into.impersonate.user = from["as"].text();
    into.impersonate.uid = from["as-uid"].text();
    into.impersonate.groups = from["as-groups"].texts();
    from["as-user-extra"].each_member([&](const std::string& key, const node& values) {
      into.impersonate.extra[key] = values.texts();
    });
    if (const node provider = from["auth-provider"]; provider.exists()) {
      into.auth_provider.emplace();
      into.auth_provider->name = provider["name"].text();
      into.auth_provider->config = provider["config"].text_map();
    }
    if (const node exec = from["exec"]; exec.exists()) into.exec = plugin(exec);
    return into;
  }

  exec_plugin plugin(const node& from) const {
    exec_plugin into{.command = from["command"].text(),
                     .arguments = from["args"].texts(),
                     .api_version = from["apiVersion"].text(),
                     .install_hint = from["installHint"].text(),
                     .provide_cluster_info = from["provideClusterInfo"].boolean()};
    // A bare name is looked for in PATH; anything with a slash is a path.
    if (into.command.find('/') != std::string::npos) into.command = path(into.command).string();
    from["env"].each([&](const node& variable) {
      into.environment.emplace_back(variable["name"].text(), variable["value"].text());
    });
    const node mode = from["interactiveMode"];
    const std::string wanted = mode.text();
    if (wanted == "Never") {
      into.interactive = interactive_mode::never;
    } else if (wanted == "IfAvailable") {
      into.interactive = interactive_mode::if_available;
    } else if (wanted == "Always") {
      into.interactive = interactive_mode::always;
    } else if (wanted.empty()) {
      into.interactive.reset();
    } else {
      mode.fail("is '" + wanted + "', but must be Never, IfAvailable or Always");
    }
    return into;
  }

  kubeconfig_context context(const node& from) const {
    return {.cluster = from["cluster"].text(),
            .user = from["user"].text(),
            .namespace_ = from["namespace"].text(),
            .extensions = extensions(from["extensions"])};
  }

  std::map<std::string, json> extensions(const node& from) const {
    std::map<std::string, json> into;
    from.each([&](const node& entry) {
      std::string name = entry["name"].text();
      if (into.contains(name)) entry["name"].fail("'" + name + "' is there twice");
      const node extension = entry["extension"];
      into.emplace(std::move(name), extension.exists() ? extension.value() : json());
    });
    return into;
  }

  fs::path path(const std::string& text) const {
    if (text.empty() || folder_.empty()) return text;
    const fs::path as_written = text;
    return as_written.is_absolute() ? as_written : (folder_ / as_written).lexically_normal();
  }

  const fs::path& folder_;
};

constexpr yaml_limits limits = {kubeconfig::max_bytes, kubeconfig::max_depth,
                                kubeconfig::max_values};

// JSON is nearly YAML: tabs and some escapes are not. What begins like JSON is tried as such first.
std::optional<json> read_as_json(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || text[first] != '{') return std::nullopt;
  bool too_deep = false;
  std::size_t values = 0;
  const json::parser_callback_t bounded = [&](int depth, json::parse_event_t, json&) {
    if (static_cast<std::size_t>(depth) > kubeconfig::max_depth ||
        ++values > 2 * kubeconfig::max_values) {
      too_deep = true;
    }
    return !too_deep;
  };
  json value = json::parse(text, bounded, false);
  if (value.is_discarded() || too_deep) return std::nullopt;
  return value;
}

}  // namespace

kubeconfig kubeconfig::parse(std::string_view text, std::string_view origin,
                             const fs::path& folder) {
  if (text.size() > max_bytes) {
    throw error(errc::resource_exhausted, origin,
                "larger than " + std::to_string(max_bytes >> 20) + " MiB");
  }
  std::vector<std::string> warnings;
  std::optional<json> document = read_as_json(text);
  if (!document) document = yaml_to_json(text, origin, limits, warnings);
  kubeconfig config = reader(folder).read(node(&*document, origin, ""));
  config.warnings = std::move(warnings);
  return config;
}

kubeconfig kubeconfig::load(std::span<const fs::path> files) {
  kubeconfig all;
  for (const fs::path& file : files) {
    if (file.empty() ||
        std::find(all.searched.begin(), all.searched.end(), file) != all.searched.end()) {
      continue;
    }
    all.searched.push_back(file);
    const std::optional<file_content> content = read_file(file, max_bytes);
    if (!content) continue;
    std::error_code ec;
    const fs::path absolute = fs::absolute(file, ec);
    kubeconfig one = parse(content->text, file.string(), absolute.parent_path());
    one.found.push_back(file);
    if ((content->mode & 077) != 0) {
      char mode[8];
      std::snprintf(mode, sizeof mode, "%04o", content->mode & 07777);
      one.warnings.push_back(file.string() + ": others can read or write it (mode " + mode +
                             "), and it may hold secrets: chmod 600");
    }
    all.merge(std::move(one));
  }
  return all;
}

std::vector<fs::path> kubeconfig::default_files(const environment& from) {
  std::vector<fs::path> files;
  const std::string listed = read_variable(from, "KUBECONFIG").value_or("");
  if (listed.empty()) {
    const std::string home = read_variable(from, "HOME").value_or("");
    if (!home.empty()) files.push_back(fs::path(home) / ".kube" / "config");
    return files;
  }
  for (std::size_t begin = 0; begin <= listed.size();) {
    const std::size_t end = std::min(listed.find(':', begin), listed.size());
    if (end > begin) files.emplace_back(listed.substr(begin, end - begin));
    begin = end + 1;
  }
  return files;
}

void kubeconfig::merge(kubeconfig later) {
  if (current_context.empty()) current_context = std::move(later.current_context);
  clusters.merge(later.clusters);
  users.merge(later.users);
  contexts.merge(later.contexts);
  extensions.merge(later.extensions);
  const auto append = [](auto& into, auto& from) {
    into.insert(into.end(), std::make_move_iterator(from.begin()),
                std::make_move_iterator(from.end()));
  };
  append(warnings, later.warnings);
  append(searched, later.searched);
  append(found, later.found);
}

}  // namespace mizzen::kubernetes
