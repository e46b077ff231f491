#include "kubernetes/client_impl.hpp"
#include "kubernetes/shared_loop.hpp"

#include <mizzen/core/error.hpp>

#include <boost/asio/co_spawn.hpp>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

namespace mizzen::kubernetes {
namespace {

namespace asio = boost::asio;

// The file name of this program, reduced to what may stand in a header and a field manager.
std::string program_name() {
  std::string name;
  for (const char* at = program_invocation_short_name; at && *at; ++at) {
    const bool plain = (*at >= '0' && *at <= '9') || (*at >= 'a' && *at <= 'z') ||
                       (*at >= 'A' && *at <= 'Z') || *at == '.' || *at == '_' || *at == '-';
    name += plain ? *at : '-';
    if (name.size() == 64) break;
  }
  return name.empty() ? "mizzen" : name;
}

void check(const client_options& options) {
  const auto refuse = [](std::string_view field, std::string_view why) {
    throw error(errc::invalid_argument, "client_options." + std::string(field), why);
  };
  if (options.timeout.count() < 0) refuse("timeout", "must not be negative");
  if (!(options.qps >= 0 && options.qps <= 1e9)) refuse("qps", "must be from 0 to 1e9");
  if (options.burst < 1) refuse("burst", "must be at least 1");
  if (options.max_body == 0) refuse("max_body", "must not be 0");
  // metav1.CreateOptions: at most 128 printable characters.
  if (options.field_manager.size() > 128) {
    refuse("field_manager", "must not be longer than 128 characters");
  }
  options.retry.check();
}

asio::awaitable<http::response> send_once(std::shared_ptr<http::client> over, http::request what,
                                          http::send_options options) {
  co_return co_await over->send(std::move(what), std::move(options));
}

// What a server says and what was broken before; the loop decides about both.
struct outcome {
  std::optional<http::response> answer;
  std::exception_ptr exception;
  std::optional<http::request_error> failure;
};

}  // namespace

// What becomes of a call after each attempt.
class client::impl::decision {
 public:
  // A PUT or DELETE whose answer was lost may have been carried out, and is a 409 or 404 the second
  // time: only reads are as good as new.
  decision(impl& of, const std::string& method, bool may_retry, deadline until)
      : of_(of),
        may_retry_(may_retry),
        again_(of.options.retry, http::is_safe_method(method) ? "GET" : "POST", until) {}

  // Once per call.
  bool wants_other_credential(const outcome& got) {
    return got.answer && got.answer->status == 401 && !std::exchange(refreshed_, true);
  }

  // How long to wait before the next attempt; nothing where the answer is a success. Throws what
  // stands otherwise.
  std::optional<std::chrono::milliseconds> after(const outcome& got, const std::string& subject) {
    const auto now = std::chrono::system_clock::now();
    std::optional<std::chrono::milliseconds> wait;
    if (!got.answer) {
      if (may_retry_) wait = again_.after(*got.failure);
      if (!wait) std::rethrow_exception(got.exception);
    } else {
      const http::response& answer = *got.answer;
      if (answer.ok() || answer.status == 101) {
        of_.hear_warnings(answer.headers, subject);
        return std::nullopt;
      }
      // A bare 429 is a refusal that stands, such as that of an eviction by a disruption budget.
      const std::string* const advice = answer.headers.find("Retry-After");
      if (may_retry_ && (answer.status != 429 || advice)) wait = again_.after(answer, now);
      if (!wait) {
        of_.hear_warnings(answer.headers, subject);
        const auto advised = http::parse_retry_after(advice ? *advice : "", now);
        throw status_error::from_answer(subject, answer.status, answer.body,
                                        advised.value_or(std::chrono::seconds(0)));
      }
    }
    of_.options.log.log(
        log_level::debug, "kubernetes", "sending again",
        {{"request", subject}, {"attempt", again_.attempts() + 1}, {"wait_ms", wait->count()}});
    return wait;
  }

