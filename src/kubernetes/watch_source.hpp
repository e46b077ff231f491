// Where a reflector gets lists and watches from: the API server, or a test.
#pragma once

#include "kubernetes/watch_machine.hpp"

#include <mizzen/core/cancellation.hpp>
#include <mizzen/kubernetes/detail/kind.hpp>

#include <boost/asio/awaitable.hpp>

#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <vector>

namespace mizzen::kubernetes {
struct watch_options;
}

namespace mizzen::kubernetes::detail {

class resource_client;

// One page of a list.
struct wire_page {
  std::vector<mutable_object_ptr> objects = {};
  std::string resource_version = {};
  std::string continue_token = {};
};

// One event of a watch: an object, a bookmark, or the failure that an ERROR event tells of.
struct wire_event {
  wire_kind kind = wire_kind::bookmark;
  mutable_object_ptr object = {};
  std::string resource_version = {};
  bool initial_events_end = false;
  std::exception_ptr failure = {};
};

// An open watch.
class event_stream {
 public:
  event_stream() = default;
  event_stream(const event_stream&) = delete;
  event_stream& operator=(const event_stream&) = delete;
  virtual ~event_stream() = default;

  // Waits for bytes; false at the end.
  virtual boost::asio::awaitable<bool> read() = 0;
  // The next event of what was read; false: read more. Throws error for what is no event.
  virtual bool next(wire_event& out) = 0;
  // Whether the end comes in the middle of an event.
  virtual bool mid_event() const = 0;
  // Frees the socket; a pending read throws. From any thread.
  virtual void close() noexcept = 0;
};

class watch_source {
 public:
  watch_source() = default;
  watch_source(const watch_source&) = delete;
  watch_source& operator=(const watch_source&) = delete;
  virtual ~watch_source() = default;

  // The source lives until these are done.
  virtual boost::asio::awaitable<wire_page> list(watch_step step, cancellation cancel) = 0;
  virtual boost::asio::awaitable<std::shared_ptr<event_stream>> watch(watch_step step,
                                                                      cancellation cancel) = 0;
};

// The API server, as seen by a resource's client.
std::unique_ptr<watch_source> make_api_watch_source(const resource_client& of, kind_access kind,
                                                    const watch_options& options);

}  // namespace mizzen::kubernetes::detail
