#include "http/parser.hpp"
#include "http/transport.hpp"
#include "http/watchdog.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/http/client.hpp>

#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <mutex>
#include <optional>
#include <poll.h>
#include <span>
#include <stop_token>
#include <utility>
#include <vector>

namespace mizzen::http {
namespace {

using namespace detail;
using strand = asio::strand<asio::any_io_executor>;
using clock = std::chrono::steady_clock;

// Where a request goes.
struct destination {
  bool tls = false;
  std::string host;  // without the brackets of an IPv6 address
  std::string port;
  std::string authority;  // the Host field
  std::string target;

  std::string origin() const { return (tls ? "https://" : "http://") + host + " " + port; }
};

destination parse_destination(const std::string& url, const std::string& subject) {
  const auto fail = [&](std::string_view why) {
    throw error(errc::invalid_argument, subject, why);
  };
  const auto parsed = boost::urls::parse_uri(url);
  if (!parsed) fail("not an absolute URL, as in https://host:port/path");
  const boost::urls::url_view& view = *parsed;
  destination to;
  if (view.scheme() == "https") {
    to.tls = true;
  } else if (view.scheme() != "http") {
    fail("the scheme must be http or https");
  }
  if (view.has_userinfo()) {
    fail("a user and password in the URL end up in logs; send an Authorization header");
  }
  to.host = view.host_address();
  if (to.host.empty()) fail("the host is missing");
  to.port = view.has_port() && !view.port().empty() ? std::string(view.port())
                                                    : std::string(to.tls ? "443" : "80");
  to.authority = std::string(view.encoded_host_and_port());
  to.target = std::string(view.encoded_target());
  if (!to.target.starts_with('/')) to.target.insert(0, "/");
  return to;
}

std::string request_head(const request& what, const destination& to, const headers& defaults) {
  std::string head = what.method + " " + to.target + " HTTP/1.1\r\n";
  const auto append = [&head](std::string_view name, std::string_view value) {
    head.append(name).append(": ").append(value).append("\r\n");
  };
  if (!what.headers.contains("Host")) append("Host", to.authority);
  for (const field& each : what.headers) append(each.name, each.value);
  for (const field& each : defaults) {
    if (!what.headers.contains(each.name)) append(each.name, each.value);
  }
  // RFC 9110, section 8.6: a method that has no use for a body does not announce an empty one.
  const bool bodiless = what.method == "GET" || what.method == "HEAD" || what.method == "DELETE" ||
                        what.method == "OPTIONS" || what.method == "TRACE";
  if (!what.body.empty() || !bodiless) append("Content-Length", std::to_string(what.body.size()));
  head += "\r\n";
  return head;
}

void check_request(const request& what, const std::string& subject) {
  // A method has the form of a header's name.
  try {
    headers().add(what.method, "");
  } catch (const error&) {
    throw error(errc::invalid_argument, subject, "the method is not a token such as GET");
  }
  if (what.method == "CONNECT") {
    throw error(errc::invalid_argument, subject, "CONNECT is not a request that has an answer");
  }
  for (const char* own : {"Content-Length", "Transfer-Encoding", "Connection", "Expect"}) {
    if (what.headers.contains(own)) {
      throw error(errc::invalid_argument, subject,
                  std::string(own) + " is written by the client; leave it out");
    }
  }
}

bool is_safe(const std::string& method) {
  return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "TRACE";
}

// One connection to an origin. Everything happens on its strand, but while it rests in the pool.
struct connection : std::enable_shared_from_this<connection> {
  explicit connection(strand on) : executor(std::move(on)), guard(executor), resolved(executor) {}

  // Called by the watchdog and by whoever cancels.
  void close() {
    closed = true;
    resolved.cancel();
    if (stream) stream->close();
    if (connecting) {
      error_code ignored;
      connecting->close(ignored);
    }
  }

  // False if the server has closed it, or has said something unasked.
  bool is_quiet() {
    pollfd descriptor{stream->socket().native_handle(), POLLIN, 0};
    return ::poll(&descriptor, 1, 0) == 0;
  }

