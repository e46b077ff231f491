#include "http/exchange.hpp"

#include "http/parser.hpp"

#include <mizzen/http/retry.hpp>

#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

namespace mizzen::http::detail {
namespace {

// What is read of a source at once.
constexpr std::size_t piece_size = std::size_t{128} << 10;

}  // namespace

exchange::exchange(std::shared_ptr<client_core> core, request what, send_options options)
    : core_(std::move(core)),
      what_(std::move(what)),
      options_(std::move(options)),
      subject_(what_.method + " " + what_.url) {
  try {
    check_request(what_, subject_);
    to_ = parse_destination(what_.url, subject_);
    if (options_.source && !what_.body.empty()) {
      throw error(errc::invalid_argument, subject_, "it has a body and a source of one");
    }
    body_size_ = options_.source ? options_.source->size() : what_.body.size();
    options_.cancel.check(subject_);
  } catch (const error& e) {
    throw request_error(e, false);
  }
  const client_options& settings = core_->options();
  until_ = options_.cancel.deadline;
  if (settings.timeout.count() > 0) until_ = earlier(until_, deadline::after(settings.timeout));
  if (settings.gzip && !what_.headers.contains("Accept-Encoding")) {
    asked_for_gzip_ = true;
    extra_.add("Accept-Encoding", "gzip");
  }
}

void exchange::ask_to_upgrade(const headers& with) {
  wants_upgrade_ = true;
  asked_for_gzip_ = false;
  extra_ = with;
}

exchange::~exchange() {
  if (body_) abandon();
}

asio::awaitable<void> exchange::begin(std::shared_ptr<exchange> self) {
  const std::optional<proxy>& through = self->core_->settings->through;
  const bool absolute = through && !through->is_socks() && !self->to_.tls && !self->wants_upgrade_;
  if (absolute && through->has_login) {
    self->extra_.add("Proxy-Authorization", through->authorization());
  }
  self->head_ = request_head(self->what_, self->body_size_, self->to_,
                             self->core_->options().default_headers, self->extra_, absolute);
  self->via_ = self->core_->pool.take(self->to_.origin());
  self->reused_ = self->via_ != nullptr;
  if (!self->reused_) self->use_new_connection();
  for (;;) {
    std::optional<request_error> failure;
    try {
      self->listen_for_stop();
      co_await run(self, &exchange::send_and_read_head);
      co_return;
    } catch (const request_error& e) {
      failure = e;
    }
    const bool stale = self->reused_ && !self->answer_started_ &&
                       failure->code() == errc::unavailable && is_safe_method(self->what_.method);
    if (!stale) throw *failure;
    self->core_->options().log.log(log_level::debug, "http", "sent again on a new connection",
                                   {{"request", self->subject_}});
    self->reused_ = false;
    self->failed_ = false;
    self->use_new_connection();
  }
}

void exchange::use_new_connection() {
  reusable_ = true;
  via_ = std::make_shared<connection>(asio::make_strand(core_->executor));
}

void exchange::listen_for_stop() {
  on_stop_.reset();
  if (!options_.cancel.token.stop_possible()) return;
  // A late call must not hit the request that has the connection by then.
  on_stop_.emplace(options_.cancel.token, [via = via_, number = number_] {
    asio::post(via->executor, [via, number] {
      if (via->working_for != number) return;
      via->cancelled = true;
      via->close();
    });
  });
}

template <typename Result>
asio::awaitable<Result> exchange::run(std::shared_ptr<exchange> self,
                                      asio::awaitable<Result> (exchange::*step)()) {
  auto work = guarded(self, step);
  return asio::co_spawn(self->via_->executor, std::move(work), asio::use_awaitable);
}

template <typename Result>
asio::awaitable<Result> exchange::guarded(std::shared_ptr<exchange> self,
                                          asio::awaitable<Result> (exchange::*step)()) {
  // The caller's cancellation may be of any kind; whatever was half done is thrown away.
  co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
  std::optional<error> failure;
  try {
    auto work = (*self.*step)();
    co_return co_await std::move(work);
  } catch (const error& e) {
    failure = e;
  } catch (const boost::system::system_error& e) {
    failure.emplace(errc::unavailable, self->subject_, e.code().message());
  } catch (...) {
    // Of a source, a sink, or whoever watches their progress.
    self->settle(error(errc::unknown, self->subject_, "ended by the caller"), false);
    throw;
  }
  const asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
  throw self->settle(*failure, state.cancelled() != asio::cancellation_type::none);
}

asio::awaitable<bool> exchange::send_and_read_head() {
  const connection_ptr via = via_;
  via->working_for = number_;
  if (options_.cancel.token.stop_requested()) {
    throw error(errc::cancelled, subject_, "cancelled by the caller");
  }
  if (!via->is_connected()) {
    co_await via->connect(core_->settings, to_, subject_, until_, wants_upgrade_);
  }
  via->guard.watch(via, patience());
  doing_ = "sending the request";
  sent_ = true;
  co_await write();
  doing_ = "waiting for the answer";
  co_await read_head();
  doing_ = "reading the answer";
  if (options_.sink && answer_.ok() && whole_) {
    co_await pour();
  } else if (whole_) {
    answer_.body = co_await collect();
  } else if (body_->decoder.done() && !body_->unzip && answer_.status != 101) {
    finish();
  } else {
    via->guard.rest();
  }
  co_return true;
}

deadline exchange::patience() const noexcept {
  return options_.silence.count() > 0 ? earlier(until_, deadline::after(options_.silence)) : until_;
}

// Why it was closed under the operation matters more than how the operation took it.
request_error exchange::settle(const error& failure, bool cancelled_here) {
  failed_ = true;
  body_.reset();
  connection& via = *via_;
  if (cancelled_here) via.cancelled = true;
  via.guard.rest();
  via.working_for = 0;
  error why = failure;
  if (via.guard.barked()) {
    const bool late = until_.expired() || options_.silence.count() == 0 || !sent_;
    why = error(errc::deadline_exceeded, subject_,
                late ? "the deadline passed while " + std::string(doing_)
                     : "the server was silent for " + std::to_string(options_.silence.count()) +
                           " ms while " + std::string(doing_));
  } else if (via.cancelled) {
    why = error(errc::cancelled, subject_, "cancelled by the caller");
  }
  via.close();
  return request_error(why, sent_);
}

void exchange::fail(std::string_view doing, std::string_view why) const {
  throw error(errc::unavailable, subject_, std::string(doing) + ": " + std::string(why));
}

asio::awaitable<void> exchange::write() {
  error_code ec;
  if (options_.source) {
    co_await write_pieces(ec);
  } else {
    const std::array<asio::const_buffer, 2> buffers = {asio::buffer(head_),
                                                       asio::buffer(what_.body)};
    co_await via_->stream->write(buffers, ec);
  }
  // A server may answer (413, say) and close without reading everything: the answer is wanted.
  if (ec && ec != asio::error::broken_pipe && ec != asio::error::connection_reset) {
    fail("sending the request", via_->stream->explain(ec));
  }
  if (ec) reusable_ = false;
}

// Each piece within the patience. Announced, or in chunks (RFC 9112, section 7.1).
asio::awaitable<void> exchange::write_pieces(error_code& ec) {
  body_source& source = *options_.source;
  std::vector<char> room(piece_size);
  std::string frame = head_;
  std::uint64_t left = body_size_.value_or(std::numeric_limits<std::uint64_t>::max());
  source.rewind();
  progress_.sent = 0;
  for (bool done = false; !done && !ec;) {
    const auto most = static_cast<std::size_t>(std::min<std::uint64_t>(left, room.size()));
    const std::size_t count = most > 0 ? source.read(std::span(room).first(most)) : 0;
    if (count == 0 && left > 0 && body_size_) {
      throw error(errc::failed_precondition, subject_,
                  "the body ends " + std::to_string(left) + " bytes before its announced size");
    }
    left -= count;
    done = body_size_ ? left == 0 : count == 0;
    std::string_view end;
    if (!body_size_) {
      std::array<char, 16> size{};
      const auto digits = std::to_chars(size.begin(), size.end(), count, 16);
      frame.append(size.begin(), digits.ptr).append("\r\n");
      end = "\r\n";
    }
    const std::array<asio::const_buffer, 3> buffers = {
        asio::buffer(frame), asio::buffer(room.data(), count), asio::buffer(end)};
    via_->guard.watch(via_, patience());
    co_await via_->stream->write(buffers, ec);
    frame.clear();
    if (ec) co_return;
    progress_.sent += count;
    if (count > 0 && options_.progress) options_.progress(progress_);
  }
}

asio::awaitable<std::size_t> exchange::fill(error_code& ec) {
  via_->guard.watch(via_, patience());
  const std::size_t count = co_await via_->fill(ec);
  if (count > 0) answer_started_ = true;
  co_return count;
}

asio::awaitable<void> exchange::read_head() {
  for (;;) {
    response_parser parser({core_->options().max_header, std::numeric_limits<std::size_t>::max()});
    parser.stop_after_header();
    if (what_.method == "HEAD") parser.expect_no_body();
    for (;;) {
      via_->use(parser.put(via_->unread_text()));
      if (parser.failure()) {
        const bool too_large = parser.failure()->status == 431;
        throw error(too_large ? errc::resource_exhausted : errc::data_loss, subject_,
                    "the answer: " + parser.failure()->message);
      }
      if (parser.done()) break;
      error_code ec;
      if (co_await fill(ec) == 0 && ec) {
        fail(answer_started_ ? "the answer is cut off" : doing_, via_->stream->explain(ec));
      }
    }
    const int status = parser.get().status;
    if (status < 200 && status != 101) continue;  // 100 Continue, 103 Early Hints
    if (status == 101 && !wants_upgrade_) {
      throw error(errc::unimplemented, subject_, "the server switched protocols unasked");
    }
    if (!parser.keep_alive() || parser.ends_with_connection()) reusable_ = false;
    const body_decoder decoder(parser.body_framing(), parser.content_length());
    answer_ = parser.take();
    decode_as_said(decoder);
    co_return;
  }
}

void exchange::decode_as_said(body_decoder decoder) {
  body_.emplace(decoder, nullptr);
  if (!asked_for_gzip_ || decoder.done()) return;
  const std::vector<std::string_view> codings = answer_.headers.values("Content-Encoding");
  if (codings.empty()) return;
  if (codings.size() > 1 || !answer_.headers.has_token("Content-Encoding", "gzip")) {
    throw error(errc::unimplemented, subject_,
                "the answer's Content-Encoding is not the gzip that was asked for");
  }
  body_->unzip = std::make_unique<gunzip>();
  answer_.headers.erase("Content-Encoding");
  answer_.headers.erase("Content-Length");
}

asio::awaitable<std::string_view> exchange::read(std::shared_ptr<exchange> self) {
  return run(std::move(self), &exchange::next_piece);
}

asio::awaitable<std::string> exchange::read_all(std::shared_ptr<exchange> self,
                                                std::size_t max_size) {
  self->whole_ = max_size;
  return run(std::move(self), &exchange::collect);
}

asio::awaitable<std::string_view> exchange::next_piece() {
  if (failed_) throw error(errc::failed_precondition, subject_, "the answer is closed");
  if (!body_) co_return std::string_view();
  body_reader& body = *body_;
  for (;;) {
    if (body.unzip) {
      std::string_view piece;
      try {
        piece = body.unzip->next();
      } catch (const std::runtime_error& e) {
        throw error(errc::data_loss, subject_, std::string("the answer is not gzip: ") + e.what());
      }
      if (!piece.empty()) {
        via_->guard.rest();
        co_return piece;
      }
    }
    if (body.decoder.done()) {
      if (body.unzip && !body.unzip->complete()) {
        throw error(errc::data_loss, subject_, "the answer is cut off: its gzip does not end");
      }
      finish();
      co_return std::string_view();
    }
    if (via_->unread_size() == 0) {
      error_code ec;
      const std::size_t count = co_await fill(ec);
      if (count == 0 && ec == asio::error::eof) {
        body.decoder.put_eof();
        if (body.decoder.done()) continue;
      }
      if (count == 0 && ec) fail("the answer is cut off", via_->stream->explain(ec));
      if (via_->is_closed()) fail("the answer is cut off", "closed");
    }
    const body_decoder::progress made = body.decoder.decode(via_->unread(), via_->unread_size());
    via_->use(made.used);
    if (body.decoder.failure()) {
      throw error(errc::data_loss, subject_,
                  std::string("the answer: not HTTP: ") + body.decoder.failure());
    }
    if (made.payload.empty()) continue;
    if (!body.unzip) {
      via_->guard.rest();
      co_return made.payload;
    }
    body.unzip->put(made.payload);
  }
}

// The body was read to its end: the connection is free.
void exchange::finish() {
  body_.reset();
  const connection_ptr via = via_;
  via->guard.rest();
  via->working_for = 0;
  on_stop_.reset();
  if (!reusable_ || via->unread_size() > 0 || via->is_closed()) return via->close();
  core_->pool.put(to_.origin(), via);
}

asio::awaitable<std::string> exchange::collect() {
  // A length that is claimed is believed up to here; a longer body grows as it arrives.
  constexpr std::uint64_t believed_length = std::uint64_t{1} << 20;
  const error too_large(
      errc::resource_exhausted, subject_,
      "the answer: the body is larger than " + std::to_string(*whole_) + " bytes");
  std::string all;
  if (body_ && !body_->unzip) {
    const std::uint64_t claimed = body_->decoder.claimed();
    if (claimed > *whole_) throw too_large;
    all.reserve(static_cast<std::size_t>(std::min(claimed, believed_length)));
  }
  for (;;) {
    const std::string_view piece = co_await next_piece();
    if (piece.empty()) co_return all;
    if (piece.size() > *whole_ - all.size()) throw too_large;
    all.append(piece);
  }
}

asio::awaitable<void> exchange::pour() {
  options_.sink->begin(answer_);
  for (;;) {
    const std::string_view piece = co_await next_piece();
    if (piece.empty()) co_return;
    options_.sink->write(piece);
    progress_.received += piece.size();
    if (options_.progress) options_.progress(progress_);
  }
}

void exchange::abandon() noexcept {
  if (!via_) return;
  try {
    asio::post(via_->executor, [via = via_, number = number_] {
      if (via->working_for != number) return;
      via->cancelled = true;
      via->guard.rest();
      via->close();
    });
  } catch (...) {
    // Out of memory; the socket is freed with its connection.
  }
}

}  // namespace mizzen::http::detail
