#include "kubernetes/watch_machine.hpp"

#include <algorithm>
#include <utility>

namespace mizzen::kubernetes::detail {
namespace {

// A watch that lived this long was a success, whatever ended it.
constexpr std::chrono::milliseconds long_life{5'000};
// A server that says so often that it has not seen the version yet has lost it (a restored etcd).
constexpr int too_large_limit = 4;
// Streamed lists that fail so often in a row are given up for pages.
constexpr int stream_limit = 3;

bool mended_by_no_retry(int code) {
  return code == 400 || code == 401 || code == 403 || code == 404 || code == 405 || code == 406 ||
         code == 415 || code == 422;
}

}  // namespace

watch_machine::watch_machine(watch_machine_options options)
    : options_(std::move(options)), random_(options_.seed * 2 + 1) {
  if (!options_.resource_version.empty()) {
    version_ = options_.resource_version;
    positioned_ = true;
  }
}

std::uint64_t watch_machine::random() {
  // splitmix64
  std::uint64_t z = (random_ += 0x9e3779b97f4a7c15U);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31);
}

std::chrono::milliseconds watch_machine::backoff() {
  const std::int64_t first = std::max<std::int64_t>(1, options_.first_backoff.count());
  const std::int64_t last = std::max<std::int64_t>(first, options_.last_backoff.count());
  std::int64_t wait = first;
  for (int i = 0; i < failures_ && wait < last; ++i) wait *= 2;
  wait = std::min(wait, last);
  failures_ = std::min(failures_ + 1, 64);
  // From half of it to all of it.
  const std::int64_t half = wait / 2;
  return std::chrono::milliseconds(
      wait - half + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(half + 1)));
}

watch_step watch_machine::next() {
  watch_step step;
  if (delay_.count() > 0) {
    step.what = watch_step::kind::wait;
    step.delay = std::exchange(delay_, std::chrono::milliseconds{0});
    return step;
  }
  const std::int64_t timeout = std::max<std::int64_t>(1, options_.server_timeout.count());
  step.timeout = std::chrono::seconds(
      timeout + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(timeout)));
  if (positioned_) {
    streaming_now_ = false;
    step.what = watch_step::kind::watch;
    step.resource_version = version_;
  } else if (options_.stream_lists) {
    streaming_now_ = true;
    restarted_said_ = false;
    step.what = watch_step::kind::watch;
    step.initial_events = true;
  } else {
    streaming_now_ = false;
    step.what = watch_step::kind::list;
    step.continue_token = continue_token_;
    step.limit = options_.page_size;
  }
  return step;
}

watch_verdict watch_machine::page(std::string_view resource_version,
                                  std::string_view continue_token) {
  watch_verdict verdict;
  verdict.restarted = !std::exchange(restarted_said_, true);
  verdict.deliver = true;
  received_ = true;
  continue_token_ = continue_token;
  if (continue_token_.empty()) {
    verdict.synced = true;
    version_ = resource_version;
    positioned_ = true;
    ever_synced_ = true;
    restarted_said_ = false;
    too_large_ = 0;
  }
  return verdict;
}

watch_verdict watch_machine::event(wire_kind kind, std::string_view resource_version,
                                   bool initial_events_end) {
  watch_verdict verdict;
  received_ = true;
  too_large_ = 0;
  if (in_initial_events()) {
    verdict.restarted = !std::exchange(restarted_said_, true);
    // The objects of a streamed list come in any order: only its end says where the watch is.
    verdict.deliver = kind != wire_kind::bookmark;
    if (kind == wire_kind::bookmark && initial_events_end) {
      verdict.synced = true;
      version_ = resource_version;
      positioned_ = true;
      ever_synced_ = true;
      stream_failures_ = 0;
    }
    return verdict;
  }
  // The version that the watch has already: a server or proxy that repeats itself.
  verdict.deliver = kind != wire_kind::bookmark && resource_version != version_;
  if (!resource_version.empty()) version_ = resource_version;
  return verdict;
}

void watch_machine::list_again() {
  positioned_ = false;
  streaming_now_ = false;
  restarted_said_ = false;
  continue_token_.clear();
}

bool watch_machine::failed(const watch_failure& why, std::chrono::milliseconds lived) {
  if (lived >= long_life) failures_ = 0;
  const bool was_streaming = in_initial_events();
  if (was_streaming) {
    const bool refused = why.what == watch_failure::kind::status &&
                         (why.code == 400 || why.code == 422 || why.code == 405);
    if (refused || why.what == watch_failure::kind::silence) {
      options_.stream_lists = false;
      list_again();
      return true;
    }
    // That nobody listens says nothing about streamed lists.
    const bool answered = why.what != watch_failure::kind::network || lived.count() > 0;
    if (answered && ++stream_failures_ >= stream_limit) options_.stream_lists = false;
    list_again();
  }

  bool at_once = false;
  if (why.what == watch_failure::kind::malformed) {
    list_again();
  } else if (why.what == watch_failure::kind::status) {
    if (why.code == 410) {
      // Once it is simply time for another list; again and again it is trouble.
      at_once = failures_ == 0;
      list_again();
    } else if (why.version_too_large) {
      if (++too_large_ >= too_large_limit) list_again();
    } else if (mended_by_no_retry(why.code)) {
      if (!received_) return false;
      // 401: credentials are refreshed with the next attempt, and the watch goes on.
      if (why.code != 401) list_again();
      at_once = why.code == 401 && failures_ == 0;
    }
  }
  if (at_once) {
    ++failures_;
  } else {
    delay_ = std::max(backoff(), why.retry_after);
  }
  return true;
}

void watch_machine::ended(std::chrono::milliseconds lived) {
  if (in_initial_events()) {
    // A server that does not know of streamed lists ends the watch without ever ending the list.
    options_.stream_lists = false;
    list_again();
    return;
  }
  if (lived >= long_life) {
    failures_ = 0;
  } else {
    delay_ = backoff();
  }
}

}  // namespace mizzen::kubernetes::detail
