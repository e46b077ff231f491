// Who leads, by the rules of a Lease. No socket, no clock.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace mizzen::kubernetes::detail {

// What a Lease says.
struct lease_record {
  std::string holder = {};
  std::optional<std::chrono::seconds> duration = {};
  std::optional<std::chrono::sys_time<std::chrono::microseconds>> acquired = {};
  std::optional<std::chrono::sys_time<std::chrono::microseconds>> renewed = {};
  std::int32_t transitions = 0;
  std::string resource_version = {};

  friend bool operator==(const lease_record&, const lease_record&) = default;
};

// One candidate. The caller reads and writes the Lease and tells what came of it; times are of one
// steady clock but for `wall`, which is written down for people and never compared.
//
// Why no two lead at once: a holder counts its term from before it sent the request that was a
// success, everyone else from after they have seen its effect, and both for the duration that
// stands in the Lease.
class election_machine {
 public:
  using time_point = std::chrono::steady_clock::time_point;
  using wall_time = std::chrono::sys_time<std::chrono::microseconds>;

  election_machine(std::string identity, std::chrono::milliseconds lease_duration,
                   std::chrono::milliseconds renew_deadline)
      : identity_(std::move(identity)),
        lease_duration_(lease_duration),
        renew_deadline_(renew_deadline) {}

  // The Lease was read (nothing: it is not there); now: after the answer.
  void observed(const std::optional<lease_record>& record, time_point now) {
    // That it has changed is all that is known of when.
    if (!seen_any_ || seen_ != record) observed_at_ = now;
    seen_any_ = true;
    seen_ = record;
    if (!seen_ || seen_->holder != identity_) leading_ = false;
  }

  // True if the Lease is free for this candidate, or its own.
  bool may_write(time_point now) const {
    if (!seen_any_) return false;
    if (!seen_ || seen_->holder.empty() || seen_->holder == identity_) return true;
    return now >= observed_at_ + term(*seen_);
  }

  // What to write. With the resource version of what was seen, so that a race has one winner.
  lease_record claim(wall_time wall) const {
    lease_record mine;
    mine.holder = identity_;
    mine.duration = std::chrono::ceil<std::chrono::seconds>(lease_duration_);
    mine.renewed = wall;
    mine.acquired = wall;
    if (seen_) {
      mine.resource_version = seen_->resource_version;
      mine.transitions = seen_->transitions;
      if (seen_->holder == identity_) {
        if (seen_->acquired) mine.acquired = seen_->acquired;
      } else {
        ++mine.transitions;
      }
    }
    return mine;
  }

  // What to write to give it up; nothing if it is not ours to give.
  std::optional<lease_record> release(wall_time wall) const {
    if (!leading_ || !seen_ || seen_->holder != identity_) return std::nullopt;
    lease_record free = *seen_;
    free.holder.clear();
    free.duration = std::chrono::seconds(1);
    free.renewed = wall;
    free.acquired = wall;
    return free;
  }

  // The write was a success, and this is what stands there now. sent: before the request.
  void written(const lease_record& record, time_point sent, time_point now) {
    seen_any_ = true;
    seen_ = record;
    observed_at_ = now;
    leading_ = record.holder == identity_;
    if (leading_) held_from_ = sent;
  }

  // Conflict or no answer: what was seen is no longer what there is.
  void outdated() { current_ = false; }
  void up_to_date() { current_ = true; }
  // The next renewal can be written without reading first.
  bool can_renew_at_once() const { return current_ && leading_; }

  // Leads, and no other can think that it is its turn.
  bool leads(time_point now) const { return leading_ && now < held_from_ + lease_duration_; }
  // Until when a renewal must have been a success; later it steps down.
  time_point renew_until() const { return held_from_ + renew_deadline_; }
  bool leading() const { return leading_; }
  void step_down() { leading_ = false; }

  const std::string& identity() const { return identity_; }
  std::string leader() const { return seen_ ? seen_->holder : std::string(); }

 private:
  std::chrono::milliseconds term(const lease_record& record) const {
    return record.duration ? std::chrono::milliseconds(*record.duration) : lease_duration_;
  }

  std::string identity_;
  std::chrono::milliseconds lease_duration_, renew_deadline_;
  bool seen_any_ = false;
  std::optional<lease_record> seen_;
  time_point observed_at_;
  bool current_ = false;
  bool leading_ = false;
  time_point held_from_;
};

}  // namespace mizzen::kubernetes::detail
