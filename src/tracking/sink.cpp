#include "tracking/sink.hpp"

#include <mizzen/core/time.hpp>

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace mizzen::tracking::detail {
namespace {

class store_sink final : public metric_sink {
 public:
  explicit store_sink(std::shared_ptr<backend> store) : store_(std::move(store)) {}

  void interrupt() noexcept override { store_->interrupt(); }

  delivery write(std::span<const log_entry> entries, const log_part&) override {
    // Metrics commute with everything; tags, parameters and ends of one run keep their order.
    points_.clear();
    std::map<std::string_view, batch> others;
    std::vector<const log_entry*> ends;
    for (const log_entry& entry : entries) {
      if (entry.kind == wal_kind::point) {
        points_.push_back({entry.run, entry.key, entry.value, entry.step, entry.timestamp});
      } else if (entry.kind == wal_kind::status) {
        ends.push_back(&entry);
      } else {
        add(entry, others[entry.run]);
      }
    }
    if (!points_.empty()) store_->log_points(points_);
    for (const auto& [run, values] : others) store_->log_batch(run, {}, values.params, values.tags);
    for (const log_entry* entry : ends) {
      store_->end_run(entry->run, parse_run_status(entry->text), entry->timestamp);
    }
    return delivery::done;
  }

 private:
  void add(const log_entry& entry, batch& values) {
    string_map& into = entry.kind == wal_kind::param ? values.params : values.tags;
    const auto there = into.find(std::string(entry.key));
    // The second value of a parameter is for the store to refuse.
    const bool clash = there != into.end() && entry.kind == wal_kind::param;
    if (clash || values.params.size() + values.tags.size() == 100) {
      store_->log_batch(entry.run, {}, values.params, values.tags);
      values = {};
    }
    into[std::string(entry.key)] = entry.text;
  }

  std::shared_ptr<backend> store_;
  std::vector<logged_point> points_;
};

}  // namespace

bool is_rejection(errc code) noexcept {
  switch (code) {
    case errc::invalid_argument:
    case errc::not_found:
    case errc::already_exists:
    case errc::failed_precondition:
    case errc::out_of_range:
    case errc::unimplemented:
      return true;
    default:
      return false;
  }
}

std::unique_ptr<metric_sink> make_store_sink(std::shared_ptr<backend> store) {
  return std::make_unique<store_sink>(std::move(store));
}

}  // namespace mizzen::tracking::detail
