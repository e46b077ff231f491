// YAML files of objects: read, and applied.
#pragma once

#include <mizzen/kubernetes/discovery.hpp>
#include <mizzen/kubernetes/dynamic_object.hpp>
#include <mizzen/kubernetes/options.hpp>

#include <boost/asio/awaitable.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace mizzen::kubernetes {

// The objects of a manifest: YAML of several documents, or JSON. Lists are taken apart, empty
// documents left out. Scalars get their types as kubectl gives them: a quoted one stays a string.
// origin: the file's name, for errors. Throws error(invalid_argument) with line and column for what
// is no YAML or has a key twice, and with the document's number for what is no object with
// apiVersion and kind.
std::vector<dynamic_object> parse_manifest(std::string_view text,
                                           std::string_view origin = "manifest");

// Applies (server side) every object of a manifest, in its order, each to the resource that its
// apiVersion and kind mean; what has no namespace goes into the one given, or the client's. A kind
// whose CustomResourceDefinition the same manifest brings is waited for until the deadline. Ends at
// the first error; what was applied before stays. Gives the objects as the server has them.
boost::asio::awaitable<std::vector<dynamic_object>> apply_manifest(
    discovery kinds, std::string text, apply_options options = apply_options(),
    std::string namespace_ = {});

}  // namespace mizzen::kubernetes
