// Writes Kubernetes events about objects, repeated ones as a series.
#pragma once

#include <mizzen/core/log.hpp>
#include <mizzen/kubernetes/detail/halting.hpp>
#include <mizzen/kubernetes/resource.hpp>
#include <mizzen/kubernetes/types/core_v1.hpp>

#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <string>

namespace mizzen::kubernetes {

class client;

// What an event is about: reference_to(object).
template <class K>
core_v1::object_reference reference_to(const K& object) {
  const resource_info& resource = resource_of<K>();
  core_v1::object_reference reference;
  reference.api_version = resource.api_version();
  reference.kind = resource.kind;
  reference.namespace_ = object.metadata.namespace_;
  reference.name = object.metadata.name;
  reference.uid = object.metadata.uid;
  reference.resource_version = object.metadata.resource_version;
  return reference;
}

enum class event_type { normal, warning };

struct recorded_event {
  core_v1::object_reference regarding = {};
  event_type type = event_type::normal;
  std::string reason = {};  // why, as a word in CamelCase; at most 128 characters
  std::string action = {};  // what was done or failed, as a word; at most 128 characters
  std::string note = {};    // for people; at most 1 kB, longer ones are cut at a character
  core_v1::object_reference related = {};  // a second object; optional
};

struct event_recorder_options {
  // Who reports: "example.com/my-controller", and which instance of it (empty: the host's name).
  std::string controller = {};
  std::string instance = {};
  // Events that wait to be sent; more are dropped, and counted.
  std::size_t capacity = 1000;
  // Told of events that could not be written. Must not throw.
  std::function<void(const std::exception_ptr&)> on_error = {};
  logger log = {};
};

// Writes events.k8s.io/v1 objects in the background: record() only queues. The same event
// (regarding, related, type, reason, action) again within six minutes becomes one series, whose
// count is updated at once for the second, then every 30 minutes and when it ends. Events are best
// effort: one that the server does not take after three tries is dropped.
// An event goes into the namespace of what it is about, "default" for cluster-scoped objects.
//
// Thread safe; runs on the client's executor. Source: client-go tools/events, KEP-383.
class event_recorder {
 public:
  // Throws error(invalid_argument) if the controller is missing.
  event_recorder(const client& k8s, event_recorder_options options);
  event_recorder(event_recorder&&) noexcept;
  event_recorder& operator=(event_recorder&&) noexcept;
  // What is queued is dropped: await flush() first to keep it.
  ~event_recorder();

  // Queues an event; never blocks. Throws error(invalid_argument) for one that the server would
  // refuse (reason or action missing or too long, no kind or name).
  void record(recorded_event event);

  // Events dropped so far.
  std::uint64_t dropped() const noexcept;

  // Waits until all that was recorded before is sent or given up.
  boost::asio::awaitable<void> flush();

 private:
  struct impl;
  detail::halting<impl> impl_;
};

}  // namespace mizzen::kubernetes
