#include "http/websocket_connection.hpp"

#include "core/base64.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/http/status.hpp>

#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <utility>

namespace mizzen::http::detail {
namespace {

// How long the peer may take to answer a close frame.
constexpr std::chrono::seconds closing_time{10};
// How long our answer to the peer's close frame may take.
constexpr std::chrono::seconds answering_time{1};

template <std::size_t count>
std::array<char, count> random_bytes() {
  std::array<char, count> bytes{};
  if (RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), count) != 1) {
    throw error(errc::internal, "websocket", "the system has no random numbers");
  }
  return bytes;
}

// RFC 6455, section 4.2.2.
std::string accept_of(const std::string& key) {
  const std::string text = key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::string digest(SHA_DIGEST_LENGTH, '\0');
  SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(),
       reinterpret_cast<unsigned char*>(digest.data()));
  return mizzen::detail::base64_encode(digest);
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& each : names) text += (text.empty() ? "" : ", ") + each;
  return text;
}

// What makes an answer of 101 unusable, or null.
const char* flaw_of(const response& answer, const std::string& key,
                    const std::vector<std::string>& offered) {
  if (!answer.headers.has_token("Upgrade", "websocket") ||
      !answer.headers.has_token("Connection", "upgrade")) {
    return "the server switched to something else than a WebSocket";
  }
  if (answer.headers.value("Sec-WebSocket-Accept") != accept_of(key)) {
    return "Sec-WebSocket-Accept does not fit the key";
  }
  if (answer.headers.contains("Sec-WebSocket-Extensions")) {
    return "the server took an extension that was not offered";
  }
  const std::vector<std::string_view> taken = answer.headers.values("Sec-WebSocket-Protocol");
  if (taken.size() > 1 ||
      (taken.size() == 1 && std::ranges::find(offered, taken.front()) == offered.end())) {
    return "the server took a subprotocol that was not offered";
  }
  return nullptr;
}

}  // namespace

websocket_connection::websocket_connection(std::shared_ptr<exchange> work,
                                           websocket_options options)
    : work_(std::move(work)),
      options_(std::move(options)),
      subprotocol_(work_->answer().headers.value("Sec-WebSocket-Protocol")),
      inbound_(options_.max_message),
      heart_(work_->via()->executor),
      turn_(work_->via()->executor) {
  turn_.expires_at(std::chrono::steady_clock::time_point::max());
}

asio::awaitable<std::shared_ptr<websocket_connection>> websocket_connection::open(
    std::shared_ptr<client_core> core, request what, websocket_options options) {
  const std::array<char, 16> nonce = random_bytes<16>();
  const std::string key = mizzen::detail::base64_encode({nonce.data(), nonce.size()});
  const std::string subject = what.method + " " + what.url;
  if (what.method != "GET" || !what.body.empty()) {
    throw request_error(error(errc::invalid_argument, subject, "a WebSocket begins with a GET"),
                        false);
  }
  headers extra = {{"Connection", "Upgrade"},
                   {"Upgrade", "websocket"},
                   {"Sec-WebSocket-Version", "13"},
                   {"Sec-WebSocket-Key", key}};
  if (!options.subprotocols.empty()) {
    extra.add("Sec-WebSocket-Protocol", joined(options.subprotocols));
  }
  const std::size_t max_body = core->options().max_body;
  send_options sending;
  sending.cancel = options.cancel;
  sending.silence = options.silence;
  const auto work =
      std::make_shared<exchange>(std::move(core), std::move(what), std::move(sending));
  work->ask_to_upgrade(extra);
  co_await exchange::begin(work);
  if (work->answer().status != 101) {
    work->answer().body = co_await exchange::read_all(work, max_body);
    throw upgrade_refused(work->subject(), std::move(work->answer()));
  }
  if (const char* flaw = flaw_of(work->answer(), key, options.subprotocols)) {
    work->abandon();
    throw request_error(error(errc::data_loss, work->subject(), flaw), true);
  }
  work->lift_timeout();
  auto made = std::make_shared<websocket_connection>(work, std::move(options));
  auto starting = run(made, start(made));
  co_await std::move(starting);
  co_return made;
}

asio::awaitable<bool> websocket_connection::start(std::shared_ptr<websocket_connection> self) {
  self->work_->via()->guard.watch(self->work_->via(), self->options_.cancel.deadline);
  self->work_->now_doing("the WebSocket was open");
  self->beat();
  co_return true;
}

template <typename Result>
asio::awaitable<Result> websocket_connection::run(std::shared_ptr<websocket_connection> self,
                                                  asio::awaitable<Result> work) {
  auto all = guarded(self, std::move(work));
  return asio::co_spawn(self->work_->via()->executor, std::move(all), asio::use_awaitable);
}

