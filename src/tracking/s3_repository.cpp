#include "tracking/s3_repository.hpp"

#include "core/base64.hpp"
#include "core/sha256.hpp"
#include "tracking/checksum.hpp"
#include "tracking/s3_messages.hpp"
#include "tracking/text_sink.hpp"
#include "tracking/uri.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/http/transfer.hpp>

#include <algorithm>
#include <chrono>
#include <functional>
#include <mutex>
#include <optional>
#include <utility>

namespace mizzen::tracking::detail {

class s3_service {
 public:
  s3_service(s3_settings given, const logger& log)
      : settings_(std::move(given)), connection_(settings_.connection, log) {
    if (!settings_.lender) return;
    rest_settings lender = settings_.connection;
    lender.verify_tls = true;  // whatever is risked with the store: it is shown an identity
    lender_.emplace(std::move(lender), log);
  }

  const s3_settings& settings() const noexcept { return settings_; }

  void interrupt() noexcept {
    connection_.interrupt();
    if (lender_) lender_->interrupt();
  }

  struct call {
    repeatable again = repeatable::yes;
    // Of the body, hexadecimal; empty: of request::body.
    std::string sha256 = {};
    std::shared_ptr<http::body_source> source = nullptr;
    std::shared_ptr<http::resumable_sink> sink = nullptr;
  };

  // Signs each attempt, as a signature is good for minutes only. Any answer is returned.
  http::response send(http::request what, const call& how) {
    const std::string payload =
        how.sha256.empty() ? mizzen::detail::sha256_hex(what.body) : how.sha256;
    what.headers.set("x-amz-content-sha256", payload);
    if (!settings_.expected_owner.empty()) {
      what.headers.set("x-amz-expected-bucket-owner", settings_.expected_owner);
    }
    const auto sign = [&](http::request& attempt) {
      const std::optional<aws_credentials> as = credentials();
      if (!as) return;
      sign_request(attempt, *as, {.region = settings_.region}, payload,
                   std::chrono::system_clock::now());
    };
    return connection_.exchange(std::move(what), {.again = how.again,
                                                  .authorized = false,
                                                  .must_succeed = false,
                                                  .source = how.source,
                                                  .sink = how.sink,
                                                  .prepare = sign});
  }

 private:
  // Nothing where nothing is signed. Keys that are lent are renewed in time.
  std::optional<aws_credentials> credentials() {
    if (!settings_.lender) return settings_.credentials;
    const std::scoped_lock lock(mutex_);
    const auto now = std::chrono::system_clock::now();
    if (lent_ && (!should_renew(*lent_, now) || (now < next_try_ && now < *lent_->until))) {
      return lent_->keys;
    }
    try {
      http::request what = borrow_request(*settings_.lender);
      const http::response answer =
          lender_->exchange(std::move(what), {.authorized = false, .must_succeed = false});
      lent_ = read_lent_keys(*settings_.lender, answer);
    } catch (const error&) {
      // Those at hand may be good for a few minutes more.
      if (!lent_ || *lent_->until <= now) throw;
      next_try_ = now + std::chrono::seconds(30);
    }
    return lent_->keys;
  }

  const s3_settings settings_;
  rest_connection connection_;
  std::optional<rest_connection> lender_;
  std::mutex mutex_;
  std::optional<lent_keys> lent_;
  std::chrono::system_clock::time_point next_try_;
};

namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t most_parts = 10'000;
constexpr std::uint64_t smallest_part = std::uint64_t{5} << 20;
constexpr std::size_t most_entries = 1'000'000;

std::string subject_of(const http::request& what) {
  return what.method + " " + what.url.substr(0, what.url.find('?'));
}

// A sink that knows whether what it got is what the store keeps.
template <typename Sink>
class verified final : public Sink {
 public:
  using Sink::Sink;

  // Throws error(data_loss) if it is not.
  void verify(std::string_view subject) {
    if (!promised_ || computed_->base64() == promised_->base64) return;
    throw error(errc::data_loss, subject,
                "what was received does not have the checksum that the store keeps of it");
  }

 private:
  void restart(const http::response& head) override {
    Sink::restart(head);
    promised_ = find_checksum(head.headers);
    computed_.reset();
    if (promised_) computed_.emplace(promised_->kind);
  }
  void append(std::string_view piece) override {
    Sink::append(piece);
    if (computed_) computed_->update(piece);
  }

