#include "tracking/uri.hpp"

#include "tracking/validate.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <cctype>
#include <cstdlib>

namespace mizzen::tracking::detail {
namespace {

// The scheme of a URI ("https"), or empty for a path.
std::string_view scheme_of(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0) return {};
  const std::string_view scheme = text.substr(0, colon);
  const bool well_formed = std::all_of(scheme.begin(), scheme.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '+' || c == '-' || c == '.';
  });
  return well_formed && std::isalpha(static_cast<unsigned char>(scheme[0])) != 0
             ? scheme
             : std::string_view{};
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string percent_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 &&
        hex_digit(text[i + 2]) >= 0) {
      out += static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

std::string tracking_uri(std::string_view uri) {
  if (!uri.empty()) return std::string(uri);
  const char* from_environment = std::getenv("MLFLOW_TRACKING_URI");
  return from_environment != nullptr && *from_environment != '\0' ? from_environment
                                                                  : "sqlite:///mlflow.db";
}

bool is_server_uri(std::string_view uri) noexcept {
  const auto has_scheme = [uri](std::string_view scheme) {
    return uri.size() > scheme.size() && uri[scheme.size()] == ':' &&
           std::equal(scheme.begin(), scheme.end(), uri.begin(), [](char a, unsigned char b) {
             return a == static_cast<char>(std::tolower(b));
           });
  };
  return has_scheme("http") || has_scheme("https");
}

std::filesystem::path store_path(std::string_view given) {
  const std::string uri_text = tracking_uri(given);
  const std::string_view uri = uri_text;
  check_text("tracking uri", uri);
  const std::string_view scheme = scheme_of(uri);
  std::string_view path = uri;
  if (scheme == "http" || scheme == "https") {
    throw error(
        errc::unimplemented, "tracking uri",
        "'" + std::string(uri) +
            "' is a tracking server, which this build of Mizzen cannot talk to (it was made "
            "with MIZZEN_HTTP=OFF); name a store file, as sqlite:///mlflow.db");
  }
  if (scheme == "sqlite") {
    constexpr std::string_view prefix = "sqlite:///";
    if (!uri.starts_with(prefix)) {
      throw error(errc::invalid_argument, "tracking uri",
                  "'" + std::string(uri) +
                      "' needs three slashes before a relative path and four before an absolute "
                      "one: sqlite:///mlflow.db, sqlite:////data/mlflow.db");
    }
    path = uri.substr(prefix.size());
  } else if (!scheme.empty()) {
    throw error(errc::unimplemented, "tracking uri",
                "the scheme of '" + std::string(uri) + "' is not supported; use sqlite:///<file>");
  }
  if (path.empty() || path == ":memory:") {
    throw error(errc::invalid_argument, "tracking uri",
                "'" + std::string(uri) +
                    "' names no file; an in-memory store would lose what is acknowledged");
  }
  if (path.find('?') != std::string_view::npos) {
    throw error(errc::invalid_argument, "tracking uri",
                "'" + std::string(uri) +
                    "' has a '?', which MLflow would read as the start of options; name the file "
                    "without one");
  }
  return std::filesystem::absolute(std::filesystem::path(path)).lexically_normal();
}

std::string store_uri(const std::filesystem::path& path) { return "sqlite:///" + path.string(); }

std::string resolve_artifact_location(std::string_view location) {
  check_text("artifact location", location);
  if (scheme_of(location) == "runs") {
    throw error(errc::invalid_argument, "artifact location",
                "'" + std::string(location) + "' must not be a runs:/ URI");
  }
  if (!scheme_of(location).empty()) return std::string(location);
  auto path = std::filesystem::absolute(std::filesystem::path(location)).lexically_normal();
  std::string text = path.string();
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

std::optional<std::filesystem::path> local_folder(std::string_view location) {
  const std::string_view scheme = scheme_of(location);
  if (scheme.empty()) return std::filesystem::path(location);
  if (scheme != "file") return std::nullopt;
  std::string_view path = location.substr(5);
  if (path.starts_with("//")) {
    path.remove_prefix(2);
    const auto slash = path.find('/');
    if (slash == std::string_view::npos) return std::nullopt;
    const std::string_view host = path.substr(0, slash);
    if (!host.empty() && host != "localhost") return std::nullopt;
    path.remove_prefix(slash);
  }
  return std::filesystem::path(percent_decode(path));
}

std::string append_location(std::string_view location, std::string_view part) {
  std::string text(location);
  if (part.empty()) return text;
  if (!text.ends_with('/')) text += '/';
  return text.append(part);
}

}  // namespace mizzen::tracking::detail