  strand executor;
  std::unique_ptr<transport> stream;
  tcp::socket* connecting = nullptr;
  boost::beast::flat_buffer buffer;
  watchdog<connection> guard;
  asio::steady_timer resolved;
  // The attempt that it works for now, so that a late cancellation does not hit the next one.
  const void* working_for = nullptr;
  bool closed = false;
  bool cancelled = false;
  clock::time_point idle_since;
};
using connection_ptr = std::shared_ptr<connection>;

// One way of a request over one connection, and how it ended.
struct attempt {
  request what;
  std::string head;
  destination to;
  std::string subject;
  deadline until;
  std::string_view doing = "connecting";
  bool reused = false;
  bool answer_started = false;
  bool reusable = false;
  response answer;
  std::optional<error> failure;
};

}  // namespace

struct client::impl : std::enable_shared_from_this<client::impl> {
  impl(asio::any_io_executor on, client_options with)
      : executor(std::move(on)), options(std::move(with)), tls(options.tls) {}

  ~impl() { close_idle(); }

  static asio::awaitable<response> send(std::shared_ptr<impl> self, request what,
                                        send_options options) {
    const auto work = std::make_shared<attempt>();
    work->subject = what.method + " " + what.url;
    check_request(what, work->subject);
    work->to = parse_destination(what.url, work->subject);
    work->head = request_head(what, work->to, self->options.default_headers);
    work->what = std::move(what);
    work->until = options.cancel.deadline;
    if (self->options.timeout.count() > 0) {
      work->until = earlier(work->until, deadline::after(self->options.timeout));
    }
    options.cancel.check(work->subject);

    connection_ptr via = self->take_idle(work->to.origin());
    work->reused = via != nullptr;
    if (!via) via = std::make_shared<connection>(asio::make_strand(self->executor));
    co_await run_on(self, via, work, options.cancel.token);
    if (work->failure && work->reused && !work->answer_started && !via->cancelled &&
        !via->guard.barked() && is_safe(work->what.method)) {
      self->options.log.log(log_level::debug, "http", "sent again on a new connection",
                            {{"request", work->subject}});
      work->failure.reset();
      work->reused = false;
      via = std::make_shared<connection>(asio::make_strand(self->executor));
      co_await run_on(self, via, work, options.cancel.token);
    }
    if (work->failure) throw error(*work->failure);
    co_return std::move(work->answer);
  }

  static asio::awaitable<void> run_on(std::shared_ptr<impl> self, connection_ptr via,
                                      std::shared_ptr<attempt> work, std::stop_token token) {
    const std::stop_callback stop(token, [via, work] {
      asio::post(via->executor, [via, work] {
        if (via->working_for != work.get()) return;
        via->cancelled = true;
        via->close();
      });
    });
    auto on_strand = exchange(self, via, work, token);
    co_await asio::co_spawn(via->executor, std::move(on_strand), asio::use_awaitable);
    if (!work->failure && work->reusable) {
      self->put_idle(work->to.origin(), via);
    }
  }

  static asio::awaitable<void> exchange(std::shared_ptr<impl> self, connection_ptr via,
                                        std::shared_ptr<attempt> work, std::stop_token token) {
    // The caller's cancellation may be of any kind; whatever was half done is thrown away.
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    via->working_for = work.get();
    try {
      if (token.stop_requested())
        throw error(errc::cancelled, work->subject, "cancelled by the caller");
      if (!via->stream) co_await connect(self, via, *work);
      via->guard.watch(via, work->until);
      work->doing = "sending the request";
      co_await write(via, *work);
      work->doing = "waiting for the answer";
      co_await read(self, via, *work);
    } catch (const error& e) {
      work->failure = e;
    } catch (const boost::system::system_error& e) {
      work->failure.emplace(errc::unavailable, work->subject, e.code().message());
    }
    const asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
    if (state.cancelled() != asio::cancellation_type::none) via->cancelled = true;
    via->guard.rest();
    via->working_for = nullptr;
    if (!work->failure) {
      if (!work->reusable) via->close();
      co_return;
    }
    // Why it was closed under the operation matters more than how the operation took it.
    if (via->guard.barked()) {
      work->failure.emplace(errc::deadline_exceeded, work->subject,
                            "the deadline passed while " + std::string(work->doing));
    } else if (via->cancelled) {
      work->failure.emplace(errc::cancelled, work->subject, "cancelled by the caller");
    }
    via->close();
  }

  [[noreturn]] static void fail(const attempt& work, std::string_view doing, std::string_view why) {
    throw error(errc::unavailable, work.subject, std::string(doing) + ": " + std::string(why));
  }