template <typename Result>
asio::awaitable<Result> websocket_connection::guarded(std::shared_ptr<websocket_connection> self,
                                                      asio::awaitable<Result> work) {
  co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
  std::optional<error> failure;
  try {
    co_return co_await std::move(work);
  } catch (const error& e) {
    failure = e;
  } catch (const boost::system::system_error& e) {
    failure.emplace(errc::unavailable, self->work_->subject(), e.code().message());
  }
  const asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
  const bool cancelled = state.cancelled() != asio::cancellation_type::none;
  // A misuse, or what was known before, leaves everything as it is.
  const bool harmless = failure->code() == errc::failed_precondition ||
                        failure->code() == errc::invalid_argument || self->failure_;
  if (!harmless) {
    self->failure_ = self->work_->settle(*failure, cancelled);
    self->fall_silent();
  }
  if (self->failure_ && failure->code() != errc::invalid_argument) failure = self->failure_;
  throw request_error(*failure, true);
}

void websocket_connection::fall_silent() {
  heart_.cancel();
  turn_.cancel();
}

void websocket_connection::check_open() const {
  if (failure_) throw error(*failure_);
  if (ended_ || close_sent_) {
    throw error(errc::failed_precondition, work_->subject(), "the WebSocket is closed");
  }
}

asio::awaitable<std::optional<websocket_message>> websocket_connection::read(
    std::shared_ptr<websocket_connection> self) {
  return run(self, read_message(self));
}

asio::awaitable<std::optional<websocket_message>> websocket_connection::read_message(
    std::shared_ptr<websocket_connection> self) {
  using event = websocket_inbound::event;
  const connection_ptr& via = self->work_->via();
  const std::string& subject = self->work_->subject();
  for (;;) {
    if (self->failure_) throw error(*self->failure_);
    if (self->ended_) co_return std::nullopt;
    std::string_view data = via->unread_text();
    const std::size_t before = data.size();
    const event what = self->inbound_.next(data);
    via->use(before - data.size());
    const std::string_view payload = self->inbound_.payload();
    switch (what) {
      case event::text:
      case event::binary: {
        websocket_message message;
        message.kind = what == event::text ? websocket_kind::text : websocket_kind::binary;
        message.data = payload;
        via->guard.watch(via, self->options_.cancel.deadline);
        co_return message;
      }
      case event::ping:
        self->answer_ping(payload);
        continue;
      case event::pong:
        continue;
      case event::close:
        self->close_code_ = self->inbound_.close_code();
        self->close_reason_ = std::string(payload);
        co_await self->end_well();
        co_return std::nullopt;
      case event::failed: {
        const bool too_large = self->inbound_.close_code() == 1009;
        throw error(too_large ? errc::resource_exhausted : errc::data_loss, subject,
                    std::string("the WebSocket brought ") + self->inbound_.failure());
      }
      case event::need_more:
        break;
    }
    error_code ec;
    deadline until = self->work_->patience();
    if (self->close_sent_) until = earlier(until, deadline::after(closing_time));
    via->guard.watch(via, until);
    const std::size_t count = co_await via->fill(ec);
    if (count > 0 || !ec) continue;
    // A peer may answer a close frame by closing the connection.
    if (self->close_sent_ && !via->guard.barked() && !via->cancelled) {
      co_await self->end_well();
      co_return std::nullopt;
    }
    throw error(errc::unavailable, subject,
                "the WebSocket was cut off: " + via->stream->explain(ec));
  }
}

asio::awaitable<void> websocket_connection::end_well() {
  const connection_ptr& via = work_->via();
  // The answer stands behind a write that is on its way, which a peer that is done may never take.
  via->guard.watch(via, earlier(options_.cancel.deadline, deadline::after(answering_time)));
  if (!close_sent_) {
    close_sent_ = true;
    const std::uint16_t code = close_code_ == 1005 ? std::uint16_t{0} : close_code_;
    std::string frame;
    append_frame(frame, opcode::close, random_bytes<4>(), close_payload(code, {}));
    try {
      co_await send(std::move(frame), true);
    } catch (const error&) {
      // The peer has said all that it wanted, and need not hear the answer.
    }
  }
  error_code ignored;
  co_await via->stream->shutdown(ignored);
  ended_ = true;
  via->guard.rest();
  via->working_for = 0;
  via->close();
  fall_silent();
}

asio::awaitable<void> websocket_connection::write(std::shared_ptr<websocket_connection> self,
                                                  websocket_kind kind, std::string_view first,
                                                  std::string_view rest) {
  const opcode code = kind == websocket_kind::text ? opcode::text : opcode::binary;
  auto work = run(self, write_frame(self, code, first, rest));
  co_await std::move(work);
}

asio::awaitable<bool> websocket_connection::write_frame(std::shared_ptr<websocket_connection> self,
                                                        opcode kind, std::string_view first,
                                                        std::string_view rest) {
  self->check_open();
  std::string frame;
  append_frame(frame, kind, random_bytes<4>(), first, rest);
  if (!co_await self->send(std::move(frame), false)) self->check_open();
  co_return true;
}

asio::awaitable<bool> websocket_connection::send(std::string frames, bool last) {
  while (writing_) {
    error_code woken;
    co_await turn_.async_wait(asio::redirect_error(asio::use_awaitable, woken));
    if (failure_) throw error(*failure_);
  }
  if (ended_ || (close_sent_ && !last)) co_return false;
  writing_ = true;
  error_code ec;
  const std::array<asio::const_buffer, 1> out = {asio::buffer(frames)};
  co_await work_->via()->stream->write(out, ec);
  writing_ = false;
  turn_.cancel();
  if (ec) {
    throw error(errc::unavailable, work_->subject(),
                "writing to the WebSocket: " + work_->via()->stream->explain(ec));
  }
  co_return true;
}

