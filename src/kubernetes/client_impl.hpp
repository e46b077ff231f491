// What a client's copies share, and the one loop that every call goes through.
#pragma once

#include "kubernetes/limiter.hpp"

#include <mizzen/kubernetes/client.hpp>

#include <functional>
#include <mutex>
#include <set>

namespace mizzen::kubernetes {

struct client::impl : std::enable_shared_from_this<client::impl> {
  class decision;

  impl(boost::asio::any_io_executor on, kubernetes::config from, client_options with);

  // Sends once and gives the head, with the body where the status is not 2xx. What belongs to a
  // success (a stream, a socket) it keeps to itself.
  using sender = std::function<boost::asio::awaitable<http::response>(
      std::shared_ptr<http::client>, http::request, http::send_options)>;

  // Credentials, limits, retries; throws status_error for an answer that stands and is no success.
  static boost::asio::awaitable<http::response> exchange(std::shared_ptr<impl> self,
                                                         http::request what, call_options options,
                                                         sender send);

  // The connections for this state of the certificates.
  std::shared_ptr<http::client> connections(const authorization& with);
  void hear_warnings(const http::headers& from, const std::string& subject);

  boost::asio::any_io_executor executor;
  kubernetes::config cluster;
  client_options options;
  std::string field_manager;
  std::string user_agent;
  authenticator auth;
  std::shared_ptr<detail::limiter> limits;

  std::mutex mutex;  // guards what follows
  std::shared_ptr<http::client> connected;
  std::uint64_t tls_generation = 0;
  std::set<std::string, std::less<>> heard;  // warnings that the log has already
};

}  // namespace mizzen::kubernetes