  static asio::awaitable<void> connect(std::shared_ptr<impl> self, connection_ptr via,
                                       attempt& work) {
    via->guard.watch(via, earlier(work.until, deadline::after(self->options.connect_timeout)));
    const std::vector<tcp::endpoint> endpoints = co_await resolve(via, work);
    tcp::socket socket(via->executor);
    error_code ec = asio::error::host_not_found;
    via->connecting = &socket;
    for (const tcp::endpoint& endpoint : endpoints) {
      if (via->closed) break;
      error_code ignored;
      socket.close(ignored);
      co_await socket.async_connect(endpoint, asio::redirect_error(asio::use_awaitable, ec));
      if (!ec) break;
    }
    via->connecting = nullptr;
    if (ec || via->closed)
      fail(work, "cannot connect to " + work.to.host + ":" + work.to.port, ec.message());
    error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    if (!work.to.tls) {
      via->stream = make_plain_transport(std::move(socket));
      co_return;
    }
    const tls_client_options& tls = self->options.tls;
    const std::string& name = tls.server_name.empty() ? work.to.host : tls.server_name;
    via->stream = make_tls_client_transport(std::move(socket), self->tls, name, tls.verify);
    co_await via->stream->handshake(ec);
    if (ec && is_tls_error(ec)) {
      throw error(errc::unauthenticated, work.subject,
                  "TLS with '" + name + "' failed: " + via->stream->explain(ec));
    }
    if (ec) fail(work, "TLS handshake", via->stream->explain(ec));
  }

  // Asio's resolver cannot be interrupted, so it is left behind when the deadline passes.
  static asio::awaitable<std::vector<tcp::endpoint>> resolve(connection_ptr via, attempt& work) {
    error_code ec;
    const auto address = asio::ip::make_address(work.to.host, ec);
    std::uint16_t port = 0;
    const char* const end = work.to.port.data() + work.to.port.size();
    const auto number = std::from_chars(work.to.port.data(), end, port);
    if (number.ec != std::errc() || number.ptr != end || port == 0) {
      throw error(errc::invalid_argument, work.subject, "the port must be from 1 to 65535");
    }
    if (!ec) co_return std::vector<tcp::endpoint>{tcp::endpoint(address, port)};

    struct lookup {
      explicit lookup(const strand& on) : resolver(on) {}
      tcp::resolver resolver;
      bool done = false;
      error_code ec;
      std::vector<tcp::endpoint> endpoints;
    };
    const auto state = std::make_shared<lookup>(via->executor);
    state->resolver.async_resolve(
        work.to.host, work.to.port,
        [state, via](const error_code& result, const tcp::resolver::results_type& found) {
          state->done = true;
          state->ec = result;
          for (const auto& entry : found) state->endpoints.push_back(entry.endpoint());
          via->resolved.cancel();
        });
    while (!state->done && !via->closed) {
      via->resolved.expires_at(clock::time_point::max());
      co_await via->resolved.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    }
    if (!state->done) fail(work, "cannot resolve " + work.to.host, "gave up");
    if (state->ec) fail(work, "cannot resolve " + work.to.host, state->ec.message());
    co_return std::move(state->endpoints);
  }

  static asio::awaitable<void> write(connection_ptr via, attempt& work) {
    const std::array<asio::const_buffer, 2> buffers = {asio::buffer(work.head),
                                                       asio::buffer(work.what.body)};
    error_code ec;
    co_await via->stream->write(buffers, ec);
    // A server may answer (413, say) and close without reading everything: the answer is wanted.
    if (ec && ec != asio::error::broken_pipe && ec != asio::error::connection_reset) {
      fail(work, "sending the request", via->stream->explain(ec));
    }
    if (ec) work.reusable = false;
  }

  static asio::awaitable<void> read(std::shared_ptr<impl> self, connection_ptr via, attempt& work) {
    for (;;) {
      response_parser parser({self->options.max_header, self->options.max_body});
      if (work.what.method == "HEAD") parser.expect_no_body();
      co_await read_message(via, work, parser);
      const int status = parser.get().status;
      if (status == 101) {
        throw error(errc::unimplemented, work.subject, "the server switched protocols unasked");
      }
      if (status < 200) continue;  // 100 Continue, 103 Early Hints
      work.reusable =
          parser.keep_alive() && !parser.ends_with_connection() && via->buffer.size() == 0;
      work.answer = parser.take();
      co_return;
    }
  }

