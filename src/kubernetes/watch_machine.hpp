// What a watch does next: list, watch, wait or give up. No socket, no clock, no objects.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace mizzen::kubernetes::detail {

struct watch_machine_options {
  bool stream_lists = true;
  std::int64_t page_size = 500;
  std::string resource_version = {};  // start here instead of with a list
  std::chrono::milliseconds first_backoff{800};
  std::chrono::milliseconds last_backoff{30'000};
  std::chrono::seconds server_timeout{300};
  std::uint64_t seed = 1;
};

// How an attempt failed, as far as it matters for what comes next.
struct watch_failure {
  enum class kind {
    network,    // refused, reset, cut off in the middle of an event
    silence,    // nothing came for too long
    malformed,  // what came is no event or no list
    status,     // the server said no: see code
  };
  kind what = kind::network;
  int code = 0;                    // HTTP status, or the code in an ERROR event
  bool version_too_large = false;  // the server has not yet seen the version that was asked for
  std::chrono::milliseconds retry_after{0};
};

// The next thing to do.
struct watch_step {
  enum class kind { list, watch, wait };
  kind what = kind::list;
  std::string resource_version = {};   // watch: resume after this
  bool initial_events = false;         // watch: get the list as events first
  std::string continue_token = {};     // list: the next page
  std::int64_t limit = 0;              // list: the size of a page, 0 is none
  std::chrono::seconds timeout{0};     // watch: how long to ask the server for
  std::chrono::milliseconds delay{0};  // wait
};

// What to do with something that arrived: in this order.
struct watch_verdict {
  bool restarted = false;  // say that all that there is follows
  bool deliver = false;    // hand on the object, or all objects of the page
  bool synced = false;     // say that the list is complete
};

enum class wire_kind { added, modified, deleted, bookmark };

// The rules:
// - After a list, or the bookmark that ends a streamed list, its version is where the watch is.
//   Each event and bookmark moves it on; a watch that ends goes on from there. So nothing is lost
//   or doubled, as the server sends exactly what is newer.
// - 410 (the server no longer knows that version) and whatever cannot be understood lead to another
//   list. A list always asks for the newest state (resourceVersion unset), never for a cached one:
//   it cannot go back in time.
// - A streamed list that the server refuses or does not end is replaced by pages for good.
// - Failures are answered with a growing pause, but for those after a long life.
class watch_machine {
 public:
  explicit watch_machine(watch_machine_options options);

  // What to do now. Waits are handed out once: after one, the next call says what follows it.
  watch_step next();

  // One page of the list that was asked for.
  watch_verdict page(std::string_view resource_version, std::string_view continue_token);

  // One event of the watch.
  watch_verdict event(wire_kind kind, std::string_view resource_version,
                      bool initial_events_end = false);

  // The list or watch failed, could not be begun, or said so in an ERROR event. lived: how long the
  // watch had been open; zero for a list.
  // Returns false if no retry mends it, and nothing was received yet.
  bool failed(const watch_failure& why, std::chrono::milliseconds lived = {});

  // The server ended the watch in good order.
  void ended(std::chrono::milliseconds lived);

  // True while a streamed list is on its way.
  bool in_initial_events() const noexcept { return streaming_now_ && !positioned_; }
  bool ever_synced() const noexcept { return ever_synced_; }
  const std::string& resource_version() const noexcept { return version_; }

 private:
  std::chrono::milliseconds backoff();
  std::uint64_t random();
  void list_again();

  watch_machine_options options_;
  std::uint64_t random_;
  std::string version_;          // where the watch is
  bool positioned_ = false;      // version_ can be watched from
  bool streaming_now_ = false;   // the open watch began with a list
  bool restarted_said_ = false;  // of the list on its way
  bool ever_synced_ = false;
  bool received_ = false;  // anything at all
  std::string continue_token_;
  int failures_ = 0;         // in a row
  int too_large_ = 0;        // in a row
  int stream_failures_ = 0;  // in a row, of streamed lists
  std::chrono::milliseconds delay_{0};
};

}  // namespace mizzen::kubernetes::detail
