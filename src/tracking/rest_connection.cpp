#include "tracking/rest_connection.hpp"

#include "tracking/rest_messages.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/http/client.hpp>
#include <mizzen/http/retry.hpp>
#include <mizzen/tracking/mlflow_error.hpp>

#include <algorithm>
#include <chrono>
#include <condition_variable>
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

// For who repeats calls by himself.
[[noreturn]] void fail_once(const http::request& what, const http::response& answer,
                            std::optional<std::chrono::seconds> asked) {
  constexpr std::chrono::seconds longest{120};
  const auto wait = std::min(asked.value_or(std::chrono::seconds(0)), longest);
  try {
    fail(what, answer);
  } catch (const mlflow_error& e) {
    if (!rest_retry::is_transient(answer.status)) throw;
    throw passing_error(e, wait);
  } catch (const error& e) {
    // Halves of what is too large for a gateway may pass it.
    if (answer.status == 413) throw error(errc::out_of_range, e.subject(), e.message());
    throw passing_error(e, wait);
  }
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
  impl(rest_settings given, logger log_to, patience how)
      : settings(std::move(given)), log(std::move(log_to)), once(how == patience::once) {
    give(take());  // so that unusable certificates and proxies are told of at once
  }

  // A client that no other thread uses.
  std::unique_ptr<http::blocking_client> take() {
    {
      const std::scoped_lock lock(mutex);
      if (!idle.empty()) {
        auto client = std::move(idle.back());
        idle.pop_back();
        return client;
      }
    }
    http::client_options options;
    options.proxy = settings.proxy;
    options.tls.verify = settings.verify_tls;
    options.tls.ca_file = settings.server_certificate_file;
    options.tls.certificate_file = settings.client_certificate_file;
    options.tls.key_file = settings.client_certificate_file;
    options.connect_timeout = settings.timeout;
    options.timeout = std::chrono::milliseconds(0);
    options.max_idle = 1;
    options.default_headers = {{"User-Agent", "mizzen"}, {"Accept", "*/*"}};
    options.log = log;
    return std::make_unique<http::blocking_client>(std::move(options));
  }

  void give(std::unique_ptr<http::blocking_client> client) {
    const std::scoped_lock lock(mutex);
    if (idle.size() < most_idle) idle.push_back(std::move(client));
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
    auto client = take();
    http::send_options options;
    options.cancel.token = stop.get_token();
    if (whole) options.cancel.deadline = deadline::after(settings.timeout);
    options.silence = settings.timeout;
    options.source = how.source;
    options.sink = how.sink;
    http::response answer = client->send(what, options);
    give(std::move(client));
    return answer;
  }

  // whole: all of it must be done before the timeout, not only the next byte be there.
  http::response exchange(http::request what, const transfer& how, bool whole) {
    if (how.authorized) {
      if (!settings.authorization.empty())
        what.headers.set("Authorization", settings.authorization);
      if (!settings.workspace.empty()) what.headers.set("X-MLFLOW-WORKSPACE", settings.workspace);
    }
    rest_patience patience = settings.patience;
    if (once) patience.max_retries = 0;
    rest_retry retry(patience, how.again == repeatable::yes, std::random_device{}());
    for (;;) {
      std::optional<std::chrono::milliseconds> again;
      try {
        if (how.sink) how.sink->prepare(what);
        if (how.prepare) how.prepare(what);
        http::response answer = attempt(what, how, whole);
        if (answer.ok()) return answer;
        if (how.sink && how.sink->starts_over(answer)) continue;
        std::optional<std::chrono::seconds> asked;
        if (const std::string* field = answer.headers.find("Retry-After")) {
          asked = http::parse_retry_after(*field, std::chrono::system_clock::now());
        }
        again = retry.after_status(answer.status, asked);
        if (!again) {
          if (how.must_succeed && once) fail_once(what, answer, asked);
          if (how.must_succeed) fail(what, answer);
          return answer;
        }
        log.log(log_level::warning, "tracking", "the server refused a call for now",
                {{"request", shown(what)}, {"status", answer.status}, {"wait_ms", again->count()}});
      } catch (const http::request_error& e) {
        const bool passing = e.code() == errc::unavailable || e.code() == errc::deadline_exceeded;
        if (passing) again = retry.after_failure(e.was_sent());
        if (!again) {
          // What the source or the sink threw names a file.
          const bool of_request = e.subject() == what.method + " " + what.url;
          const error failure(e.code(), of_request ? shown(what) : e.subject(), e.message(),
                              std::current_exception());
          if (once) throw passing_error(failure);
          throw failure;
        }
        log.log(log_level::warning, "tracking", "the server could not be reached",
                {{"request", shown(what)}, {"error", e.message()}, {"wait_ms", again->count()}});
      }
      wait(*again, shown(what));
    }
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
  const bool once;
  std::stop_source stop;
  std::mutex mutex;
  std::condition_variable_any never;
  std::vector<std::unique_ptr<http::blocking_client>> idle;
};

rest_connection::rest_connection(rest_settings settings, logger log, patience how)
    : impl_(std::make_unique<impl>(std::move(settings), std::move(log), how)) {}
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

void rest_connection::interrupt() noexcept { impl_->stop.request_stop(); }

}  // namespace mizzen::tracking::detail
