// What the objects of a submission tell: pure functions over what the server gave.
#pragma once

#include <mizzen/kubernetes/options.hpp>
#include <mizzen/kubernetes/submission.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::kubernetes::detail {

submission_status status_of(const batch_v1::job& job);
submission_status status_of(const core_v1::pod& pod);

// How the containers of these pods ended, failures first, at most `most` of them.
std::vector<container_exit> exits_of(const std::vector<core_v1::pod>& pods,
                                     std::size_t most = 1000);

outcome lost(std::string_view kind, std::string_view name);

// Keeps an object from running until it is on record; false where that is not for us to do.
bool hold(batch_v1::job& job);
bool hold(core_v1::pod& pod);
// Lets it run, if it is still the object with this uid.
kubernetes::patch release(const batch_v1::job& job);
kubernetes::patch release(const core_v1::pod& pod);
bool is_held(const meta_v1::object_meta& metadata);

// "sha256:<64 digits>"
std::string digest_of(std::string_view bytes);

// Of what the user asked for: all of the object but its status.
template <class K>
std::string spec_hash(const K& object) {
  auto value = to_json_value(object);
  value.erase("status");
  return digest_of(value.dump());
}

std::string submission_id(std::string_view kind, std::string_view namespace_,
                          std::string_view name);
std::string keyed_name(std::string_view name, std::string_view key);

}  // namespace mizzen::kubernetes::detail
