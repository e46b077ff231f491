#include <mizzen/core/error.hpp>
#include <mizzen/pipelines/context.hpp>

#include <utility>

namespace mizzen::pipelines {

context::context(state values) : state_(std::move(values)) {}

std::filesystem::path context::scratch() const {
  std::error_code problem;
  std::filesystem::create_directories(state_.scratch, problem);
  if (problem) {
    throw error(errc::unavailable, state_.scratch.string(),
                "the scratch folder cannot be made: " + problem.message());
  }
  return state_.scratch;
}

void context::progress(std::string_view text) const noexcept {
  try {
    if (state_.progress) state_.progress(text);
  } catch (...) {  // only words for the observer are lost
  }
}

}  // namespace mizzen::pipelines
