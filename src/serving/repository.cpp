#include "serving/repository.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>

namespace mizzen::serving::detail {
namespace {

std::optional<std::uint64_t> as_number(std::string_view text) noexcept {
  std::uint64_t value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

template <typename Map>
std::string keys_of(const Map& map) {
  std::string text;
  for (const auto& [key, value] : map) text += (text.empty() ? "'" : ", '") + key + "'";
  return text.empty() ? "none" : text;
}

}  // namespace

void served_model::count(int status, std::chrono::nanoseconds took) noexcept {
  const auto found = std::ranges::find(infer_statuses, status);
  const auto other = std::ranges::find(infer_statuses, 500);
  const auto index = (found == infer_statuses.end() ? other : found) - infer_statuses.begin();
  requests[static_cast<std::size_t>(index)].add();
  duration.observe(took);
}

bool version_less::operator()(std::string_view a, std::string_view b) const noexcept {
  const auto left = as_number(a);
  const auto right = as_number(b);
  if (left && right && *left != *right) return *left < *right;
  if (left.has_value() != right.has_value()) return right.has_value();
  return a < b;
}

void repository::add(std::string name, std::string version, std::shared_ptr<const model> what) {
  if (name.empty()) throw error(errc::invalid_argument, "name", "a model needs a name");
  if (version.empty()) throw error(errc::invalid_argument, "version", "a model needs a version");
  if (!what) throw error(errc::invalid_argument, "model '" + name + "'", "there is no model");
  auto made = std::make_shared<served_model>();
  made->name = name;
  made->version = version;
  made->what = std::move(what);
  const std::unique_lock lock(mutex_);
  const auto [at, is_new] = models_[name].try_emplace(std::move(version), std::move(made));
  if (!is_new) {
    throw error(errc::already_exists, "model '" + name + "'",
                "version '" + at->first + "' is served already; remove it first");
  }
}

bool repository::remove(std::string_view name, std::string_view version) {
  const std::unique_lock lock(mutex_);
  const auto model = models_.find(name);
  if (model == models_.end()) return false;
  const auto found = model->second.find(version);
  if (found == model->second.end()) return false;
  model->second.erase(found);
  if (model->second.empty()) models_.erase(model);
  return true;
}

std::shared_ptr<served_model> repository::find(std::string_view name,
                                               std::string_view version) const {
  const std::shared_lock lock(mutex_);
  const auto model = models_.find(name);
  if (model == models_.end()) {
    throw error(errc::not_found, "model '" + std::string(name.substr(0, 128)) + "'",
                "is not served here; there is " + keys_of(models_));
  }
  if (version.empty()) return model->second.rbegin()->second;
  const auto found = model->second.find(version);
  if (found == model->second.end()) {
    throw error(errc::not_found, "model '" + model->first + "'",
                "has no version '" + std::string(version.substr(0, 128)) + "'; there is " +
                    keys_of(model->second));
  }
  return found->second;
}

std::vector<std::string> repository::versions(std::string_view name) const {
  const std::shared_lock lock(mutex_);
  std::vector<std::string> list;
  const auto model = models_.find(name);
  if (model == models_.end()) return list;
  for (const auto& [version, served] : model->second) list.push_back(version);
  return list;
}

std::vector<std::shared_ptr<served_model>> repository::all() const {
  const std::shared_lock lock(mutex_);
  std::vector<std::shared_ptr<served_model>> list;
  for (const auto& [name, versions] : models_) {
    for (const auto& [version, served] : versions) list.push_back(served);
  }
  return list;
}

}  // namespace mizzen::serving::detail
