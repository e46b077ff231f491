// Bodies that need not fit into memory: files on their way to a server and from it.
#pragma once

#include <mizzen/http/message.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace mizzen::http {

// How far an exchange has got, in bytes of its bodies.
struct transfer_progress {
  std::uint64_t sent = 0;      // handed to the system
  std::uint64_t received = 0;  // of this attempt, decoded
};

// What a client sends as a body, piece by piece (send_options::source). Its members are called by
// whoever runs the client's executor, one at a time; they may wait for a disk. What they throw ends
// the request.
class body_source {
 public:
  body_source() = default;
  body_source(const body_source&) = delete;
  body_source& operator=(const body_source&) = delete;
  virtual ~body_source() = default;

  // How many bytes there are from the beginning on; nothing if that is not known: the body is sent
  // in chunks then, which not every server takes (S3 does not).
  virtual std::optional<std::uint64_t> size() const = 0;

  // Back to the beginning; called before each time that the body is sent.
  virtual void rewind() = 0;

  // Puts the next bytes into the room, at least one; 0 at the end.
  virtual std::size_t read(std::span<char> room) = 0;
};

// A file, or the part of it that begins at `offset` and has `size` bytes (default: what is there
// now). Throws error(not_found, permission_denied, …) naming the file; out_of_range if it is not so
// long. Sending it fails with error(failed_precondition) if it became shorter meanwhile.
std::shared_ptr<body_source> file_body(const std::filesystem::path& file, std::uint64_t offset = 0,
                                       std::optional<std::uint64_t> size = std::nullopt);

// Where a client puts the body of an answer of 2xx, piece by piece (send_options::sink); any
// other answer's goes into response::body. Called as body_source is.
class body_sink {
 public:
  body_sink() = default;
  body_sink(const body_sink&) = delete;
  body_sink& operator=(const body_sink&) = delete;
  virtual ~body_sink() = default;

  // An answer begins: its status and header.
  virtual void begin(const response& head) = 0;
  virtual void write(std::string_view piece) = 0;
};

// A sink to which several attempts give one body: each goes on where the last one broke off, if the
// server can do that and the thing has not changed meanwhile (RFC 9110, sections 13.1.5 and 14),
// and else begins anew.
//
//   resumable_sink& sink = ...;
//   do {
//     sink.prepare(what);
//   } while (broken_off(c.send(what, {.sink = ...})));
class resumable_sink : public body_sink {
 public:
  // Asks for what is missing, in a request that says nothing of ranges itself. Before each attempt.
  void prepare(request& what);

  // Whether the server refused only the rest (416): everything is asked for next time.
  bool starts_over(const response& refusal) noexcept;

  // Bytes that are here.
  std::uint64_t received() const noexcept { return received_; }

  // Throws error(data_loss) for an answer with another part than the one asked for.
  void begin(const response& head) final;
  void write(std::string_view piece) final;

 protected:
  // Forgets what was received: another body begins, of which this is the head. Called before the
  // first byte, too.
  virtual void restart(const response& head) = 0;
  virtual void append(std::string_view piece) = 0;

 private:
  std::uint64_t received_ = 0;
  bool asked_for_rest_ = false;
  std::string validator_;  // of what is here; empty: it cannot be gone on with
};

// A file that is downloaded: in a temporary file beside it, until commit() gives it its name. It
// makes the folders above it. Throws error(permission_denied, resource_exhausted for a full disk,
// …) naming the file.
class file_sink : public resumable_sink {
 public:
  explicit file_sink(std::filesystem::path target);
  // Removes the temporary file.
  ~file_sink() override;

  // Replaces what has the name now. Call once, when the body is here whole.
  void commit();

 protected:
  void restart(const response& head) override;
  void append(std::string_view piece) override;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace mizzen::http
