// The answer to a request, read piece by piece.
#pragma once

#include <mizzen/http/message.hpp>

#include <boost/asio/awaitable.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace mizzen::http {

class client;
namespace detail {
class exchange;
}

// A response whose body is read as it arrives, of any size. Nothing is read ahead of the caller
// beyond one buffer, so a caller that is slow slows the server down. Made by client::open.
//
// Not thread safe: one read at a time; close() may be called from any thread meanwhile. Move only.
// Destroying it closes the connection, unless the body was read to its end: then the connection is
// already back in the client's pool.
class response_stream {
 public:
  // Empty: good for nothing but to be assigned to.
  response_stream() noexcept;
  response_stream(response_stream&&) noexcept;
  response_stream& operator=(response_stream&&) noexcept;
  ~response_stream();

  // Status and header; the body stays empty. Valid as long as the stream is.
  const response& head() const noexcept;

  // The next piece of the body, decoded (chunks, gzip if the client asked for it); empty at its
  // end, and from then on. Valid until the next read and as long as the stream is. Waits for the
  // first byte only: what has arrived is handed out. Errors as for client::send, with
  // deadline_exceeded when the server was silent for too long; after one, and after a cancellation,
  // the stream is closed.
  boost::asio::awaitable<std::string_view> read();

  // What is left of the body in one piece. Throws error(resource_exhausted) beyond max_size bytes.
  boost::asio::awaitable<std::string> read_all(std::size_t max_size);

  // Frees the socket at once; a read that is pending throws error(cancelled).
  void close() noexcept;

 private:
  friend client;
  explicit response_stream(std::shared_ptr<detail::exchange> of) noexcept;
  std::shared_ptr<detail::exchange> exchange_;
};

}  // namespace mizzen::http