  std::optional<promised_checksum> promised_;
  std::optional<checksum> computed_;
};

struct digests {
  std::string sha256_hex;
  std::string sha256_base64;
  std::string crc32c;
};

// Reads what will be sent, for its signature. `whole` goes on over the parts of one file.
digests digest(http::body_source& of, checksum* whole = nullptr) {
  mizzen::detail::sha256 sha;
  checksum crc(checksum::kind::crc32c);
  std::vector<char> room(std::size_t{128} << 10);
  of.rewind();
  for (;;) {
    const std::size_t count = of.read(room);
    if (count == 0) break;
    const std::string_view piece(room.data(), count);
    sha.update(piece);
    if (whole != nullptr) {
      crc.update(piece);
      whole->update(piece);
    }
  }
  const std::string bytes = sha.bytes();
  return {mizzen::detail::hex_digits(bytes), mizzen::detail::base64_encode(bytes), crc.base64()};
}

class objects final : public artifact_repository {
 public:
  objects(std::shared_ptr<s3_service> service, s3_location root,
          const multipart_settings& multipart)
      : service_(std::move(service)), root_(std::move(root)), multipart_(multipart) {}

  void put_bytes(std::span<const std::byte> bytes, std::string_view path) override {
    http::request what = request_of("PUT", key_of(path));
    what.body.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    checksum sha(checksum::kind::sha256);
    sha.update(what.body);
    prepare_upload(what, sha.base64());
    succeed(std::move(what), {});
  }

  void put_file(const fs::path& local, std::string_view path) override {
    const auto body = http::file_body(local);
    const std::uint64_t size = body->size().value();
    if (size >= multipart_.least && size > smallest_part) {
      return put_in_parts(local, size, key_of(path));
    }
    const digests of = digest(*body);
    http::request what = request_of("PUT", key_of(path));
    prepare_upload(what, of.sha256_base64);
    succeed(std::move(what), {.sha256 = of.sha256_hex, .source = body});
  }

  std::vector<artifact_info> list(std::string_view path) override {
    const std::string root = as_folder(root_.prefix);
    const std::string folder = as_folder(key_of(path));
    std::vector<artifact_info> entries;
    each_page(folder, true, [&](const s3_listing& page) {
      add_entries(page, root, folder, entries);
      if (entries.size() <= most_entries) return;
      throw error(errc::resource_exhausted, "artifact '" + std::string(path) + "'",
                  "it has more than 1,000,000 entries");
    });
    std::ranges::sort(entries, {}, &artifact_info::path);
    return entries;
  }

  void fetch_file(std::string_view path, const fs::path& target) override {
    const auto sink = std::make_shared<verified<http::file_sink>>(target);
    fetch(path, sink);
    sink->commit();
  }

  std::string read(std::string_view path, std::size_t most) override {
    const auto sink = std::make_shared<verified<text_sink>>(subject_of_path(path), most);
    fetch(path, sink);
    return sink->take();
  }

  void remove(std::string_view path) override {
    const std::string key = key_of(path);
    std::vector<std::string> keys;
    each_page(key, false, [&](const s3_listing& page) {
      for (const s3_listing::object& each : page.objects) {
        // "a" is not below "ab", though it begins like it.
        const bool below = key.empty() || each.key == key || each.key.starts_with(as_folder(key));
        if (below) keys.push_back(each.key);
      }
    });
    for (const std::string& each : keys) succeed(request_of("DELETE", each), {});
  }

 private:
  static std::string as_folder(std::string_view key) {
    return key.empty() ? std::string() : std::string(key) + "/";
  }
  static std::string subject_of_path(std::string_view path) {
    return "artifact '" + std::string(path) + "'";
  }

  std::string key_of(std::string_view path) const {
    return root_.prefix.empty() ? std::string(path) : append_location(root_.prefix, path);
  }

  http::request request_of(std::string method, std::string_view key,
                           const query_parameters& query = {}) const {
    http::request what;
    what.method = std::move(method);
    what.url = service_->settings().url_of(root_.bucket, key);
    if (!query.empty()) what.url += "?" + encode_query(query);
    return what;
  }

  void prepare_upload(http::request& what, const std::string& sha256) const {
    for (const auto& [name, value] : service_->settings().upload_headers) {
      what.headers.set(name, value);
    }
    if (service_->settings().sends_checksums) what.headers.set("x-amz-checksum-sha256", sha256);
  }

  http::response succeed(http::request what, const s3_service::call& how) {
    const std::string subject = subject_of(what);
    http::response answer = service_->send(std::move(what), how);
    if (!answer.ok()) throw s3_error(subject, answer);
    return answer;
  }

  template <typename Sink>
  void fetch(std::string_view path, const std::shared_ptr<verified<Sink>>& sink) {
    http::request what = request_of("GET", key_of(path));
    if (service_->settings().asks_for_checksums) {
      what.headers.set("x-amz-checksum-mode", "ENABLED");
    }
    succeed(std::move(what), {.sink = sink});
    sink->verify(subject_of_path(path));
  }

