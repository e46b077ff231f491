// Folders of other programs as sources of a transfer.
#pragma once

#include "tracking/transfer_source.hpp"

#include <filesystem>
#include <memory>
#include <string>

namespace mizzen::tracking::detail {

// See import.hpp. The folder is there.
std::unique_ptr<transfer_source> make_tensorboard_source(const std::filesystem::path& folder,
                                                         std::string experiment);
// Throws error(invalid_argument) for a folder that is no file store.
std::unique_ptr<transfer_source> make_file_store_source(const std::filesystem::path& folder);

}  // namespace mizzen::tracking::detail
