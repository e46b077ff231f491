// Puts credentials on requests and keeps them fresh.
#pragma once

#include <mizzen/core/cancellation.hpp>
#include <mizzen/core/log.hpp>
#include <mizzen/http/message.hpp>
#include <mizzen/http/tls.hpp>
#include <mizzen/kubernetes/config.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

namespace mizzen::kubernetes {

struct authenticator_options {
  // False refuses configs with an exec plugin: for kubeconfigs from people who must not run
  // programs here.
  bool allow_exec = true;

  // How long a plugin may take before it is killed with its process group; and how long one that
  // talks to a person, which shares this process's group.
  std::chrono::milliseconds exec_timeout{60'000};
  std::chrono::milliseconds interactive_timeout{300'000};

  // The most that a plugin may print (bytes).
  std::size_t exec_output_limit = std::size_t{16} << 20;

  // False keeps plugins away from standard input even where it is a terminal.
  bool stdin_available = true;

  // Gets what a plugin writes to standard error, as it comes. Without one it goes to the log (or
  // straight to standard error for an interactive plugin). The end of it is in the error in any
  // case.
  std::function<void(std::string_view)> exec_stderr = {};

  // How often files (token, certificates, authorities) are looked at for a change.
  std::chrono::milliseconds file_period{10'000};

  // How long a request to an OIDC issuer may take.
  std::chrono::milliseconds oidc_timeout{30'000};
  // Called with the new tokens after each refresh, so that the application may keep them: an issuer
  // may have made the old refresh token worthless. Must not throw or block.
  std::function<void(const oidc_provider&)> oidc_refreshed = {};

  // The wall clock, for tests.
  std::function<std::chrono::system_clock::time_point()> now = {};

  logger log = {};
};

// Which state of the credentials and of the TLS material a request was prepared with.
struct authorization {
  std::uint64_t credential = 0;
  std::uint64_t tls = 0;
};

// TLS options, and the generation at which they came to hold.
struct tls_material {
  http::tls_client_options options = {};
  std::uint64_t generation = 0;
};

// How a client uses it:
//
//   authorization with = co_await auth.authorize(request);
//   if (with.tls != connected.generation) { connected = auth.tls(); make a new http::client; }
//   response answer = co_await send(request);
//   if (answer.status == 401 && co_await auth.refresh_after_401(with)) { the same once more; }
//
// Thread safe. No threads of its own: work is done by whoever runs the executor. Calls in flight
// keep what they need alive, so that it may be destroyed before they end. Plugins, token endpoints
// and files are asked once for all requests that wait for the same credential; when all of these
// are cancelled, the plugin is killed.
class authenticator {
 public:
  // Reads the files of certificates. Throws error(invalid_argument) naming the field for unusable
  // ones or a config that contradicts itself.
  authenticator(boost::asio::any_io_executor executor, config from,
                authenticator_options options = authenticator_options());
  authenticator(authenticator&&) noexcept;
  authenticator& operator=(authenticator&&) noexcept;
  ~authenticator();

  // Adds Authorization and the Impersonate headers, unless the request has its own; runs a plugin,
  // asks an issuer or reads a file first where that is due. To a plain http:// server no credential
  // is sent, as client-go does it. Errors:
  //   unauthenticated    the plugin or issuer failed; the message has the end of its standard error
  //   not_found          the plugin's command is not there; the message has the install hint
  //   cancelled, deadline_exceeded
  boost::asio::awaitable<authorization> authorize(http::request& what,
                                                  cancellation cancel = cancellation());

  // Called when the server answered 401 to a request that was authorized like this. Gets a new
  // credential, unless another request has done so meanwhile. True: it differs, so send again;
  // false: there is no other one. Errors as of authorize.
  boost::asio::awaitable<bool> refresh_after_401(authorization with,
                                                 cancellation cancel = cancellation());

  // The TLS options that hold now, everything inline. They change when files change or when a
  // plugin hands out another certificate; with such a plugin call authorize first.
  tls_material tls() const;

 private:
  struct impl;
  std::shared_ptr<impl> impl_;
};

}  // namespace mizzen::kubernetes