asio::awaitable<void> websocket_connection::close(std::shared_ptr<websocket_connection> self,
                                                  std::uint16_t code, std::string reason) {
  auto work = run(self, write_close(self, code, std::move(reason)));
  co_await std::move(work);
}

asio::awaitable<bool> websocket_connection::write_close(std::shared_ptr<websocket_connection> self,
                                                        std::uint16_t code, std::string reason) {
  if (self->ended_ || self->close_sent_ || self->failure_) co_return false;
  if (reason.size() > 123 || !is_utf8(reason)) {
    throw error(errc::invalid_argument, "reason", "must be at most 123 bytes of UTF-8");
  }
  if (code < 1000 || code > 4999 || code == 1005 || code == 1006 || code == 1015) {
    throw error(errc::invalid_argument, "code", "must be 1000 or one from 3000 to 4999");
  }
  self->close_sent_ = true;
  // A read that is pending waits as long as the peer may take, no longer.
  const connection_ptr& via = self->work_->via();
  via->guard.watch(via, earlier(self->options_.cancel.deadline, deadline::after(closing_time)));
  std::string frame;
  append_frame(frame, opcode::close, random_bytes<4>(), close_payload(code, reason));
  co_return co_await self->send(std::move(frame), true);
}

// Beside a write that is on its way, so that a peer that does not read does not keep us from it.
asio::awaitable<void> websocket_connection::write_controls(
    std::shared_ptr<websocket_connection> self) {
  while (!self->controls_.empty() && !self->close_sent_) {
    std::string frame = std::exchange(self->controls_, {});
    co_await self->send(std::move(frame), false);
  }
  self->sending_controls_ = false;
}

void websocket_connection::send_control(std::string frame) {
  if (close_sent_ || failure_) return;
  // The latest pong is enough (RFC 6455, section 5.5.3), and so is one ping.
  controls_ = std::move(frame);
  if (sending_controls_) return;
  sending_controls_ = true;
  asio::co_spawn(work_->via()->executor, write_controls(shared_from_this()),
                 [self = shared_from_this()](const std::exception_ptr& failed) {
                   // Who reads sees why.
                   if (failed) self->work_->via()->close();
                 });
}

void websocket_connection::answer_ping(std::string_view payload) {
  std::string frame;
  append_frame(frame, opcode::pong, random_bytes<4>(), payload);
  send_control(std::move(frame));
}

void websocket_connection::beat() {
  if (options_.ping_interval.count() <= 0) return;
  heart_.expires_after(options_.ping_interval);
  heart_.async_wait([weak = weak_from_this()](const error_code& ec) {
    const auto self = weak.lock();
    if (ec || !self || self->ended_ || self->failure_ || self->close_sent_) return;
    std::string frame;
    append_frame(frame, opcode::ping, random_bytes<4>(), {});
    self->send_control(std::move(frame));
    self->beat();
  });
}

}  // namespace mizzen::http::detail

namespace mizzen::http {
namespace {

// A server that refuses without a better reason is not ready for it, or cannot take it this way.
errc code_of(int status) noexcept {
  const errc code = errc_of_status(status);
  if (code != errc::unknown) return code;
  return status >= 500 ? errc::unavailable : errc::failed_precondition;
}

}  // namespace

upgrade_refused::upgrade_refused(std::string_view subject, response answer)
    : error(code_of(answer.status), subject,
            "the server answered " + std::to_string(answer.status) + " " +
                std::string(reason_phrase(answer.status)) + " instead of opening a WebSocket"),
      answer_(std::make_shared<const response>(std::move(answer))) {}

websocket::websocket(std::shared_ptr<detail::websocket_connection> over) noexcept
    : connection_(std::move(over)) {}
websocket::websocket() noexcept = default;
websocket::websocket(websocket&&) noexcept = default;
websocket& websocket::operator=(websocket&& other) noexcept {
  if (connection_ && connection_ != other.connection_) connection_->abort();
  connection_ = std::move(other.connection_);
  return *this;
}
websocket::~websocket() {
  if (connection_) connection_->abort();
}

const std::string& websocket::subprotocol() const noexcept { return connection_->subprotocol(); }

boost::asio::awaitable<std::optional<websocket_message>> websocket::read() {
  return detail::websocket_connection::read(connection_);
}

boost::asio::awaitable<void> websocket::write(websocket_kind kind, std::string_view first,
                                              std::string_view rest) {
  return detail::websocket_connection::write(connection_, kind, first, rest);
}

boost::asio::awaitable<void> websocket::close(std::uint16_t code, std::string reason) {
  return detail::websocket_connection::close(connection_, code, std::move(reason));
}

void websocket::abort() noexcept { connection_->abort(); }

std::uint16_t websocket::close_code() const noexcept { return connection_->close_code(); }

const std::string& websocket::close_reason() const noexcept { return connection_->close_reason(); }

}  // namespace mizzen::http
