// Exports to an OpenTelemetry receiver, by a thread that sends one at a time.
#include "tracking/otlp_settings.hpp"
#include "tracking/sink.hpp"

#include <mizzen/http/client.hpp>
#include <mizzen/http/retry.hpp>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>
#include <zlib.h>

namespace mizzen::tracking::detail {
namespace {

constexpr std::chrono::seconds longest_wait{120};
constexpr std::size_t most_answer = std::size_t{64} << 10;

std::string compress(std::string_view text) {
  constexpr int gzip_window = 15 + 16;
  z_stream stream{};
  if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, gzip_window, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    throw error(errc::resource_exhausted, "gzip", "there is no memory for it");
  }
  std::string out(deflateBound(&stream, static_cast<uLong>(text.size())), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int result = deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  if (result != Z_STREAM_END) throw error(errc::internal, "gzip", "it did not end");
  return out;
}

// What the specification lets a client send again.
bool is_transient(int status) {
  constexpr std::array<int, 4> transient = {429, 502, 503, 504};
  return std::find(transient.begin(), transient.end(), status) != transient.end();
}

class otlp_sink final : public metric_sink {
 public:
  otlp_sink(const otlp_settings* own, logger log) : log_(std::move(log)) {
    if (own != nullptr) own_ = *own;
  }

  ~otlp_sink() override {
    interrupt();
    if (thread_.joinable()) thread_.join();
  }

  void interrupt() noexcept override { stop_.request_stop(); }

  delivery write(std::span<const log_entry> entries, const log_part& part) override {
    const part_id id{std::string(part.log), part.begin, part.end};
    const std::scoped_lock lock(mutex_);
    if (under_way_) return delivery::under_way;
    if (finished_ && std::exchange(finished_, std::nullopt) == id) {
      if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
      return delivery::done;
    }
    failure_ = nullptr;
    const auto target = otlp_target_of(part.about);
    if (!target) return delivery::done;
    body_ = encode_otlp(part.log, entries, target->shape);
    if (body_.empty()) return delivery::done;
    url_ = target->url;
    under_way_ = id;
    // It blocks the signals that the drain's thread blocks.
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
    begun_.notify_one();
    return delivery::under_way;
  }

 private:
  struct part_id {
    std::string log;
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    bool operator==(const part_id&) const = default;
  };

  void run() noexcept {
    std::unique_lock lock(mutex_);
    while (begun_.wait(lock, stop_.get_token(), [this] { return under_way_.has_value(); })) {
      lock.unlock();
      std::exception_ptr failure;
      try {
        send(url_, std::move(body_));
      } catch (...) {
        failure = std::current_exception();
      }
      lock.lock();
      failure_ = failure;
      finished_ = std::exchange(under_way_, std::nullopt);
    }
  }

  // Throws passing_error where it is to be sent again, dropped_error where it must not.
  void send(const std::string& url, std::string body) {
    const bool is_own = own_ && own_->url == url;
    const otlp_settings& how = is_own ? *own_ : others_;
    const std::string subject = "POST " + url.substr(0, url.find('?'));
    http::request what;
    what.method = "POST";
    what.url = url;
    for (const auto& [name, value] : how.headers) what.headers.set(name, value);
    what.headers.set("Content-Type", "application/x-protobuf");
    if (how.gzip) {
      body = compress(body);
      what.headers.set("Content-Encoding", "gzip");
    }
    what.body = std::move(body);
    http::send_options options;
    options.cancel.token = stop_.get_token();
    options.cancel.deadline = deadline::after(how.timeout);
    http::response answer;
    try {
      answer = client_for(url, how).send(std::move(what), options);
    } catch (const error& e) {
      throw passing_error(error(e.code(), subject, e.message(), std::current_exception()));
    }
    if (answer.ok()) return check(subject, answer.body);
    std::string message = "the receiver answered " + std::to_string(answer.status) + " " +
                          std::string(http::reason_phrase(answer.status));
    if (const std::string said = decode_otlp_error(answer.body); !said.empty()) {
      message += ": " + said;
    }
    if (!is_transient(answer.status)) throw dropped_error(errc::unknown, subject, message);
    std::chrono::seconds wait{0};
    if (const std::string* field = answer.headers.find("Retry-After")) {
      const auto asked = http::parse_retry_after(*field, std::chrono::system_clock::now());
      wait = std::min(asked.value_or(wait), longest_wait);
    }
    throw passing_error(error(errc::unavailable, subject, message), wait);
  }

  void check(const std::string& subject, const std::string& body) const {
    const auto partial = decode_otlp_response(body);
    if (!partial) {
      throw passing_error(error(errc::data_loss, subject,
                                "the answer is not OTLP's; is this a receiver of metrics?"));
    }
    if (partial->rejected > 0) {
      throw dropped_error(errc::invalid_argument, subject,
                          "the receiver rejected " + std::to_string(partial->rejected) +
                              " points of this part: " + partial->message);
    }
    if (!partial->message.empty()) {
      log_.log(log_level::warning, "tracking", "the receiver of metrics has something to say",
               {{"request", subject}, {"message", partial->message}});
    }
  }

  // One at a time: the receiver of one's own, and those of dead processes.
  http::blocking_client& client_for(const std::string& url, const otlp_settings& how) {
    if (client_ && client_url_ == url) return *client_;
    http::client_options options;
    options.tls.ca_file = how.certificate_file;
    options.tls.certificate_file = how.client_certificate_file;
    options.tls.key_file = how.client_key_file;
    options.connect_timeout = how.timeout;
    options.timeout = how.timeout;
    options.max_body = most_answer;
    options.max_idle = 1;
    options.default_headers = {{"User-Agent", "OTel-OTLP-Exporter-Mizzen"}};
    options.log = log_;
    client_.emplace(std::move(options));
    client_url_ = url;
    return *client_;
  }

  const logger log_;
  std::optional<otlp_settings> own_;
  const otlp_settings others_;  // for the receivers of others: nothing of one's own goes there
  std::stop_source stop_;

  std::mutex mutex_;
  std::condition_variable_any begun_;
  std::optional<part_id> under_way_;
  std::optional<part_id> finished_;
  std::exception_ptr failure_;
  // Of the thread while a part is under way.
  std::string url_;
  std::string body_;

  std::optional<http::blocking_client> client_;  // of the thread
  std::string client_url_;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<metric_sink> make_otlp_sink(const otlp_settings* own, logger log) {
  return std::make_unique<otlp_sink>(own, std::move(log));
}

}  // namespace mizzen::tracking::detail
