// What containers print: whole, as a stream, or of several containers in one.
#pragma once

#include <mizzen/core/cancellation.hpp>
#include <mizzen/http/stream.hpp>
#include <mizzen/kubernetes/client.hpp>

#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::kubernetes {

// The query of GET pods/log (core/v1 PodLogOptions).
struct log_options {
  // May be empty when the pod has one container only.
  std::string container = {};

  // Goes on until the container ends. A connection that breaks is error(unavailable), and is not
  // taken up again here, as that cannot be exact: the server takes since_time in whole seconds and
  // reads the newest of the rotated files only. Who wants to go on asks with `timestamps` for what
  // was printed since the last line, and drops what it has. What breaks between the API server and
  // the kubelet looks like the end of the log: whether the container has ended, its status says.
  bool follow = false;

  // Of the instance before the last restart.
  bool previous = false;

  // Each line begins with the time at which it was printed (RFC 3339) and a space.
  bool timestamps = false;

  // Only what was printed in this last while, or since a time; not both.
  std::optional<std::chrono::seconds> since = {};
  std::optional<std::chrono::system_clock::time_point> since_time = {};

  // Only so many lines from the end, and so many bytes from where it begins.
  std::optional<std::int64_t> tail_lines = {};
  std::optional<std::int64_t> limit_bytes = {};

  // The API server does not verify the kubelet's certificate.
  bool insecure_skip_tls_verify_backend = false;

  // As in call_options. A container may well print nothing for hours: `silence` ends a follow that
  // is only quiet, so give one only where a container is known to print.
  mizzen::cancellation cancel = {};
  std::chrono::milliseconds silence{0};

  // Throws error(invalid_argument) that names the field.
  void check() const;
};

// The path and query of the request: "/api/v1/namespaces/a/pods/b/log?follow=true".
std::string log_url(std::string_view ns, std::string_view pod, const log_options& options = {});

// The log of one container as it comes. Not thread safe, but for close(); move only.
class log_stream {
 public:
  explicit log_stream(http::response_stream from);

  // The next piece, of any length; empty at the end. Valid until the next call.
  boost::asio::awaitable<std::string_view> read();

  // The next line without its end, nothing at the end of the log. A line of more than 1 MiB comes
  // in pieces of that size. Not to be mixed with read().
  boost::asio::awaitable<std::optional<std::string>> read_line();

  // Frees the socket at once.
  void close() noexcept { from_.close(); }

 private:
  http::response_stream from_;
  std::string rest_;
  std::size_t taken_ = 0;     // of rest_
  std::size_t searched_ = 0;  // of what is not taken
  bool ended_ = false;
};

// Throws status_error, for instance 400 while the container has not started.
boost::asio::awaitable<log_stream> open_logs(client k8s, std::string ns, std::string pod,
                                             log_options options = log_options());

// All that there is, up to max_size bytes (resource_exhausted beyond).
boost::asio::awaitable<std::string> read_logs(client k8s, std::string ns, std::string pod,
                                              log_options options = log_options(),
                                              std::size_t max_size = std::size_t{64} << 20);

struct log_line {
  std::string container = {};
  std::string text = {};
};

// The logs of several containers of a pod, line by line: each container's lines in order, those of
// different ones as they arrive. A container that prints a lot waits for the reader rather than for
// memory. Not thread safe, but for close(); move only.
class merged_logs {
 public:
  merged_logs(merged_logs&&) noexcept;
  merged_logs& operator=(merged_logs&&) noexcept;
  ~merged_logs();

  // The next line, nothing when all of them have ended. Throws what one of them failed with, after
  // the lines that came before.
  boost::asio::awaitable<std::optional<log_line>> read_line();

  // The containers that are read.
  const std::vector<std::string>& containers() const noexcept;

  void close() noexcept;

 private:
  friend boost::asio::awaitable<merged_logs> open_merged_logs(client, std::string, std::string,
                                                              log_options,
                                                              std::vector<std::string>);
  struct impl;
  explicit merged_logs(std::shared_ptr<impl> made) noexcept;
  std::shared_ptr<impl> impl_;
};

// containers: their names; empty means all of spec.containers. options.container is not used.
boost::asio::awaitable<merged_logs> open_merged_logs(client k8s, std::string ns, std::string pod,
                                                     log_options options = log_options(),
                                                     std::vector<std::string> containers = {});

}  // namespace mizzen::kubernetes
