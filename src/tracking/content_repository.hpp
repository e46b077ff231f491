// Artifacts of a folder that are kept in a content store too.
#pragma once

#include "tracking/artifact_repository.hpp"

#include <mizzen/tracking/content_store.hpp>

#include <memory>
#include <string>

namespace mizzen::tracking::detail {

// As `folder`, but that what is put goes through the store, under the owner's name, and appears in
// the folder as a link to it or a copy. What is read is what the folder has.
std::shared_ptr<artifact_repository> content_repository(std::shared_ptr<artifact_repository> folder,
                                                        content_store contents, std::string owner);

}  // namespace mizzen::tracking::detail
