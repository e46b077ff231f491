#include "tracking/rest_connection.hpp"

#include "tracking/rest_messages.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/http/client.hpp>
#include <mizzen/http/retry.hpp>
#include <mizzen/tracking/mlflow_error.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <stop_token>

namespace mizzen::tracking::detail {
namespace {

constexpr std::size_t most_idle = 8;

std::string shown(const http::request& what) {
  return what.method + " " + what.url.substr(0, what.url.find('?'));
}

// The start of a body that is not JSON, on one line, for a message.
std::string excerpt(std::string_view body) {
  std::string text;
  for (const char c : body.substr(0, 160)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      text += c;
    } else if (!text.empty() && text.back() != ' ') {
      text += ' ';
    }
  }
  if (body.size() > 160) text += " …";
  return text.empty() ? "nothing" : "'" + text + "'";
}

[[noreturn]] void fail(const http::request& what, const http::response& answer) {
  json body;
  try {
    body = parse_answer(answer.body);
  } catch (const std::exception&) {
    body = nullptr;
  }
  if (body.is_object() && (body.contains("error_code") || body.contains("message"))) {
    throw mlflow_error(shown(what), answer.status, body);
  }
  std::string message = "the server answered " + std::to_string(answer.status) + " " +
                        std::string(http::reason_phrase(answer.status)) + " with " +
                        excerpt(answer.body);
  if (answer.status == 401) {
    message +=
        "; give MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
        "MLFLOW_TRACKING_TOKEN";
  } else if (answer.status >= 300 && answer.status < 400) {
    message += ", to be found at '" + std::string(answer.headers.value("Location")) +
               "'; name that server";
  }
  throw error(errc_of_mlflow({}, answer.status), shown(what), message);
}

}  // namespace

std::string encode_query(const query_parameters& query) {
  std::string text;
  for (const auto& [key, value] : query) {
    text +=
        (text.empty() ? "" : "&") + http::percent_encode(key) + "=" + http::percent_encode(value);
  }
  return text;
}

struct rest_connection::impl {
  impl(rest_settings given, logger log_to) : settings(std::move(given)), log(std::move(log_to)) {
    give(take({}));  // so that unusable certificates and proxies are told of at once
  }

  // A client that no other thread uses. Those of another limit to the body are not mixed.
  std::unique_ptr<http::blocking_client> take(const transfer& how) {
    {
      const std::scoped_lock lock(mutex);
      auto& spare = idle[how.max_body];
      if (!spare.empty()) {
        auto client = std::move(spare.back());
        spare.pop_back();
        return client;
      }
    }
    return std::make_unique<http::blocking_client>(options_for(how));
  }

  http::client_options options_for(const transfer& how) const {
    http::client_options options;
    options.proxy = settings.proxy;
    options.tls.verify = settings.verify_tls;
    options.tls.ca_file = settings.server_certificate_file;
    options.tls.certificate_file = settings.client_certificate_file;
    options.tls.key_file = settings.client_certificate_file;
    options.connect_timeout = settings.timeout;
    options.timeout = std::chrono::milliseconds(0);
    options.max_body = how.max_body;
    options.max_idle = 1;
    options.default_headers = {{"User-Agent", "mizzen"}, {"Accept", "*/*"}};
    options.log = log;
    return options;
  }

  void give(std::unique_ptr<http::blocking_client> client, const transfer& how = {}) {
    const std::scoped_lock lock(mutex);
    auto& spare = idle[how.max_body];
    if (spare.size() < most_idle) spare.push_back(std::move(client));
  }

  // Waits, unless it is interrupted meanwhile.
  void wait(std::chrono::milliseconds time, const std::string& subject) {
    std::unique_lock lock(mutex);
    never.wait_for(lock, stop.get_token(), time, [] { return false; });
    if (stop.stop_requested()) {
      throw error(errc::cancelled, subject, "interrupted while it waited to be repeated");
    }
  }

  http::response attempt(const http::request& what, const transfer& how, bool whole) {
    auto client = take(how);
    http::send_options options;
    options.cancel.token = stop.get_token();
    if (whole) options.cancel.deadline = deadline::after(settings.timeout);
    options.silence = settings.timeout;
    http::response answer = client->send(what, options);
    give(std::move(client), how);
    return answer;
  }

