// The models that a server knows, and what is counted about each.
#pragma once

#include "serving/metrics.hpp"

#include <mizzen/serving/model.hpp>

#include <array>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::serving::detail {

// The statuses that an inference request can end with; others are counted as 500.
inline constexpr std::array<int, 9> infer_statuses = {200, 400, 413, 415, 499, 500, 501, 503, 504};

struct served_model {
  std::string name;
  std::string version;
  std::shared_ptr<const model> what;

  std::array<counter, infer_statuses.size()> requests;
  histogram duration;  // from the request's arrival to its answer
  histogram waited;    // in the queue

  void count(int status, std::chrono::nanoseconds took) noexcept;
};

// Versions that are numbers are in the order of the numbers, and after those that are not.
struct version_less {
  using is_transparent = void;
  bool operator()(std::string_view a, std::string_view b) const noexcept;
};

// Thread safe.
class repository {
 public:
  // Throws as server::add_model.
  void add(std::string name, std::string version, std::shared_ptr<const model> what);
  bool remove(std::string_view name, std::string_view version);

  // The newest version if none is given. Throws error(not_found) that says what there is.
  std::shared_ptr<served_model> find(std::string_view name, std::string_view version) const;
  std::vector<std::string> versions(std::string_view name) const;
  std::vector<std::shared_ptr<served_model>> all() const;

 private:
  using version_map = std::map<std::string, std::shared_ptr<served_model>, version_less>;

  mutable std::shared_mutex mutex_;
  std::map<std::string, version_map, std::less<>> models_;
};

}  // namespace mizzen::serving::detail
