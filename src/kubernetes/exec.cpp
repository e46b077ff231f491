#include "kubernetes/channels.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/attach.hpp>
#include <mizzen/kubernetes/exec.hpp>

#include <boost/asio/co_spawn.hpp>

#include <utility>

namespace mizzen::kubernetes {

namespace asio = boost::asio;
using detail::channel_message;

struct remote_process::impl {
  http::websocket socket;
  std::string subject;
  detail::end_of_process end;
  bool ended = false;

  asio::awaitable<std::optional<process_output>> read();
  void finish(bool in_order);
};

// The connection has ended; the Status has told how the program did, or has not.
void remote_process::impl::finish(bool in_order) {
  if (end.failure) throw status_error(subject, 0, *end.failure);
  if (!end.exit) {
    throw error(errc::unavailable, subject,
                in_order ? "the server ended the session without saying how the program ended"
                         : "the connection broke");
  }
  ended = true;
}

asio::awaitable<std::optional<process_output>> remote_process::impl::read() {
  while (!ended) {
    std::optional<http::websocket_message> message;
    try {
      message = co_await socket.read();
    } catch (const error& e) {
      // Some servers close without a word once all is said.
      if (e.code() != errc::unavailable || (!end.exit && !end.failure)) throw;
    }
    if (!message) {
      finish(true);
      break;
    }
    const std::optional<channel_message> parsed = detail::parse_channel_message(message->data);
    if (!parsed || parsed->data.empty()) continue;
    process_output output;
    output.data = parsed->data;
    switch (parsed->channel) {
      case detail::channel::from_stdout:
        co_return output;
      case detail::channel::from_stderr:
        output.from = output_stream::stderr_;
        co_return output;
      case detail::channel::error:
        end = detail::parse_end_of_process(parsed->data);
        break;
      default:
        break;  // the end of a channel, in v5
    }
  }
  co_return std::nullopt;
}

remote_process::remote_process(std::shared_ptr<impl> made) noexcept : impl_(std::move(made)) {}
remote_process::remote_process(remote_process&&) noexcept = default;
remote_process& remote_process::operator=(remote_process&& other) noexcept {
  if (impl_ && impl_ != other.impl_) impl_->socket.abort();
  impl_ = std::move(other.impl_);
  return *this;
}
remote_process::~remote_process() {
  if (impl_) impl_->socket.abort();
}

namespace {

template <typename Impl>
asio::awaitable<std::optional<process_output>> read_of(std::shared_ptr<Impl> of) {
  co_return co_await of->read();
}

template <typename Impl>
asio::awaitable<void> write_to(std::shared_ptr<Impl> to, std::string_view data) {
  // Servers bound a message; what is typed or piped is cut into modest ones.
  constexpr std::size_t most = std::size_t{32} << 10;
  const std::string_view prefix(&detail::channel::to_stdin, 1);
  do {
    const std::string_view piece = data.substr(0, most);
    data.remove_prefix(piece.size());
    co_await to->socket.write(http::websocket_kind::binary, prefix, piece);
  } while (!data.empty());
}

template <typename Impl>
asio::awaitable<void> say(std::shared_ptr<Impl> to, std::string text) {
  co_await to->socket.write(http::websocket_kind::binary, text);
}

void append_streams(std::string& url, const exec_options& options) {
  if (!options.container.empty()) detail::append_query(url, "container", options.container);
  if (options.stdin_) detail::append_query(url, "stdin", "true");
  if (options.stdout_) detail::append_query(url, "stdout", "true");
  if (options.stderr_ && !options.tty) detail::append_query(url, "stderr", "true");
  if (options.tty) detail::append_query(url, "tty", "true");
  if (!options.stdin_ && !options.stdout_ && !(options.stderr_ && !options.tty)) {
    throw error(errc::invalid_argument, "exec_options",
                "one of stdin_, stdout_ and stderr_ must be true");
  }
}

asio::awaitable<http::websocket> connect(client k8s, std::string url, exec_options options) {
  http::request what;
  what.url = std::move(url);
  what.headers.add("Accept", "*/*");
  http::websocket_options with;
  with.subprotocols = {std::string(detail::protocol_v5), std::string(detail::protocol_v4)};
  with.cancel = options.cancel;
  with.ping_interval = options.ping_interval;
  with.silence = options.silence;
  http::websocket socket = co_await k8s.upgrade(std::move(what), std::move(with));
  if (socket.subprotocol().empty()) {
    throw error(errc::unimplemented, "exec",
                "the server speaks neither v5.channel.k8s.io nor v4.channel.k8s.io");
  }
  co_return socket;
}

}  // namespace

asio::awaitable<std::optional<process_output>> remote_process::read() { return read_of(impl_); }

const process_exit& remote_process::exit() const {
  if (!impl_->ended) {
    throw error(errc::failed_precondition, impl_->subject,
                "the program has not ended, or not all of its output was read");
  }
  return *impl_->end.exit;
}

asio::awaitable<void> remote_process::write(std::string_view data) { return write_to(impl_, data); }

asio::awaitable<void> remote_process::close_stdin() {
  if (protocol() != detail::protocol_v5) {
    throw error(errc::unimplemented, impl_->subject,
                "the server speaks " + protocol() + ", which cannot end the standard input");
  }
  return say(impl_, {detail::channel::close, detail::channel::to_stdin});
}

asio::awaitable<void> remote_process::resize(std::uint16_t width, std::uint16_t height) {
  return say(impl_, std::string(1, detail::channel::resize) + detail::resize_text(width, height));
}

const std::string& remote_process::protocol() const noexcept { return impl_->socket.subprotocol(); }

void remote_process::close() noexcept { impl_->socket.abort(); }

std::string exec_url(std::string_view ns, std::string_view pod, const exec_options& options) {
  if (options.command.empty()) {
    throw error(errc::invalid_argument, "exec_options.command", "the program is missing");
  }
  std::string url = detail::pod_url(ns, pod, "exec");
  for (const std::string& each : options.command) detail::append_query(url, "command", each);
  append_streams(url, options);
  return url;
}

std::string attach_url(std::string_view ns, std::string_view pod, const exec_options& options) {
  std::string url = detail::pod_url(ns, pod, "attach");
  append_streams(url, options);
  return url;
}

struct attach_access {
  static asio::awaitable<remote_process> open(client k8s, std::string subject, std::string url,
                                              exec_options options) {
    auto connecting = connect(std::move(k8s), std::move(url), std::move(options));
    auto made = std::make_shared<remote_process::impl>();
    made->socket = co_await std::move(connecting);
    made->subject = std::move(subject);
    co_return remote_process(std::move(made));
  }
};

asio::awaitable<remote_process> exec(client k8s, std::string ns, std::string pod,
                                     exec_options options) {
  std::string url = exec_url(ns, pod, options);
  std::string subject = "exec in " + ns + "/" + pod;
  auto opening =
      attach_access::open(std::move(k8s), std::move(subject), std::move(url), std::move(options));
  co_return co_await std::move(opening);
}

asio::awaitable<remote_process> attach(client k8s, std::string ns, std::string pod,
                                       exec_options options) {
  std::string url = attach_url(ns, pod, options);
  std::string subject = "attach to " + ns + "/" + pod;
  auto opening =
      attach_access::open(std::move(k8s), std::move(subject), std::move(url), std::move(options));
  co_return co_await std::move(opening);
}

namespace {

asio::awaitable<void> feed(std::shared_ptr<remote_process> to,
                           std::shared_ptr<const std::string> input) {
  if (!input->empty()) co_await to->write(*input);
  co_await to->close_stdin();
}

}  // namespace

asio::awaitable<command_result> run_command(client k8s, std::string ns, std::string pod,
                                            exec_options options, std::string input,
                                            std::size_t max_output) {
  const bool has_input = !input.empty();
  if (has_input) options.stdin_ = true;
  const asio::any_io_executor executor = k8s.executor();
  auto starting = exec(std::move(k8s), ns, pod, std::move(options));
  const auto process = std::make_shared<remote_process>(co_await std::move(starting));
  if (has_input) {
    if (process->protocol() != detail::protocol_v5) {
      throw error(errc::unimplemented, "exec in " + ns + "/" + pod,
                  "input needs v5.channel.k8s.io, which the server does not speak");
    }
    // Beside the reading: a program may stop taking input until its output is taken. That it ends
    // before it has taken all is its own affair.
    const auto text = std::make_shared<const std::string>(std::move(input));
    asio::co_spawn(executor, feed(process, text), [](const std::exception_ptr&) {});
  }
  command_result result;
  for (;;) {
    const std::optional<process_output> piece = co_await process->read();
    if (!piece) break;
    if (piece->data.size() > max_output - result.out.size() - result.err.size()) {
      process->close();
      throw error(errc::resource_exhausted, "exec in " + ns + "/" + pod,
                  "it printed more than " + std::to_string(max_output) + " bytes");
    }
    (piece->from == output_stream::stdout_ ? result.out : result.err).append(piece->data);
  }
  result.exit = process->exit();
  co_return result;
}

}  // namespace mizzen::kubernetes