  // Repeats try_once (which answers, or throws) as long as it is worth it.
  template <typename Attempt>
  http::response persist(http::request& what, const transfer& how, Attempt try_once) {
    if (how.authorized) {
      if (!settings.authorization.empty())
        what.headers.set("Authorization", settings.authorization);
      if (!settings.workspace.empty()) what.headers.set("X-MLFLOW-WORKSPACE", settings.workspace);
    }
    rest_retry retry(settings.patience, how.again == repeatable::yes, std::random_device{}());
    for (;;) {
      std::optional<std::chrono::milliseconds> again;
      try {
        http::response answer = try_once();
        if (answer.ok()) return answer;
        std::optional<std::chrono::seconds> asked;
        if (const std::string* field = answer.headers.find("Retry-After")) {
          asked = http::parse_retry_after(*field, std::chrono::system_clock::now());
        }
        again = retry.after_status(answer.status, asked);
        if (!again) {
          if (how.must_succeed) fail(what, answer);
          return answer;
        }
        log.log(log_level::warning, "tracking", "the tracking server refused a call for now",
                {{"request", shown(what)}, {"status", answer.status}, {"wait_ms", again->count()}});
      } catch (const http::request_error& e) {
        const bool passing = e.code() == errc::unavailable || e.code() == errc::deadline_exceeded;
        if (passing) again = retry.after_failure(e.was_sent());
        if (!again) throw error(e.code(), shown(what), e.message(), std::current_exception());
        log.log(log_level::warning, "tracking", "the tracking server could not be reached",
                {{"request", shown(what)}, {"error", e.message()}, {"wait_ms", again->count()}});
      }
      wait(*again, shown(what));
    }
  }

  http::response exchange(http::request what, const transfer& how, bool whole) {
    return persist(what, how, [&] { return attempt(what, how, whole); });
  }

  // Reads a body to its end into the sink; the body of a refusal into the answer.
  static boost::asio::awaitable<http::response> stream(
      http::client& client, const http::request& what, const http::send_options& options,
      const std::function<void(std::string_view)>& sink) {
    constexpr std::size_t most_refusal = std::size_t{1} << 20;
    auto opening = client.open(what, options);
    http::response_stream body = co_await std::move(opening);
    http::response head = body.head();
    if (!head.ok()) {
      std::string refusal = co_await body.read_all(most_refusal);
      head.body = std::move(refusal);
      co_return head;
    }
    for (;;) {
      const std::string_view piece = co_await body.read();
      if (piece.empty()) co_return head;
      sink(piece);
    }
  }

  http::response stream_once(const http::request& what,
                             const std::function<void(std::string_view)>& sink) {
    boost::asio::io_context context{1};
    http::client client(context.get_executor(), options_for({}));
    http::send_options options;
    options.cancel.token = stop.get_token();
    options.silence = settings.timeout;
    std::optional<http::response> answer;
    std::exception_ptr failure;
    boost::asio::co_spawn(context, stream(client, what, options, sink),
                          [&](const std::exception_ptr& thrown, http::response result) {
                            failure = thrown;
                            answer = std::move(result);
                          });
    while (!answer) context.run_one();
    if (failure) std::rethrow_exception(failure);
    return *std::move(answer);
  }

  json call(http::request what, repeatable again) {
    const http::response answer = exchange(what, {.again = again}, true);
    if (answer.body.empty()) return json::object();
    std::string why = "is not JSON";
    try {
      json body = parse_answer(answer.body);
      if (body.is_object()) return body;
      why = "is not a JSON object";
    } catch (const json::exception&) {  // NOLINT(bugprone-empty-catch): said below
    }
    throw error(errc::data_loss, shown(what),
                "the answer (" + std::to_string(answer.status) + ") " + why + " but " +
                    excerpt(answer.body) + "; is this an MLflow server?");
  }

  const rest_settings settings;
  const logger log;
  std::stop_source stop;
  std::mutex mutex;
  std::condition_variable_any never;
  std::map<std::size_t, std::vector<std::unique_ptr<http::blocking_client>>> idle;
};

rest_connection::rest_connection(rest_settings settings, logger log)
    : impl_(std::make_unique<impl>(std::move(settings), std::move(log))) {}
rest_connection::~rest_connection() = default;

const rest_settings& rest_connection::settings() const noexcept { return impl_->settings; }

json rest_connection::get(std::string_view path, const query_parameters& query) {
  http::request what;
  what.url = impl_->settings.url + std::string(path);
  if (!query.empty()) what.url += "?" + encode_query(query);
  return impl_->call(std::move(what), repeatable::yes);
}

json rest_connection::send(std::string_view method, std::string_view path, const json& body,
                           repeatable again) {
  http::request what;
  what.method = method;
  what.url = impl_->settings.url + std::string(path);
  what.headers.set("Content-Type", "application/json");
  what.body = body.dump();
  return impl_->call(std::move(what), again);
}

http::response rest_connection::exchange(http::request what, const transfer& how) {
  return impl_->exchange(std::move(what), how, false);
}

void rest_connection::download(http::request what, bool authorized,
                               const std::function<void()>& begin,
                               const std::function<void(std::string_view)>& sink) {
  impl_->persist(what, {.authorized = authorized}, [&] {
    begin();
    return impl_->stream_once(what, sink);
  });
}

void rest_connection::interrupt() noexcept { impl_->stop.request_stop(); }

}  // namespace mizzen::tracking::detail