  static asio::awaitable<void> read_message(connection_ptr via, attempt& work,
                                            response_parser& parser) {
    for (;;) {
      const auto data = via->buffer.data();
      via->buffer.consume(parser.put({static_cast<const char*>(data.data()), data.size()}));
      if (parser.failure()) {
        const bool too_large = parser.failure()->status == 413 || parser.failure()->status == 431;
        throw error(too_large ? errc::resource_exhausted : errc::data_loss, work.subject,
                    "the answer: " + parser.failure()->message);
      }
      if (parser.done()) co_return;
      error_code ec;
      const asio::mutable_buffer room = via->buffer.prepare(parser.header_done() ? 65536 : 4096);
      const std::size_t count = co_await via->stream->read_some(room, ec);
      if (count > 0) work.answer_started = true;
      via->buffer.commit(count);
      if (ec == asio::error::eof && parser.ends_with_connection()) {
        parser.put_eof();
        if (parser.done()) co_return;
      }
      if (ec) {
        fail(work, work.answer_started ? "the answer is cut off" : work.doing,
             via->stream->explain(ec));
      }
    }
  }

  connection_ptr take_idle(const std::string& origin) {
    const std::lock_guard lock(mutex);
    const auto found = pool.find(origin);
    if (found == pool.end()) return nullptr;
    connection_ptr taken;
    while (!taken && !found->second.empty()) {
      connection_ptr last = std::move(found->second.back());
      found->second.pop_back();
      const bool fresh = clock::now() - last->idle_since < options.idle_timeout;
      if (fresh && last->is_quiet()) {
        taken = std::move(last);
      } else {
        let_go(std::move(last));
      }
    }
    if (found->second.empty()) pool.erase(found);
    return taken;
  }

  void put_idle(const std::string& origin, connection_ptr via) {
    via->idle_since = clock::now();
    const std::lock_guard lock(mutex);
    std::vector<connection_ptr>& idle = pool[origin];
    idle.push_back(std::move(via));
    // The oldest go: those that are too many, and those that nobody has used for too long.
    while (!idle.empty() && (idle.size() > options.max_idle ||
                             clock::now() - idle.front()->idle_since >= options.idle_timeout)) {
      let_go(std::move(idle.front()));
      idle.erase(idle.begin());
    }
    if (idle.empty()) pool.erase(origin);
  }

  static void let_go(connection_ptr via) {
    asio::post(via->executor, [via] { via->close(); });
  }

  void close_idle() {
    const std::lock_guard lock(mutex);
    for (auto& [origin, idle] : pool) {
      for (connection_ptr& via : idle) let_go(std::move(via));
    }
    pool.clear();
  }

  asio::any_io_executor executor;
  client_options options;
  tls_context tls;
  mutable std::mutex mutex;  // of pool
  std::map<std::string, std::vector<connection_ptr>> pool;
};

client::client(asio::any_io_executor executor, client_options options)
    : impl_(std::make_shared<impl>(std::move(executor), std::move(options))) {}
client::client(client&&) noexcept = default;
client& client::operator=(client&&) noexcept = default;
client::~client() = default;

asio::awaitable<response> client::send(request what, send_options options) {
  return impl::send(impl_, std::move(what), std::move(options));
}

std::size_t client::idle_connections() const {
  const std::lock_guard lock(impl_->mutex);
  std::size_t count = 0;
  for (const auto& [origin, idle] : impl_->pool) count += idle.size();
  return count;
}

void client::close_idle() { impl_->close_idle(); }

struct blocking_client::impl {
  explicit impl(client_options options) : inner(context.get_executor(), std::move(options)) {}

  std::mutex mutex;
  asio::io_context context{1};
  client inner;
};

blocking_client::blocking_client(client_options options)
    : impl_(std::make_unique<impl>(std::move(options))) {}
blocking_client::blocking_client(blocking_client&&) noexcept = default;
blocking_client& blocking_client::operator=(blocking_client&&) noexcept = default;
blocking_client::~blocking_client() = default;

response blocking_client::send(request what, send_options options) {
  const std::lock_guard lock(impl_->mutex);
  std::exception_ptr failure;
  std::optional<response> answer;
  asio::co_spawn(impl_->context, impl_->inner.send(std::move(what), std::move(options)),
                 [&](const std::exception_ptr& thrown, response result) {
                   failure = thrown;
                   answer = std::move(result);
                 });
  impl_->context.restart();
  while (!answer) impl_->context.run_one();
  if (failure) std::rethrow_exception(failure);
  return std::move(*answer);
}

response blocking_client::get(std::string url, send_options options) {
  return send({.method = "GET", .url = std::move(url), .headers = {}, .body = {}},
              std::move(options));
}

response blocking_client::post(std::string url, std::string_view content_type, std::string body,
                               send_options options) {
  request what{.method = "POST", .url = std::move(url), .headers = {}, .body = std::move(body)};
  what.headers.add("Content-Type", std::string(content_type));
  return send(std::move(what), std::move(options));
}

}  // namespace mizzen::http
