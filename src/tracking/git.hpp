// A Git repository's state, read from its files (gitrepository-layout(5)).
#pragma once

#include <mizzen/tracking/process_facts.hpp>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace mizzen::tracking::detail {

// Of the repository that a folder is in, or nothing.
std::optional<git_facts> read_git(const std::filesystem::path& folder, bool with_dirty);

// The URL of remote "origin" in a configuration file, else of the first remote.
std::string remote_url(std::string_view config);

// "https://user:secret@host/x" without "user:secret@". Other forms are unchanged.
std::string without_credentials(std::string_view url);

}  // namespace mizzen::tracking::detail