  void each_page(const std::string& prefix, bool of_folder,
                 const std::function<void(const s3_listing&)>& visit) {
    std::string token;
    for (std::size_t pages = 0;; ++pages) {
      query_parameters query = {{"list-type", "2"}, {"prefix", prefix}};
      if (of_folder) query.emplace_back("delimiter", "/");
      if (!token.empty()) query.emplace_back("continuation-token", token);
      const http::request what = request_of("GET", "", query);
      const s3_listing page = parse_listing(succeed(what, {}).body);
      visit(page);
      if (page.next.empty()) return;
      if (page.next == token || pages > most_entries) {
        throw error(errc::data_loss, subject_of(what), "the listing goes on for ever");
      }
      token = page.next;
    }
  }

  void put_in_parts(const fs::path& local, std::uint64_t size, const std::string& key) {
    const bool with_checksums = service_->settings().sends_checksums;
    http::request create = request_of("POST", key, {{"uploads", ""}});
    for (const auto& [name, value] : service_->settings().upload_headers) {
      create.headers.set(name, value);
    }
    if (with_checksums) {
      create.headers.set("x-amz-checksum-algorithm", "CRC32C");
      create.headers.set("x-amz-checksum-type", "FULL_OBJECT");
    }
    const std::string upload = parse_upload_id(succeed(std::move(create), {}).body);
    try {
      const std::uint64_t least = std::max((size + most_parts - 1) / most_parts, smallest_part);
      const std::uint64_t part = std::max(multipart_.part, least);
      checksum whole(checksum::kind::crc32c);
      std::vector<s3_part> parts;
      for (std::uint64_t at = 0; at < size; at += part) {
        const auto body = http::file_body(local, at, std::min(part, size - at));
        const digests of = digest(*body, &whole);
        http::request what = request_of(
            "PUT", key, {{"partNumber", std::to_string(parts.size() + 1)}, {"uploadId", upload}});
        if (with_checksums) what.headers.set("x-amz-checksum-crc32c", of.crc32c);
        const http::response answer =
            succeed(std::move(what), {.sha256 = of.sha256_hex, .source = body});
        parts.push_back({std::string(answer.headers.value("ETag")),
                         with_checksums ? of.crc32c : std::string()});
      }
      complete(key, upload, size, parts, with_checksums ? whole.base64() : std::string());
    } catch (const std::exception&) {
      try {
        service_->send(request_of("DELETE", key, {{"uploadId", upload}}), {});
      } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): the first one counts
      }
      throw;
    }
  }

  void complete(const std::string& key, const std::string& upload, std::uint64_t size,
                const std::vector<s3_part>& parts, const std::string& crc32c) {
    http::request what = request_of("POST", key, {{"uploadId", upload}});
    what.body = completion_of(parts);
    what.headers.set("Content-Type", "application/xml");
    if (!crc32c.empty()) {
      what.headers.set("x-amz-checksum-crc32c", crc32c);
      what.headers.set("x-amz-checksum-type", "FULL_OBJECT");
    }
    const http::response answer = service_->send(what, {});
    const std::string code = s3_error_code(answer);
    if (answer.ok() && code.empty()) return;
    // Sent again after its answer was lost, it finds the upload gone.
    if (code == "NoSuchUpload" && is_there(key, size, crc32c)) return;
    throw s3_error(subject_of(what), answer);
  }

  bool is_there(const std::string& key, std::uint64_t size, const std::string& crc32c) {
    http::request what = request_of("HEAD", key);
    what.headers.set("x-amz-checksum-mode", "ENABLED");
    const http::response answer = service_->send(what, {});
    return answer.ok() && answer.headers.value("Content-Length") == std::to_string(size) &&
           answer.headers.value("x-amz-checksum-crc32c", crc32c) == crc32c;
  }

  const std::shared_ptr<s3_service> service_;
  const s3_location root_;
  const multipart_settings multipart_;
};

}  // namespace

std::shared_ptr<s3_service> open_s3(s3_settings settings, const logger& log) {
  return std::make_shared<s3_service>(std::move(settings), log);
}

void interrupt(s3_service& which) noexcept { which.interrupt(); }

std::shared_ptr<artifact_repository> s3_repository(std::shared_ptr<s3_service> service,
                                                   std::string_view location,
                                                   const multipart_settings& multipart) {
  return std::make_shared<objects>(std::move(service), parse_s3_location(location), multipart);
}

}  // namespace mizzen::tracking::detail