 private:
  impl& of_;
  bool may_retry_;
  bool refreshed_ = false;
  http::retry again_;
};

client::impl::impl(asio::any_io_executor on, kubernetes::config from, client_options with)
    : executor(std::move(on)),
      cluster(std::move(from)),
      options(std::move(with)),
      field_manager(options.field_manager.empty() ? program_name() : options.field_manager),
      user_agent(options.user_agent.empty() ? program_name() + " mizzen/" MIZZEN_VERSION " (linux)"
                                            : options.user_agent),
      auth(executor, cluster, [this] {
        check(options);
        authenticator_options made = options.auth;
        return made;
      }()) {
  while (cluster.server.ends_with('/')) cluster.server.pop_back();
  if (options.max_in_flight != 0 || options.qps > 0) {
    limits = std::make_shared<detail::limiter>(executor, options.max_in_flight, options.qps,
                                               options.burst);
  }
}

std::shared_ptr<http::client> client::impl::connections(const authorization& with) {
  const std::lock_guard lock(mutex);
  if (connected && tls_generation == with.tls) return connected;
  tls_material material = auth.tls();
  http::client_options made;
  made.tls = std::move(material.options);
  made.proxy = cluster.proxy;
  made.timeout = options.timeout;  // each attempt; the loop has the deadline of them all
  made.gzip = options.gzip && cluster.compression;
  made.max_body = options.max_body;
  made.max_idle = options.max_idle;
  made.default_headers = {{"User-Agent", user_agent}, {"Accept", "application/json"}};
  made.log = options.log;
  connected = std::make_shared<http::client>(executor, std::move(made));
  tls_generation = material.generation;
  return connected;
}

void client::impl::hear_warnings(const http::headers& from, const std::string& subject) {
  if (!from.contains("Warning")) return;
  for (warning& each : parse_warnings(from)) {
    each.request = subject;
    if (options.on_warning) {
      options.on_warning(each);
      continue;
    }
    {
      // Bounded, as the texts are the server's.
      const std::lock_guard lock(mutex);
      if (heard.size() >= 1000 || !heard.insert(each.text).second) continue;
    }
    options.log.log(log_level::warning, "kubernetes", "the server warns",
                    {{"warning", each.text}, {"request", subject}});
  }
}

asio::awaitable<http::response> client::impl::exchange(std::shared_ptr<impl> self,
                                                       http::request what, call_options call,
                                                       sender send) {
  const std::string subject = what.method + " " + what.url;
  if (!what.url.starts_with('/') || what.url.starts_with("//")) {
    throw error(errc::invalid_argument, subject,
                "give a path below the server, as in /api/v1/pods: credentials go nowhere else");
  }
  what.url.insert(0, self->cluster.server);

  // What holds for the call until it has its answer; a stream's own life is the caller's business.
  cancellation until = call.cancel;
  if (self->options.timeout.count() > 0) {
    until.deadline = earlier(until.deadline, deadline::after(self->options.timeout));
  }
  until.check(subject);
  std::optional<detail::limiter::turn> turn;
  if (self->limits) {
    auto entering = detail::limiter::enter(self->limits, until, subject);
    turn.emplace(co_await std::move(entering));
  }

  decision next(*self, what.method, call.retry, until.deadline);
  for (;;) {
    http::request attempt = what;
    const authorization with = co_await self->auth.authorize(attempt, until);
    http::send_options sending;
    sending.cancel = call.cancel;
    sending.silence = call.silence;
    outcome got;
    try {
      auto sent = send(self->connections(with), std::move(attempt), std::move(sending));
      got.answer = co_await std::move(sent);
    } catch (const http::request_error& e) {
      got.exception = std::current_exception();
      got.failure = e;
    }
    if (next.wants_other_credential(got)) {
      const bool differs = co_await self->auth.refresh_after_401(with, until);
      if (differs) continue;
    }
    const std::optional<std::chrono::milliseconds> wait = next.after(got, subject);
    if (!wait) co_return std::move(*got.answer);
    co_await detail::sleep(self->executor, *wait, until, subject);
  }
}

client::client(asio::any_io_executor executor, kubernetes::config from, client_options options)
    : impl_(std::make_shared<impl>(std::move(executor), std::move(from), std::move(options))) {}

client client::from_environment(asio::any_io_executor executor, client_options options) {
  load_options loading;
  loading.log = options.log;
  return client(std::move(executor), config::from_environment(loading), std::move(options));
}

asio::awaitable<http::response> client::send(http::request what, call_options options) const {
  if (impl_->options.timeout.count() > 0) {
    options.cancel.deadline =
        earlier(options.cancel.deadline, deadline::after(impl_->options.timeout));
  }
  return impl::exchange(impl_, std::move(what), std::move(options), send_once);
}

const kubernetes::config& client::config() const noexcept { return impl_->cluster; }
const client_options& client::options() const noexcept { return impl_->options; }
const asio::any_io_executor& client::executor() const noexcept { return impl_->executor; }
const std::string& client::field_manager() const noexcept { return impl_->field_manager; }

void client::close_idle() const {
  std::shared_ptr<http::client> now;
  {
    const std::lock_guard lock(impl_->mutex);
    now = impl_->connected;
  }
  if (now) now->close_idle();
}

struct blocking::impl {
  explicit impl(kubernetes::config from, client_options options)
      : k8s(executor(), std::move(from), std::move(options)) {}
  ~impl() { loop->end(); }
  impl(const impl&) = delete;
  impl& operator=(const impl&) = delete;

  asio::any_io_executor executor() const { return detail::shared_loop::executor_of(loop); }

  const std::shared_ptr<detail::shared_loop> loop = std::make_shared<detail::shared_loop>();
  const kubernetes::client k8s;
};

blocking::blocking(client_options options) {
  load_options loading;
  loading.log = options.log;
  impl_ = std::make_unique<impl>(config::from_environment(loading), std::move(options));
}
blocking::blocking(config from, client_options options)
    : impl_(std::make_unique<impl>(std::move(from), std::move(options))) {}
blocking::blocking(blocking&&) noexcept = default;
blocking& blocking::operator=(blocking&&) noexcept = default;
blocking::~blocking() = default;

const kubernetes::client& blocking::client() const noexcept { return impl_->k8s; }
asio::any_io_executor blocking::executor() const noexcept { return impl_->executor(); }

void blocking::run_erased(asio::awaitable<void> what) {
  std::exception_ptr failed;
  bool done = false;
  asio::co_spawn(impl_->executor(), std::move(what), [&](std::exception_ptr e) {
    failed = std::move(e);
    done = true;
  });
  impl_->loop->restart();
  while (!done) {
    if (impl_->loop->run_one() == 0) {
      throw error(errc::internal, "blocking", "the event loop ran dry before the coroutine ended");
    }
  }
  if (failed) std::rethrow_exception(failed);
}

}  // namespace mizzen::kubernetes
