#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/resource.hpp>

namespace mizzen::kubernetes {
namespace {

// A segment of the path: what RFC 3986 does not let stand there as it is becomes %XX.
void append_segment(std::string& path, std::string_view segment, std::string_view what) {
  if (segment == "." || segment == ".." || segment.find('/') != std::string_view::npos) {
    throw error(errc::invalid_argument, segment,
                "this cannot be a " + std::string(what) + ": it would change the path of the URL");
  }
  constexpr std::string_view hex = "0123456789ABCDEF";
  constexpr std::string_view allowed =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@";
  path += '/';
  for (const char c : segment) {
    if (allowed.find(c) != std::string_view::npos) {
      path += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      path += '%';
      path += hex[byte >> 4];
      path += hex[byte & 0xF];
    }
  }
}

}  // namespace

std::string resource_info::path(std::string_view namespace_, std::string_view name,
                                std::string_view subresource) const {
  if (!namespace_.empty() && !namespaced) {
    throw error(
        errc::invalid_argument, kind,
        "it is not namespaced, but the namespace \"" + std::string(namespace_) + "\" was given");
  }
  if (name.empty() && !subresource.empty()) {
    throw error(errc::invalid_argument, kind,
                "the subresource \"" + std::string(subresource) + "\" needs the name of an object");
  }
  std::string path = group.empty() ? "/api" : "/apis";
  if (!group.empty()) append_segment(path, group, "group");
  append_segment(path, version, "version");
  if (!namespace_.empty()) {
    path += "/namespaces";
    append_segment(path, namespace_, "namespace");
  }
  append_segment(path, plural, "resource");
  if (!name.empty()) append_segment(path, name, "name");
  // Some have several segments: "proxy/…", which callers append themselves.
  if (!subresource.empty()) append_segment(path, subresource, "subresource");
  return path;
}

}  // namespace mizzen::kubernetes
